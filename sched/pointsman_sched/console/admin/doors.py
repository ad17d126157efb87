"""Where the admin API is reached: a unix socket, and loopback TCP if asked for.

The socket, in the runtime directory, is the user's of the service, as the admin sockets of all
processes are, and a group's where one is named (admin.read_group, admin.operator_group).  Who is at
its other end is asked of the kernel for each connection.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version

from pointsman_sched.console.admin.application import Guard, make_application
from pointsman_sched.console.admin.asking import Processes
from pointsman_sched.console.admin.callers import (
    STRANGER,
    Caller,
    by_peer,
    parse_tokens,
)
from pointsman_sched.console.admin.change_operations import CHANGE_OPERATIONS
from pointsman_sched.console.admin.entering.operations import ENTERING_OPERATIONS
from pointsman_sched.console.admin.entering.token_desk import TokenDesk
from pointsman_sched.console.admin.operations import Api
from pointsman_sched.console.admin.read_operations import READ_OPERATIONS
from pointsman_sched.console.admin.reading import Reading
from pointsman_sched.console.hall import Hall
from pointsman_sched.options import ProcessOptions
from pointsman_shm.auditing.audit_file import AuditFile
from pointsman_shm.auditing.operators import group_numbers
from pointsman_shm.config import ConsoleConfig
from pointsman_shm.config_load import ConfigError
from pointsman_shm.secret_files import read_secret
from pointsman_shm.tokens.token_file import token_file
from pointsman_wire.sockets.unix_sockets import Groups, close_at, listen_for_groups

SOCKET_NAME = "api.sock"
ADDRESS_NAME = "api.address"  # a file: host:port, as long as there is a port
TOKENS_VARIABLE = "POINTSMAN_API_TOKENS"
CONNECTIONS_MAX = 64
LOOPBACK = "127.0.0.1"
BREATH_S = 0.1

OPERATIONS = (*READ_OPERATIONS, *CHANGE_OPERATIONS, *ENTERING_OPERATIONS)


class Door:
    """Accepts connections, and hands each to the hall with who it is."""

    def __init__(
        self, listener: socket.socket, hall: Hall, recognise: Callable[[socket.socket], Caller]
    ) -> None:
        self._listener = listener
        self._hall = hall
        self._recognise = recognise
        self._loop = asyncio.get_running_loop()
        self._accepting = self._loop.create_task(self._accept())

    async def close(self) -> None:
        """Take no more; who is in is the hall's."""
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            try:
                sock, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # it left at once, or descriptors are short: others may go on
                await asyncio.sleep(BREATH_S)
                continue
            self._let_in(sock)

    def _let_in(self, sock: socket.socket) -> None:
        try:
            caller = self._recognise(sock)
        except OSError:  # it is gone
            sock.close()
            return
        self._hall.serve(sock, {"caller": caller})


async def open_api(
    stack: AsyncExitStack,
    options: ProcessOptions,
    environment: Mapping[str, str],
    witness: AuditFile,
    say: Callable[[str], None],
) -> None:
    """Open the doors, which close with the stack.  Raises OSError, PathInUse or ConfigError."""
    paths, config = options.paths, options.config.console
    tokens = parse_tokens(_read_tokens(config, environment))
    reading = Reading(Processes(paths.admin, options.worker_count))
    api = Api(reading, TokenDesk(token_file(paths), witness))
    guard = Guard(tokens, partial(_tell_refused, witness, say))
    application = make_application(api, OPERATIONS, guard, version("pointsman"))
    hall = Hall(application, connections_max=CONNECTIONS_MAX, request_s=config.request_s)
    stack.push_async_callback(hall.close)
    groups = Groups(*group_numbers(options.config.admin, paths.runtime_dir))
    place = paths.runtime_dir / SOCKET_NAME
    listener = listen_for_groups(place, groups)
    stack.callback(close_at, listener, place)
    door = Door(listener, hall, partial(by_peer, groups=groups))
    stack.push_async_callback(door.close)
    if config.api_port is None:
        return
    if not tokens:
        raise ConfigError(
            "console.api_port: without tokens nobody could use it: name a file of them in "
            f"console.api_tokens_file, or put them into {TOKENS_VARIABLE}"
        )
    listener = socket.create_server((LOOPBACK, config.api_port))
    stack.callback(listener.close)
    listener.setblocking(False)
    stack.push_async_callback(Door(listener, hall, lambda _: STRANGER).close)
    address = f"{LOOPBACK}:{listener.getsockname()[1]}"
    place.with_name(ADDRESS_NAME).write_text(f"{address}\n", encoding="ascii")
    stack.callback(place.with_name(ADDRESS_NAME).unlink, missing_ok=True)


def _tell_refused(
    witness: AuditFile, say: Callable[[str], None], caller: Caller, operation: str, why: str
) -> None:
    """Whoever is known is written down; strangers could fill the disk with that."""
    if caller.is_known:
        witness.saw(caller.who, operation, {}, f"refused: {why}")
    else:
        say(f"admin API: refused {operation}: {why}")


def _read_tokens(config: ConsoleConfig, environment: Mapping[str, str]) -> str:
    what = "console.api_tokens_file"
    return read_secret(config.api_tokens_file, TOKENS_VARIABLE, what=what, environment=environment)

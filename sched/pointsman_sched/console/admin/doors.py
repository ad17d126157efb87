"""Where the admin API is reached: a unix socket, and loopback TCP if asked for.

The socket, in the runtime directory, is 0660: for root, the user of the service, and the group
named in the configuration, which may then enter the directory (0750), where all other sockets stay
the owner's.  Who is at its other end is asked of the kernel for each connection.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path

from pointsman_sched.console.admin.application import Guard, make_application
from pointsman_sched.console.admin.asking import Processes
from pointsman_sched.console.admin.callers import (
    STRANGER,
    Caller,
    Groups,
    by_peer,
    group_number,
    parse_tokens,
)
from pointsman_sched.console.admin.change_operations import CHANGE_OPERATIONS
from pointsman_sched.console.admin.operations import Api
from pointsman_sched.console.admin.read_operations import READ_OPERATIONS
from pointsman_sched.console.admin.reading import Reading
from pointsman_sched.console.hall import Hall
from pointsman_sched.options import ProcessOptions
from pointsman_shm.auditing.audit_file import AuditFile
from pointsman_shm.config import ConsoleConfig
from pointsman_shm.config_load import ConfigError
from pointsman_shm.secret_files import read_secret
from pointsman_wire.sockets.unix_sockets import close_at, listen_at

SOCKET_NAME = "api.sock"
ADDRESS_NAME = "api.address"  # a file: host:port, as long as there is a port
TOKENS_VARIABLE = "POINTSMAN_API_TOKENS"
CONNECTIONS_MAX = 64
LOOPBACK = "127.0.0.1"
BREATH_S = 0.1

OPERATIONS = (*READ_OPERATIONS, *CHANGE_OPERATIONS)


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
    api = Api(Reading(Processes(paths.admin, options.worker_count)))
    guard = Guard(tokens, partial(_tell_refused, witness, say))
    application = make_application(api, OPERATIONS, guard, version("pointsman"))
    hall = Hall(application, connections_max=CONNECTIONS_MAX, request_s=config.request_s)
    stack.push_async_callback(hall.close)
    readers = group_number(config.api_group, "console.api_group")
    admins = group_number(config.api_admin_group, "console.api_admin_group")
    place = paths.runtime_dir / SOCKET_NAME
    listener = listen_for_group(place, readers if readers is not None else admins)
    stack.callback(close_at, listener, place)
    door = Door(listener, hall, partial(by_peer, groups=Groups(readers, admins)))
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


def listen_for_group(place: Path, group: int | None) -> socket.socket:
    """Return a listening socket (0660) that a group may reach, too, if one is named."""
    listener = listen_at(place)
    try:
        if group is not None:
            os.chown(place, -1, group)
            os.chown(place.parent, -1, group)
            place.parent.chmod(0o750)
        place.chmod(0o660)
    except OSError as error:
        close_at(listener, place)
        raise OSError(
            f"{place} cannot be given to group {group}: {error.strerror}; make the user of the "
            "service a member of it"
        ) from error
    return listener

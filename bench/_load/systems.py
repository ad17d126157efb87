"""The systems that are measured side by side: each is started with its nodes and its client.

A system is a function from an ExitStack, which ends what it has started, to a Line.  A peer that
speaks another protocol brings load generators of its own that obey the same orders.
"""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import msgspec
from _shared.processes import Child

from _load.orders import Order, Outcome
from pointsman.testing import running_service
from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import ask

NODES = "10"
SLOTS = "256"
START_S = 10.0
END_S = 5.0
PEER_PROGRAMS = ("gearmand", "nats-server", "redis-server")
PEER_LIBRARIES = ("celery", "rq", "distributed")
_VERSION = re.compile(r"\d+(\.\d+)+")
COMPILED = Path(__file__).resolve().parents[2] / "build" / "compiled"


class PeerMissing(Exception):
    """A peer is not installed; the text says what to install."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One running system and who loads it; `variant` is "" for what users get as installed.

    `lacks` says what the system does not do that the product does.
    """

    system: str
    variant: str = ""
    lacks: str = ""
    connections: int
    server_pid: int
    client: Child

    def run(self, order: Order) -> Outcome:
        """Have the client run one order."""
        return msgspec.json.decode(
            self.client.ask(msgspec.json.encode(order).decode()), type=Outcome
        )


System = Callable[[ExitStack, Sequence[int]], list[Line]]  # one line for each connection count


class Server(msgspec.Struct, frozen=True):
    """Where a system listens, and the process whose CPU time counts."""

    address: str
    pid: int


def pointsman(stack: ExitStack, counts: Sequence[int]) -> list[Line]:
    """The product, loaded by generators that speak the wire directly."""
    return lines_of(stack, "pointsman", start_pointsman(stack), ("nodes", "client"), counts)


def pointsman_with_sdk(stack: ExitStack, counts: Sequence[int]) -> list[Line]:
    """The product, loaded by its own SDK's nodes and client, over one trunk."""
    server = start_pointsman(stack)
    (line,) = lines_of(stack, "pointsman", server, ("sdk_nodes", "sdk_client"), counts[:1])
    return [msgspec.structs.replace(line, variant="sdk")]


def pointsman_compiled(stack: ExitStack, counts: Sequence[int]) -> list[Line]:
    """The product with its worker compiled, as it was when `make compiled` was last run."""
    if not any(COMPILED.glob("pointsman__mypyc.*")):
        raise PeerMissing("`make compiled` compiles the worker")
    paths = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(COMPILED), paths)))
    try:
        server = start_pointsman(stack)
    finally:
        del os.environ["PYTHONPATH"]
        if paths is not None:
            os.environ["PYTHONPATH"] = paths
    lines = lines_of(stack, "pointsman", server, ("nodes", "client"), counts)
    return [msgspec.structs.replace(line, variant="compiled") for line in lines]


def floor(stack: ExitStack, counts: Sequence[int]) -> list[Line]:
    """The bare relay of the same frames."""
    relay = stack.enter_context(Child("_load.floor"))
    server = Server(relay.next_line(), relay.pid)
    relay.next_line()
    return saying(
        lines_of(stack, "floor", server, ("nodes", "client"), counts),
        "decides, checks and remembers nothing",
    )


def gearmand(stack: ExitStack, counts: Sequence[int]) -> list[Line]:
    """The job server in C, with one thread for its connections."""
    port = free_port()
    command = ["gearmand", "--listen=127.0.0.1", f"--port={port}", "--threads=1"]
    server = start_peer(stack, [*command, "--log-file=none"], "gearman-job-server", port)
    modules = ("peers.gearman_nodes", "peers.gearman_client")
    return saying(
        lines_of(stack, "gearmand", server, modules, counts),
        "keeps no journal here and forgets all when it dies; knows functions only: no capacities, "
        "languages, tenants, sessions; a result is told to who waits, and kept for nobody",
    )


def nats_server(stack: ExitStack, counts: Sequence[int]) -> list[Line]:
    """The message broker in Go: request and reply over a queue group, nothing kept."""
    port = free_port()
    command = ["nats-server", "--addr", "127.0.0.1", "--port", str(port)]
    server = start_peer(stack, command, "nats-server", port)
    return saying(
        lines_of(stack, "nats-server", server, ("peers.nats_nodes", "peers.nats_client"), counts),
        "passes messages on: a member of the group is drawn at random, busy or not; keeps nothing, "
        "acknowledges nothing, tries nothing again",
    )


def saying(lines: Sequence[Line], lacks: str) -> list[Line]:
    """Say of each line what its system does not do."""
    return [msgspec.structs.replace(line, lacks=lacks) for line in lines]


def free_port() -> int:
    """Return a port of this host that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def find_program(name: str) -> str | None:
    """Return where a server is installed, also if that is where only root looks."""
    return shutil.which(name) or shutil.which(f"/usr/sbin/{name}")


def peer_versions() -> str:
    """Say which versions of the peers are installed."""
    found = []
    for name in PEER_PROGRAMS:
        program = find_program(name)
        if program is not None:
            command = [program, "--version"]
            said = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=END_S
            )
            number = _VERSION.search(said.stdout)
            found.append(f"{name} {number[0] if number else 'of unknown version'}")
    for name in PEER_LIBRARIES:
        if find_spec(name) is not None:
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def start_peer(stack: ExitStack, command: Sequence[str], package: str, port: int) -> Server:
    """Start a peer's server and wait until it listens.  Raises PeerMissing."""
    program = find_program(command[0])
    if program is None:
        raise PeerMissing(f"{command[0]} is not installed (Debian: apt-get install {package})")
    process = subprocess.Popen(
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    stack.callback(_end_peer, process)
    give_up_at_s = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > give_up_at_s:
                raise PeerMissing(f"{command[0]} does not start") from None
            time.sleep(0.05)
        else:
            return Server(f"127.0.0.1:{port}", process.pid)


def _end_peer(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start_pointsman(stack: ExitStack, config: Path | None = None) -> Server:
    """Start a throw-away service with one worker, and find that worker's process."""
    service = stack.enter_context(running_service(workers=1, config=config))
    path = admin_socket(service.runtime_dir, "worker-0")
    status = asyncio.run(ask(path, StatusQuery()))
    assert isinstance(status, Status), status
    return Server(service.address, status.pid)


def lines_of(
    stack: ExitStack,
    system: str,
    server: Server,
    modules: tuple[str, str],
    counts: Sequence[int],
) -> list[Line]:
    """Start nodes, and a client for each number of connections."""
    nodes = stack.enter_context(Child(f"_load.{modules[0]}", server.address, NODES, SLOTS))
    nodes.next_line()
    watched = (f"server={server.pid}", f"nodes={nodes.pid}")
    lines = []
    for count in counts:
        client = stack.enter_context(
            Child(f"_load.{modules[1]}", server.address, str(count), *watched)
        )
        client.next_line()
        lines.append(Line(system=system, connections=count, server_pid=server.pid, client=client))
    return lines

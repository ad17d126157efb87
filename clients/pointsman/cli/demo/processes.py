"""The demo's processes: a service and its nodes, started by command line and ended without a trace.

Each is the leader of a process group of its own, so a Ctrl-C in the terminal reaches the demo
alone, which then ends the others in order.  What they say goes to files in a throw-away folder,
of which the end is shown when one of them fails.
"""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pointsman.cli.endings import Trouble
from pointsman.cli.fleet import asking

READY_S = 30.0
NODES_READY_S = 45.0
LOOK_AGAIN_S = 0.05
DRAIN_S = 10.0
STOP_S = 20.0
LOG_LINES_SHOWN = 12
USUAL_PORT = 7400
KILL = 9  # SIGKILL, which has no name where the demo cannot run
SEGMENTS = Path("/dev/shm")  # noqa: S108 - where Linux keeps shared memory, not a scratch place

T = TypeVar("T")


class Child:
    """One process with its log."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def has_ended(self) -> bool:
        return self.process.returncode is not None

    def ask_to_end(self) -> None:
        """Have the process end in order; what it started it ends itself."""
        if not self.has_ended:
            self.process.terminate()

    def kill_group(self) -> None:
        """Kill the process and what it started; the dead are passed over."""
        if sys.platform == "win32":
            return
        try:
            os.killpg(self.process.pid, KILL)
        except ProcessLookupError:
            pass

    def failure(self, what: str) -> Trouble:
        """Return the trouble that this process made, with the end of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        said = "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:])
        return Trouble(f"{self.name} {what}" + (f"; it said:\n{said}" if said else ""))


class Stage:
    """A throw-away service with its nodes; `close` ends all of them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pm-demo-"))
        self.instance = f"demo-{os.getpid()}"
        self.address = ""
        self.service: Child | None = None
        self.nodes: list[Child] = []
        self.is_closing = False
        self.is_hurried = False

    @property
    def runtime_dir(self) -> Path:
        return self.folder / "run"

    @property
    def children(self) -> list[Child]:
        """The service, then its nodes."""
        return [*([self.service] if self.service else []), *self.nodes]

    # -- starting ----------------------------------------------------------------------------

    async def start_service(self, workers: int) -> None:
        """Start the service and wait until it is ready.  Raises Trouble."""
        options = ["--workers", str(workers), "--port", str(free_port()), "--host", "127.0.0.1"]
        options += ["--instance", self.instance, "--state-dir", str(self.folder / "state")]
        options += ["--runtime-dir", str(self.runtime_dir)]
        self.service = await self._start("the service", ["serve", *options])
        line = await self._ready_line(self.service)
        self.address = line.split("ready: ", 1)[1].split(",", 1)[0].strip()

    async def start_node(self, name: str, options: Sequence[str]) -> None:
        """Start a node agent; it registers by itself."""
        server = ["--server", self.address, "--node-id", name]
        command = ["node", *server, "--state-dir", str(self.folder / name), *options]
        self.nodes.append(await self._start(name, command))

    async def _start(self, name: str, arguments: Sequence[str]) -> Child:
        log = self.folder / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "pointsman",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=self.folder,
                start_new_session=True,
            )
        return Child(name, process, log)

    async def _ready_line(self, child: Child) -> str:
        """Wait for the line that says where the service listens.  Raises Trouble."""
        line = ""

        async def is_said() -> bool:
            nonlocal line
            lines = child.log.read_text(errors="replace").splitlines()
            line = next((said for said in lines if said.startswith("pointsman ready: ")), "")
            return bool(line)

        if not await self._becomes_true(is_said, [child], READY_S):
            raise child.failure(f"was not ready within {READY_S:g} s")
        return line

    async def wait_for_nodes(self) -> None:
        """Wait until every node that was started is ready for jobs.  Raises Trouble."""

        async def late() -> list[Child]:
            ready = await self.ready_nodes()
            return [child for child in self.nodes if child.name not in ready]

        async def are_there() -> bool:
            return not await late()

        if not await self._becomes_true(are_there, self.children, NODES_READY_S):
            raise (await late())[0].failure(f"was not ready within {NODES_READY_S:g} s")

    async def _becomes_true(
        self, condition: Callable[[], Awaitable[bool]], children: Sequence[Child], within_s: float
    ) -> bool:
        """Look again and again; False when it took too long.  Raises Trouble for an early end."""
        until_s = time.monotonic() + within_s
        while not await condition():
            for child in children:
                if child.has_ended:
                    raise child.failure("has ended")
            if time.monotonic() > until_s:
                return False
            await asyncio.sleep(LOOK_AGAIN_S)
        return True

    async def ready_nodes(self) -> set[str]:
        """Return the names of the nodes that the service gives jobs to."""
        place = self.runtime_dir
        service = asking.Service(self.instance, place, asking.processes_in(place))
        try:
            fleet = await asking.ask_fleet(service, lines_max=100)
        except asking.NobodyAnswers:
            return set()  # it may be on its way; who waits for it knows for how long
        return {node.node_id for node in fleet.nodes if node.state == "ready"}

    async def accompany(self, tour: Coroutine[Any, Any, T]) -> T:
        """Return what the tour returns.  Raises Trouble as soon as a process ends before it."""
        ends = {asyncio.create_task(child.process.wait()): child for child in self.children}
        going = asyncio.create_task(tour)
        try:
            await asyncio.wait({going, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if not going.done():
                raise next(child for end, child in ends.items() if end.done()).failure("has ended")
            return going.result()
        finally:
            for task in (going, *ends):
                task.cancel()
            await asyncio.gather(going, *ends, return_exceptions=True)

    # -- ending ------------------------------------------------------------------------------

    async def close(self) -> None:
        """End nodes, then the service, and remove everything; what does not end is killed."""
        self.is_closing = True
        await self._end(self.nodes, DRAIN_S)
        await self._end([self.service] if self.service else [], STOP_S)
        self.kill_strays()
        for path in self.segments_left():
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _end(self, children: Sequence[Child], within_s: float) -> None:
        for child in children:
            child.kill_group() if self.is_hurried else child.ask_to_end()
        try:
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(child.process.wait() for child in children))
        except TimeoutError:
            pass  # they are killed now
        for child in children:
            child.kill_group()
            await child.process.wait()

    def hurry(self) -> None:
        """Somebody asked twice: kill instead of ending in order."""
        self.is_hurried = True
        for child in self.children:
            child.kill_group()

    def kill_strays(self) -> None:
        """Kill what still works in our folder: there is something after a killed supervisor."""
        for pid in self.processes_left():
            try:
                os.kill(pid, KILL)
            except ProcessLookupError:
                pass

    def processes_left(self) -> list[int]:
        """Return the processes that name our folder on their command line."""
        mark = os.fsencode(self.folder)
        paths = Path("/proc").glob("[0-9]*/cmdline")
        return [int(path.parent.name) for path in paths if mark in _read(path)]

    def segments_left(self) -> list[Path]:
        """Return the shared memory of this instance that is still there."""
        return sorted(SEGMENTS.glob(f"pointsman.{self.instance}.*"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it ended in this very moment


def free_port() -> int:
    """Return the usual port when nobody has it, so that commands need no --server; else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", USUAL_PORT))
        except OSError:
            return 0
    return USUAL_PORT

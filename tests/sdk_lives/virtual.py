"""Programs on asyncio inside a simulated world: an event loop whose time is the schedule's, and a
driver that has no sockets.

While the loop has nothing to do it lets the world happen, one act after the other, until something
calls it back or a timer of its own is due.
"""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from pointsman_sim.world.dice import S
from pointsman_sim.world.process import Process, World
from pointsman_sim.world.schedule import Schedule
from pointsman_wire.link import Connection
from pointsman_wire.preamble import Role
from pointsman_wire.sockets.bounds import DriverSettings


class WorldSelector(selectors.SelectSelector):
    """Waits for no file: it lets the world go on instead."""

    def __init__(self, schedule: Schedule, is_called: Callable[[], bool]) -> None:
        super().__init__()
        self._schedule = schedule
        self._is_called = is_called

    def select(self, timeout: float | None = None) -> list[Any]:
        """Let things happen for so long, or until the loop is called."""
        schedule = self._schedule
        if timeout is None:
            while not self._is_called():
                schedule.run_next()
        elif timeout > 0:
            end_ns = schedule.now_ns + int(timeout * S) + 1
            schedule.at(end_ns, _nothing)
            while schedule.now_ns < end_ns and not self._is_called():
                schedule.run_next()
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own, but for its clock, and for signals, which nobody sends."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        super().__init__(WorldSelector(schedule, lambda: bool(self._ready)))  # type: ignore[attr-defined]

    def time(self) -> float:
        """Return the world's time."""
        return self._schedule.now_ns / S

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]
        """Say that there are none."""
        raise NotImplementedError

    def _write_to_self(self) -> None:
        """Wake nobody: there is one thread."""


class Program:
    """Who runs a shell: it is told of the process that its driver makes."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.lives = 0
        self.process: SdkProcess | None = None

    def adopt(self, process: "SdkProcess") -> None:
        """This is what it runs in now."""
        self.process = process

    def start(self) -> None:
        """Begin to run."""

    def died(self) -> None:
        """The process was killed."""

    def look(self, process: "SdkProcess", command: Any) -> None:
        """A command of its core is carried out by the shell."""


PROGRAM: ContextVar[Program] = ContextVar("PROGRAM")


class SdkProcess(Process):
    """One life of a core, with the shell around it."""

    def __init__(self, program: Program, core: Any, execute: Callable[[Any], None]) -> None:
        program.lives += 1
        super().__init__(program.world, program.name, program.lives)
        self.clock_offset_ns = self.dice.between(0, 1_000_000) * S
        self.node: Any = program
        self.handlers: Any = program  # has what is `running`, where it is a node
        self.core = core
        self.lies_until_ns = 0
        self._execute = execute

    def execute(self, command: Any) -> None:
        """Let the shell do it."""
        self.node.look(self, command)
        self._execute(command)

    def died(self) -> None:
        """The machine's owner hears of it."""
        self.node.died()

    def leave(self) -> None:
        """End as a program does that has done its work: all that it sent still arrives."""
        for number in range(1, self.last_number + 1):
            self.world.network.close(self, Connection(number), "this process ends")
        self.is_alive = False


class SimDriver:
    """What the shells have in place of a Driver."""

    def __init__(
        self,
        core: Any,
        *,
        unions: Mapping[Role, Any],
        execute: Callable[[Any], None],
        settings: DriverSettings,
    ) -> None:
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._core = core
        self._is_begun = False
        program = PROGRAM.get()
        self._process = SdkProcess(program, core, execute)
        program.adopt(self._process)

    def start(self) -> None:
        """Begin to step."""
        if not self._is_begun and self._process.is_alive:
            self._is_begun = True
            self._process.start(self._core)

    def post(self, event: object) -> None:
        """Tell the core something in the coming turn."""
        self.start()
        self._process.post(event)

    async def end(self, timeout_s: float = 5.0) -> None:
        """Step no more."""
        if self._process.is_alive:
            self._process.leave()


def _nothing() -> None:
    """Only let time come this far."""

"""What a node's handlers do with jobs: most answer soon, some fail, some are stuck.

A handler's result carries the fence that it ran under and its input backwards, so that whoever
gets it can tell which attempt it is from and that it is from this request.
"""

from typing import TYPE_CHECKING

import msgspec

from pointsman.node_core.events import JobEnded, PartialMade, ProgressMade, StartJob
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_wire.errors import Code

if TYPE_CHECKING:
    from pointsman_sim.parts.agent_part import AgentProcess

POISON = b"poison"  # what begins so fails wherever it runs
STUCK_NS = (5 * S, 15 * S)


class Manners(msgspec.Struct, frozen=True, kw_only=True):
    """How one node's handlers behave, as shares of all jobs."""

    fast_ns: int = 5 * MS
    slow_ns: int = 400 * MS
    fails: float = 0.03  # with a code that may help elsewhere
    gives_up: float = 0.02  # with a final code
    lacks_model: float = 0.02
    stuck: float = 0.01
    silent: float = 0.05  # completes without text


class Handler(msgspec.Struct, eq=False):
    """One job at work."""

    command: StartJob
    is_stuck: bool = False
    is_stopping: bool = False


class Handlers:
    """All jobs at work in one life of a node."""

    def __init__(self, process: "AgentProcess", manners: Manners) -> None:
        self._process = process
        self.manners = manners
        self._dice: Dice = process.dice
        self.running: dict[int, Handler] = {}

    def start(self, command: StartJob) -> None:
        """Take a job up."""
        manners, dice = self.manners, self._dice
        handler = self.running[command.run] = Handler(command)
        handler.is_stuck = dice.chance(manners.stuck)
        duration_ns = dice.skewed(manners.fast_ns, manners.slow_ns, 2)
        if handler.is_stuck:
            duration_ns = dice.between(*STUCK_NS)
        elif command.assign.stream:
            self._later(duration_ns // 3, lambda: self._report(command.run))
        self._later(duration_ns, lambda: self._end(command.run))

    def stop(self, run: int) -> None:
        """Ask a job to stop: most do at once, stuck ones do not hear it."""
        handler = self.running.get(run)
        if handler is not None:
            handler.is_stopping = True
            if not handler.is_stuck:
                self._later(self._dice.between(0, 30 * MS), lambda: self._end(run))

    def end_hard(self, run: int) -> None:
        """End a job that does not hear: its process is killed."""
        self._end(run)

    def _later(self, delay_ns: int, act: "object") -> None:
        assert callable(act)
        self._process.world.schedule.after(
            delay_ns, lambda: act() if self._process.is_alive else None
        )

    def _report(self, run: int) -> None:
        if run in self.running:
            self._process.post(PartialMade(run, b"a piece"))
            self._process.post(ProgressMade(run, 50.0, "half"))

    def _end(self, run: int) -> None:
        handler = self.running.pop(run, None)
        if handler is not None:
            self._process.post(self._ending(handler))

    def _ending(self, handler: Handler) -> JobEnded:
        command, manners, draw = handler.command, self.manners, self._dice.fraction()
        run = command.run
        if handler.is_stopping and draw < 0.8:
            return JobEnded(run=run, status="failed", code=Code.CANCELLED.value)
        if command.payload.startswith(POISON):
            code = Code.INTERNAL_ERROR.value
            return JobEnded(run=run, status="failed", code=code, message="poison")
        for share, code in (
            (manners.fails, Code.INTERNAL_ERROR),
            (manners.gives_up, Code.INVALID_MESSAGE),
            (manners.lacks_model, Code.MODEL_NOT_AVAILABLE),
        ):
            draw -= share
            if draw < 0:
                return JobEnded(run=run, status="failed", code=code.value, message="as drawn")
        fence = self._process.fences[run]
        if draw < manners.silent:
            return JobEnded(run=run, status="completed_no_text", meta={"fence": fence})
        return JobEnded(run=run, payload=command.payload[::-1], meta={"fence": fence})

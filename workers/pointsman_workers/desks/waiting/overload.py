"""Overload: what each step of the ladder (core/overload) means for what a worker takes and keeps.

Accepted jobs are kept as long as possible: new jobs of the lowest priority are refused first, then
waiting ones are shed: they end Failed with QUEUE_FULL, retryable, so their keys are free again at
once; never one that a node has had.  What runs is never given up for overload.
"""

from pointsman_shm.logs.events import Event
from pointsman_shm.memory.stats_names import Counter, Gauge
from pointsman_shm.uplink import WorkerPressed
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_workers.core.events import (
    CloseSlowest,
    PressureMeasured,
    RefuseClients,
    Say,
    TellManager,
)
from pointsman_workers.core.overload import (
    CLOSE_SLOWEST,
    REFUSE_JOBS,
    SHED_LOWEST,
    SLOW_HEARTBEATS,
    Ladder,
)
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.desks.outcomes import OutcomeDesk
from pointsman_workers.placement.kinds import PRIORITIES

RETRY_AFTER_MS = 2_000
SHED_MAX = 1_000  # in one look
SLOWEST_MAX = 16  # connections, in one look
TELL_NS = SECOND_NS
LOWEST = PRIORITIES[-1]
WORDS = (
    "none",
    "heartbeats are asked for half as often",
    f"refuses new client connections and {LOWEST} jobs, and sheds those that wait",
    "refuses new jobs",
    "opens no sessions, and hangs up on the clients that read slowest",
)


class OverloadDesk:
    """Climbs the ladder, and acts."""

    def __init__(self, shard: Shard, outcomes: OutcomeDesk) -> None:
        self.shard = shard
        self.outcomes = outcomes
        outcomes.sessions.refusal_for_load = self.session_refusal
        self._ladder = Ladder()
        self.step = self._ladder.step  # where this worker stands
        self._told_at_ns = 0
        self._words = ""

    def measured(self, event: PressureMeasured) -> None:
        """Look at the pressure, four times a second."""
        shard = self.shard
        parts = event.pressure.parts(shard.waiting.fill())
        worst = max(parts, key=lambda name: parts[name])
        self._words = f"{worst} is at {parts[worst]:.0%}"
        before = self.step
        step = self.step = self._ladder.look(parts[worst])
        stats = shard.setup.memory.stats
        stats.gauge(Gauge.PRESSURE_PERCENT, min(1_000, round(100 * parts[worst])))
        if step != before:
            shard.kinds.read_anew()
            self._changed(before, step)
        if step >= SLOW_HEARTBEATS and shard.now_ns - self._told_at_ns >= TELL_NS:
            self._tell_manager()
        if step >= SHED_LOWEST:
            self._shed()
        if step >= CLOSE_SLOWEST:
            shard.outbox.commands.append(CloseSlowest(SLOWEST_MAX))

    def refusal(self, priority: str) -> ErrorInfo | None:
        """Why a new job of this priority is not taken now."""
        step = self.step
        if step >= REFUSE_JOBS or (step >= SHED_LOWEST and priority == LOWEST):
            return self._error("no job is taken" if step >= REFUSE_JOBS else self._no_lowest)
        return None

    def session_refusal(self) -> ErrorInfo | None:
        """Why no session is opened or taken up now."""
        return self._error("no session is opened") if self.step >= CLOSE_SLOWEST else None

    _no_lowest = f"no {LOWEST} job is taken"

    def _error(self, what: str) -> ErrorInfo:
        self.shard.count(Counter.QUEUE_REFUSALS)
        text = f"this worker is overloaded ({self._words}): {what}"
        return error_info(Code.QUEUE_FULL, text, retry_after_ms=RETRY_AFTER_MS)

    def _changed(self, before: int, step: int) -> None:
        shard = self.shard
        shard.count(Counter.OVERLOAD_CHANGES)
        shard.setup.memory.stats.gauge(Gauge.OVERLOAD_STEP, step)
        shard.outbox.commands.append(
            Say(
                f"overload: step {before} -> {step}, {self._words}: {WORDS[step]}",
                Event.OVERLOAD,
            )
        )
        if (before >= SHED_LOWEST) != (step >= SHED_LOWEST):
            shard.outbox.commands.append(RefuseClients(step >= SHED_LOWEST))
        self._tell_manager()

    def _tell_manager(self) -> None:
        self._told_at_ns = self.shard.now_ns
        self.shard.outbox.commands.append(TellManager(WorkerPressed(step=self.step)))

    def _shed(self) -> None:
        """End waiting jobs of the lowest priority that no node has had, the newest first."""
        for job in self.shard.waiting.newest(len(PRIORITIES) - 1, SHED_MAX):
            if job.attempt == 0:
                self.shard.count(Counter.JOBS_SHED)
                error = self._error(f"waiting {LOWEST} jobs are shed")
                self.outcomes.finish(job, "fail", error=error)

"""Admission: what is refused before it is accepted, so that what is accepted can be kept.

    admit        stopping, overload, the tenant's rate and open jobs: before any decision is made
    queue_full   the bounds of the queue: when the job would have to wait

Each refusal says when to try again: for a rate the time until a token is there, for a queue the
time in which a tenth of it drains at the pace of the last seconds.  Both get up to a fifth more at
random, so that those who are refused together do not come back together.
"""

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_workers.core.shard import MILLISECOND_NS, SECOND_NS, Shard
from pointsman_workers.core.state import Job, Session
from pointsman_workers.core.turns.tenants import Over
from pointsman_workers.desks.waiting.overload import OverloadDesk
from pointsman_workers.placement.draws import Draws

RETRY_AFTER_NS = SECOND_NS  # where nothing has drained yet
RETRY_AFTER_NS_MIN = 50 * MILLISECOND_NS
RETRY_AFTER_NS_MAX = 30 * SECOND_NS
DRAINED_SHARE = 10  # of the queue: so much of it has to go before it is worth to try again
JITTER_SHARE = 5
JITTER_SEED = 0x6A697474  # so that it draws other numbers than decisions do
PACE_SECONDS = 2  # over which the pace of the queue is smoothed


class AdmissionDesk:
    """Says no early."""

    def __init__(self, shard: Shard, overload: OverloadDesk) -> None:
        self.shard = shard
        self.overload = overload
        self._draws = Draws(shard.fleet.draws.seed ^ JITTER_SEED)
        self._drained_per_s = 0.0
        self._left_count = 0
        self._counted_at_ns = 0

    def admit(self, session: Session, priority: str) -> ErrorInfo | None:
        """Why a new job of this session is not taken, whatever it is; None if it may be."""
        shard = self.shard
        tenants = shard.tenants
        if self.overload.step and (pressed := self.overload.refusal(priority)) is not None:
            return pressed
        rules = tenants.rules(session.tenant)
        if not rules.has_limits:
            return None
        over = tenants.over_jobs(session.tenant, rules)
        if over is None:
            over = tenants.over_rate(session.tenant, rules, shard.now_ns)
        return None if over is None else self._rate_limited(over)

    def queue_full(self, job: Job) -> ErrorInfo | None:
        """Why a job that has to wait cannot; None if it can."""
        full = self.shard.waiting.full(job.key[0], len(job.payload))
        if not full:
            return None
        self.shard.count(Counter.QUEUE_REFUSALS)
        return error_info(Code.QUEUE_FULL, full, retry_after_ms=self._retry_after_ms())

    def note_pace(self) -> None:
        """Look at how fast the queue has drained since the last time; several times a second."""
        shard = self.shard
        elapsed_s = (shard.now_ns - self._counted_at_ns) / SECOND_NS
        if elapsed_s <= 0:
            return
        left = shard.waiting.left_count - self._left_count
        self._left_count += left
        self._counted_at_ns = shard.now_ns
        share = min(1.0, elapsed_s / PACE_SECONDS)
        self._drained_per_s += (left / elapsed_s - self._drained_per_s) * share

    def _rate_limited(self, over: Over) -> ErrorInfo:
        self.shard.count(Counter.RATE_REFUSALS)
        after_ns = self._expected_ns(1) if over.retry_after_ns is None else over.retry_after_ns
        return error_info(
            Code.RATE_LIMITED, over.text, retry_after_ms=self._with_jitter_ms(after_ns)
        )

    def _retry_after_ms(self) -> int:
        return self._with_jitter_ms(self._expected_ns(self.shard.waiting.count / DRAINED_SHARE))

    def _expected_ns(self, job_count: float) -> int:
        """How long so many jobs need to leave the queue."""
        if self._drained_per_s <= 0:
            return RETRY_AFTER_NS
        expected_ns = int(job_count / self._drained_per_s * SECOND_NS)
        return min(max(expected_ns, RETRY_AFTER_NS_MIN), RETRY_AFTER_NS_MAX)

    def _with_jitter_ms(self, after_ns: int) -> int:
        jitter_ns = self._draws.number() % (after_ns // JITTER_SHARE + 1)
        return max(1, -(-(after_ns + jitter_ns) // MILLISECOND_NS))

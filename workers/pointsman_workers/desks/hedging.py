"""Hedging: a second dispatch of a slow job to another node; the first result of the two counts.

Off by default.  A job may be hedged when its client says that it is idempotent, when it has taken
longer than most of its kind (a percentile of what was observed), when nothing of its kind waits
anywhere on this host, and while the budget lasts: every dispatch that could be hedged pays a
fraction of a second one in.  Streams and serial sessions are not hedged: the one would mix two
attempts' pieces, the other promises that nothing overlaps.

Both dispatches belong to one attempt and carry its number.  Until one of them has a result neither
is fenced; from then on the other one is, it is cancelled, and its slot is counted until its node
confirms.
"""

from math import ceil

from pointsman_shm.config import JobsConfig
from pointsman_workers.core.shard import SECOND_NS
from pointsman_workers.core.state import Job

Types = tuple[str, ...]

OBSERVATIONS_MIN = 20  # before that nobody knows what is slow
OBSERVATIONS_HALVED = 1_000  # counts are halved here, so that what is old fades
KINDS_MAX = 64
PRICE = 100.0  # of a second dispatch, in percents of one
SAVED_MAX = 10 * PRICE
_STEPS = 8  # buckets between a power of two and the next: 9 % at most between two
_BUCKETS = 64 * _STEPS


class Times:
    """How long one kind of work took, in logarithmic buckets."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0

    def observe(self, service_ns: int) -> None:
        """Take in one observation."""
        self._counts[_bucket(service_ns)] += 1
        self._total += 1
        if self._total >= OBSERVATIONS_HALVED:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)

    def percentile_ns(self, percent: float) -> int | None:
        """What so many of a hundred took no longer than, None before enough were seen."""
        if self._total < OBSERVATIONS_MIN:
            return None
        left = ceil(self._total * percent / 100)
        for bucket, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return _upper_ns(bucket)
        raise AssertionError(f"{self._total} counted, {left} of them not found")


class HedgePlan:
    """When a job is hedged, and whether the budget allows it."""

    def __init__(self, jobs: JobsConfig) -> None:
        self._percent = jobs.hedge_after_percentile
        self._min_ns = int(jobs.hedge_after_min_s * SECOND_NS)
        self._share = jobs.hedge_budget_percent
        self._saved = 0.0
        self._times: dict[Types, Times] = {}

    def plan(self, job: Job, now_ns: int) -> None:
        """The job was dispatched: see to it that it is looked at when it has become slow."""
        job.hedge_at_ns = 0
        submit = job.submit
        if not submit.idempotent or submit.stream or job.line is not None:
            return
        self._saved = min(self._saved + self._share, SAVED_MAX)
        times = self._times.get(job.kind.requirement.types)
        slow_ns = None if times is None else times.percentile_ns(self._percent)
        if slow_ns is not None:
            job.hedge_at_ns = now_ns + max(slow_ns, self._min_ns)

    def observe(self, types: Types, service_ns: int) -> None:
        """Work of this kind was completed in this time."""
        times = self._times.get(types)
        if times is None:
            if len(self._times) >= KINDS_MAX:
                return
            times = self._times[types] = Times()
        times.observe(service_ns)

    @property
    def has_budget(self) -> bool:
        """Is a second dispatch paid for?"""
        return self._saved >= PRICE

    def spend(self) -> None:
        """A second dispatch was made."""
        self._saved -= PRICE


def _bucket(value_ns: int) -> int:
    """The power of two, and where between it and the next one."""
    power = max(value_ns, 1).bit_length() - 1
    return min(power * _STEPS + ((value_ns << 3 >> power) & (_STEPS - 1)), _BUCKETS - 1)


def _upper_ns(bucket: int) -> int:
    power, step = divmod(bucket, _STEPS)
    return (1 << power) * (_STEPS + step + 1) // _STEPS

"""How much work flows: what workers have counted since the last look, a second.

Counters only grow; one that became smaller is that of a worker which began anew.  Pure.
"""

from collections.abc import Mapping, Sequence

import msgspec

from pointsman_shm.memory.stats import StatsView, TimingView

SECOND_NS = 1_000_000_000
DONE = "jobs_completed"
REFUSED = ("no_available_node", "queue_refusals", "rate_refusals", "jobs_shed")
TIMING = "scheduling"


class Rates(msgspec.Struct, frozen=True):
    """Jobs done and refused a second, and the time within which 95 of 100 nodes were chosen."""

    done: float = 0.0
    refused: float = 0.0
    p95_us: int = 0


class Flow:
    """Compares each look with the one before."""

    def __init__(self) -> None:
        self._at_ns = 0
        self._before: dict[int, StatsView] = {}

    def rates(self, now_ns: int, workers: Mapping[int, StatsView]) -> Rates:
        """Return the rates since the last look, zeros at the first."""
        elapsed_ns, before = now_ns - self._at_ns, self._before
        is_first = not self._at_ns
        self._at_ns, self._before = now_ns, dict(workers)
        if is_first or elapsed_ns <= 0:
            return Rates()
        done = refused = 0
        buckets: list[int] = []
        for number, view in workers.items():
            old = before.get(number)
            if old is None or old.process_id != view.process_id:
                continue  # what it had counted before we first saw it happened at no known time
            done += _grown(old, view, (DONE,))
            refused += _grown(old, view, REFUSED)
            buckets = _sum(buckets, old.timings[TIMING], view.timings[TIMING])
        seconds = elapsed_ns / SECOND_NS
        p95_ns = TimingView(0, buckets).quantile(0.95)
        return Rates(round(done / seconds, 1), round(refused / seconds, 1), p95_ns // 1_000)


def _grown(old: StatsView, new: StatsView, names: Sequence[str]) -> int:
    return sum(max(0, new.counters[name] - old.counters[name]) for name in names)


def _sum(sums: list[int], old: TimingView, new: TimingView) -> list[int]:
    grown = [max(0, b - a) for a, b in zip(old.buckets, new.buckets, strict=True)]
    return [a + b for a, b in zip(sums, grown, strict=True)] if sums else grown

"""Every 100 ms: a sign of life in the stats page, and by how much the loop was late.

It beats at round instants of the clock, as the core's chores come at: an idle process wakes once
for all of it, and what it needs has to come back into the processor's caches once.
"""

import asyncio
from collections.abc import Callable
from time import monotonic_ns

from pointsman_shm.garbage_watch import GarbageWatch
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Counter, Timing
from pointsman_workers.core.shard import Shard

PERIOD_NS = 100_000_000
BEATS_PER_LOOK = 10
EARLY_NS = 5_000_000  # by which a timer fires early at most
SCHEDULING_LONG_NS = 50_000_000


class Pulse:
    """Beats until it is closed.

    `tell` gets the instant of each beat and how late it was (ns); `turned` is called at a beat when
    there were turns of the core since the last one; `look` once a second, for what has to be
    looked at.
    """

    def __init__(
        self,
        stats: StatsPage,
        *,
        tell: Callable[[int, int], None],
        turned: Callable[[], None],
        look: Callable[[], None],
    ) -> None:
        self.turns_ns: list[int] = []  # what each turn since the last beat took
        self._stats = stats
        self._tell = tell
        self._turned = turned
        self._look = look
        self._garbage = GarbageWatch(stats)
        self._loop = asyncio.get_running_loop()
        self._beats = 0
        self._due_at_ns = 0  # 0 until the first beat
        self._timer = self._loop.call_soon(self._beat)

    def close(self) -> None:
        """Beat no more."""
        self._timer.cancel()
        self._garbage.close()

    def _beat(self) -> None:
        now_ns = monotonic_ns()
        self._stats.beat(now_ns)
        if self._due_at_ns:
            lag_ns = max(0, now_ns - self._due_at_ns)
            self._stats.observe(Timing.LOOP_LAG, lag_ns)
            self._tell(now_ns, lag_ns)
        if self.turns_ns:
            self._turned()
            self._stats.observe_all(Timing.TURN, self.turns_ns)
            self.turns_ns.clear()
        self._due_at_ns = next_round_ns(now_ns)
        self._timer = self._loop.call_later((self._due_at_ns - now_ns) / 1e9, self._beat)
        self._beats += 1
        if self._beats % BEATS_PER_LOOK == 0:
            self._look()


def next_round_ns(now_ns: int) -> int:
    """Return the next round instant, the one after it when that is just now."""
    return (now_ns + EARLY_NS) // PERIOD_NS * PERIOD_NS + PERIOD_NS


def scheduling_observer(stats: StatsPage, shard: Shard) -> Callable[[int], None]:
    """Return what is told of each turn's wait: from the read of a request until frames are out."""

    def observe(wait_ns: int) -> None:
        if shard.assigned_at_once:
            stats.observe(Timing.SCHEDULING, wait_ns, shard.assigned_at_once)
            if wait_ns > SCHEDULING_LONG_NS:
                stats.add(Counter.SCHEDULING_LONG, shard.assigned_at_once)

    return observe

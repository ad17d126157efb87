"""Every 100 ms: a sign of life in the stats page, and by how much the loop was late."""

import asyncio
from collections.abc import Callable
from time import monotonic_ns

from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Timing

PERIOD_NS = 100_000_000
BEATS_PER_LOOK = 10


class Pulse:
    """Beats until it is closed; `look` is called once a second, for what has to be looked at."""

    def __init__(self, stats: StatsPage, look: Callable[[], None]) -> None:
        self._stats = stats
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._beats = 0
        self._due_at_ns = 0  # 0 until the first beat
        self._timer = self._loop.call_soon(self._beat)

    def close(self) -> None:
        """Beat no more."""
        self._timer.cancel()

    def _beat(self) -> None:
        now_ns = monotonic_ns()
        self._stats.beat(now_ns)
        if self._due_at_ns:
            self._stats.observe(Timing.LOOP_LAG, max(0, now_ns - self._due_at_ns))
        self._due_at_ns = now_ns + PERIOD_NS
        self._timer = self._loop.call_later(PERIOD_NS / 1e9, self._beat)
        self._beats += 1
        if self._beats % BEATS_PER_LOOK == 0:
            self._look()

"""Times every collection of garbage of this process: nothing else is done meanwhile."""

import gc
from collections.abc import Mapping
from time import monotonic_ns

from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Timing


class GarbageWatch:
    """Puts the time of each collection on a stats page, until it is closed."""

    def __init__(self, stats: StatsPage) -> None:
        self._stats = stats
        self._began_at_ns = 0
        gc.callbacks.append(self._collected)

    def close(self) -> None:
        """Watch no more."""
        gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, _: Mapping[str, int]) -> None:
        if phase == "start":
            self._began_at_ns = monotonic_ns()
        elif self._began_at_ns:
            self._stats.observe(Timing.GC_PAUSE, monotonic_ns() - self._began_at_ns)
            self._began_at_ns = 0

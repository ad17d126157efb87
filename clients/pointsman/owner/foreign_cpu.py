"""Pauses while other programs need the machine's processors.

What this process and its children use does not count: a node must not stop for its own jobs.  As
far as that can be told: work that a job gives to a service of the system, such as a container's,
looks like anybody's.  A little below the limit it goes on, or it would come and go at the limit.
"""

from collections import deque
from collections.abc import Callable

from pointsman.resources import CpuTimes, cpu_times

# Judged twice a second: the last three seconds.
SAMPLES = 7
RELEASE_BELOW_PERCENT = 10


class ForeignCpu:
    """Pauses above `limit_percent` of all processors together.  Raises ValueError out of 1..99."""

    def __init__(
        self, limit_percent: float, *, times: Callable[[], CpuTimes | None] = cpu_times
    ) -> None:
        if not 1 <= limit_percent <= 99:
            raise ValueError(f"foreign cpu: a limit of {limit_percent:g} %; 1 to 99 is possible")
        self.limit_percent = limit_percent
        self._times = times
        self._samples: deque[CpuTimes] = deque(maxlen=SAMPLES)
        self._is_above = False

    def __str__(self) -> str:
        return f"cpu of others above {self.limit_percent:g} %"

    def __call__(self) -> str:
        """Measure, and return why to pause; "" while that is unknown."""
        percent = self.measure()
        if percent is None:
            return ""
        release = max(self.limit_percent - RELEASE_BELOW_PERCENT, self.limit_percent / 2)
        self._is_above = percent > (release if self._is_above else self.limit_percent)
        return f"others use {percent:.0f} % of the cpu" if self._is_above else ""

    def measure(self) -> float | None:
        """Return the percentage that others used lately; None at first, and where unknown."""
        now = self._times()
        if now is None:
            return None
        self._samples.append(now)
        then = self._samples[0]
        whole = now.whole - then.whole
        if whole <= 0:
            return None
        busy = whole - (now.idle - then.idle)
        # What a child used is not seen any more once its parent, a job of ours, left it behind.
        own = max(0.0, now.own - then.own)
        return min(100.0, max(0.0, 100.0 * (busy - own) / whole))

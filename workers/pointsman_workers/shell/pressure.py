"""Four times a second: how much of its memory, its time and its descriptors this process uses.

The loop's lag counts as the smallest of the last second, not the largest: one long pause (a
collection, a suspended machine) is no overload, a loop that is never on time is one (the standing
delay of Nichols and Jacobson: Controlling Queue Delay, 2012).
"""

import os
import resource
from collections import deque
from collections.abc import Callable
from pathlib import Path

import psutil

from pointsman_workers.core.overload import LOOK_NS, Pressure

# The pulse's lags, of a second.
LAGS = 10
# Where the kernel does not say how many descriptors there are, it costs a list: once a second.
LOOKS_PER_COUNT = 4
DESCRIPTORS = "/proc/self/fd"
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def memory_share_bytes(worker_count: int, limits: tuple[Path, ...] = _CGROUP_LIMITS) -> int:
    """Return an equal share, for each worker and the manager, of what this host may use."""
    total: int = psutil.virtual_memory().total
    for path in limits:
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:  # this kernel has the other one
            continue
        if text.isdecimal():
            total = min(total, int(text))
    return total // (worker_count + 1)


def descriptor_count() -> int:
    """Return how many descriptors this process has open."""
    # Linux from 6.2 on says it as the directory's size.
    return os.stat(DESCRIPTORS).st_size or len(os.listdir(DESCRIPTORS))


class PressureGauge:
    """Measures at the pulse's beats until it is closed; `tell` gets what it has found.

    It has no timer of its own: each would wake a process that may have nothing else to do.
    """

    def __init__(self, memory_bytes_max: int, tell: Callable[[Pressure], None]) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._tell = tell
        self._memory_fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._descriptors = 0.0
        self._lags: deque[int] = deque(maxlen=LAGS)
        self._looks = 0
        self._look_at_ns = 0

    def close(self) -> None:
        """Measure no more."""
        os.close(self._memory_fd)

    def beat(self, now_ns: int, lag_ns: int) -> None:
        """Note by how much the loop was late; look when it is time, four times a second."""
        self._lags.append(lag_ns)
        if now_ns >= self._look_at_ns:
            # From when it was due: beats are coarser than looks, and four are a second.
            self._look_at_ns = max(self._look_at_ns, now_ns - LOOK_NS) + LOOK_NS
            self._looks += 1
            self._tell(self._measured())

    def _measured(self) -> Pressure:
        if self._looks % LOOKS_PER_COUNT == 1:
            self._descriptors = descriptor_count() / self._descriptors_max
        resident_pages = int(os.pread(self._memory_fd, 128, 0).split()[1])
        return Pressure(
            memory=resident_pages * resource.getpagesize() / self._memory_bytes_max,
            loop_lag_ns=min(self._lags) if len(self._lags) == LAGS else 0,
            descriptors=self._descriptors,
        )

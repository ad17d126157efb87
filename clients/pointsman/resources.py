"""What a node is made of, and how busy it is: from /proc on Linux, else from psutil if it is there.

Figures that cannot be had are None: unknown, which the server lets pass.
"""

import importlib
import os
import sys
from collections import deque
from pathlib import Path
from types import ModuleType

from pointsman.node_core.events import ResourcesMeasured
from pointsman_wire.control_messages import Hardware

CPU_INTERVALS = 5
_MIB = 1024 * 1024
_IDLE_FIELDS = slice(3, 5)  # idle and iowait, of the numbers of /proc/stat's first line


def _psutil() -> ModuleType | None:
    try:
        return importlib.import_module("psutil")
    except ImportError:
        return None


class ResourceProbe:
    """Measures this machine; a cpu figure covers the last few measurements.

    One interval alone would call a node busy for each short burst of its own jobs.
    """

    def __init__(self) -> None:
        self._psutil = None if sys.platform == "linux" else _psutil()
        self._ticks: deque[tuple[int, int]] = deque(maxlen=CPU_INTERVALS)
        self._cpu_percent()

    def hardware(self) -> Hardware:
        """Return what the machine is made of."""
        total, _ = self._memory()
        return Hardware(cpu_cores=os.cpu_count() or 0, memory_mib=(total or 0) // _MIB)

    def measure(self) -> ResourcesMeasured:
        """Return how busy the machine is."""
        total, available = self._memory()
        memory_percent = None
        if total and available is not None:
            memory_percent = round(100.0 * (total - available) / total, 1)
        return ResourcesMeasured(cpu_percent=self._cpu_percent(), memory_percent=memory_percent)

    def _cpu_percent(self) -> float | None:
        if self._psutil is not None:
            return float(self._psutil.cpu_percent(interval=None))
        now = self._cpu_ticks()
        if now is None:
            return None
        before = self._ticks[0] if self._ticks else now
        self._ticks.append(now)
        if now[1] <= before[1]:
            return None
        idle, whole = now[0] - before[0], now[1] - before[1]
        return round(min(100.0, max(0.0, 100.0 * (whole - idle) / whole)), 1)

    def _cpu_ticks(self) -> tuple[int, int] | None:
        """Return (idle, all) clock ticks of all processors together, since boot."""
        if sys.platform != "linux":
            return None
        try:
            numbers = [
                int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
            ]
        except (OSError, ValueError):
            return None
        return sum(numbers[_IDLE_FIELDS]), sum(numbers)

    def _memory(self) -> tuple[int | None, int | None]:
        """Return (total, available) bytes."""
        if self._psutil is not None:
            memory = self._psutil.virtual_memory()
            return int(memory.total), int(memory.available)
        if sys.platform != "linux":
            return None, None
        try:
            lines = Path("/proc/meminfo").read_text().splitlines()
            kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        except (OSError, ValueError, IndexError):
            return None, None
        total, available = kib.get("MemTotal"), kib.get("MemAvailable")
        return total and total * 1024, available and available * 1024

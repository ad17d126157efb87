"""What a node is made of, and how busy it is: from /proc on Linux, else from psutil if it is there.

Figures that cannot be had are None: unknown, which the server lets pass.
"""

import importlib
import os
import sys
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from pointsman.node_core.events import ResourcesMeasured
from pointsman_wire.control_messages import Hardware

CPU_INTERVALS = 5
_MIB = 1024 * 1024
_IDLE_FIELDS = slice(3, 5)  # idle and iowait, of the numbers of /proc/stat's first line
_OWN_FIELDS = slice(11, 15)  # user and system, own and of ended children, after the name in stat
_FAMILY_MAX = 1_000


class CpuTimes(NamedTuple):
    """Time of all processors together, in a unit that is the same for all three."""

    idle: float
    whole: float
    own: float  # used by this process and its children


def cpu_times() -> CpuTimes | None:
    """Return how the processors have spent their time until now; None where that is unknown."""
    if sys.platform == "linux":
        ticks = _cpu_ticks()
        return CpuTimes(*ticks, _family_ticks(os.getpid())) if ticks is not None else None
    psutil = _psutil()
    if psutil is None:
        return None
    spent = psutil.cpu_times()
    own = psutil.Process()
    family = [own, *own.children(recursive=True)][:_FAMILY_MAX]
    used = [_used_s(psutil, member) for member in family]
    return CpuTimes(spent.idle, sum(spent), sum(used))


def _used_s(psutil: ModuleType, process: Any) -> float:
    """Return what a process has used, with its ended children where the system tells."""
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.Error:  # it has just ended
        return 0.0


def _family_ticks(root: int) -> int:
    """Return what a process and all its descendants have used, the ended ones included."""
    ticks, waiting, seen = 0, [root], 0
    while waiting and seen < _FAMILY_MAX:
        pid = waiting.pop()
        seen += 1
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            ticks += sum(map(int, stat.rpartition(")")[2].split()[_OWN_FIELDS]))
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, children.read_text().split())
        except (OSError, ValueError):  # it has just ended: its parent has its ticks now
            continue
    return ticks


def _cpu_ticks() -> tuple[int, int] | None:
    """Return (idle, all) clock ticks of all processors together, since boot."""
    if sys.platform != "linux":
        return None
    try:
        numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return sum(numbers[_IDLE_FIELDS]), sum(numbers)


def _psutil() -> ModuleType | None:
    try:
        return importlib.import_module("psutil")
    except ImportError:
        return None


class ResourceProbe:
    """Measures this machine, in whole percent; a cpu figure covers the last few measurements.

    One interval alone would call a node busy for each short burst of its own jobs.  The server
    rounds down, and a heartbeat that says what the one before said costs it less.
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
            memory_percent = 100.0 * (total - available) // total
        return ResourcesMeasured(cpu_percent=self._cpu_percent(), memory_percent=memory_percent)

    def _cpu_percent(self) -> float | None:
        if self._psutil is not None:
            return float(self._psutil.cpu_percent(interval=None)) // 1
        now = _cpu_ticks()
        if now is None:
            return None
        before = self._ticks[0] if self._ticks else now
        self._ticks.append(now)
        if now[1] <= before[1]:
            return None
        idle, whole = now[0] - before[0], now[1] - before[1]
        return min(100.0, max(0.0, 100.0 * (whole - idle) // whole))

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

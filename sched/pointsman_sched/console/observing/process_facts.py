"""What the system says of each process of the service."""

from collections.abc import Mapping

import msgspec
import psutil


class ProcessFacts(msgspec.Struct, frozen=True):
    """One process as it is now."""

    pid: int
    cpu_s: float  # user and system, since it began
    resident_bytes: int
    descriptors: int
    descriptors_max: int
    threads: int
    started_at_s: float  # since the epoch


def look_at(pids: Mapping[str, int]) -> dict[str, ProcessFacts]:
    """Return the facts of those that live, by the names that they were given under."""
    found = {}
    for name, pid in pids.items():
        if pid and (facts := _facts_of(pid)) is not None:
            found[name] = facts
    return found


def _facts_of(pid: int) -> ProcessFacts | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return ProcessFacts(
                pid=pid,
                cpu_s=times.user + times.system,
                resident_bytes=process.memory_info().rss,
                descriptors=process.num_fds(),
                descriptors_max=process.rlimit(psutil.RLIMIT_NOFILE)[0],
                threads=process.num_threads(),
                started_at_s=process.create_time(),
            )
    except psutil.Error:  # it has just ended, or is another user's
        return None

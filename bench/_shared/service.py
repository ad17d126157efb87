"""A running service as a bench sees it: CPU and memory of its processes, and their stats pages.

Pages are read where the processes write them, so that looking costs the service nothing; what
happened between two looks is the difference of their histograms.
"""

import asyncio
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from _load.orders import cpu_of

from pointsman.testing import RunningService, running_service
from pointsman_shm.memory.segment import Segment, attach_segment
from pointsman_shm.memory.stats import StatsPage, StatsView, TimingView, bucket_end_ns
from pointsman_shm.paths import InstancePaths, worker_process
from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import ask

MANAGER = "manager"
# They have no page of statistics.
OTHERS = ("supervisor", "console")
# All nodes of a bench share one machine, which is busy.
NODES_SHARE_A_MACHINE = "[nodes]\nresource_threshold_percent = 0\n"


class Look(msgspec.Struct, frozen=True):
    """What had been used and counted at an instant, by process."""

    at_s: float
    cpu_ns: dict[str, int]
    waited_ns: dict[str, int]
    stats: dict[str, StatsView]


class Span(msgspec.Struct, frozen=True):
    """What was used and counted between two looks."""

    elapsed_s: float
    cpu_s: dict[str, float]
    begin: dict[str, StatsView]
    end: dict[str, StatsView]
    waited_s: dict[str, float] = {}  # until a processor was free

    def workers_cpu_s(self) -> float:
        """Return the CPU time of all workers."""
        return sum(self.cpu_s[name] for name in self.begin if name != MANAGER)

    def waited_share(self, *processes: str) -> float:
        """Return for which share of the time these were ready to run, but had no processor."""
        return sum(self.waited_s[name] for name in processes) / len(processes) / self.elapsed_s

    def count(self, process: str, counter: str) -> int:
        """Return by how much a counter grew."""
        return self.end[process].counters[counter] - self.begin[process].counters[counter]

    def timing(self, name: str, *processes: str) -> TimingView:
        """Return what these processes, or all workers, added to a histogram."""
        wanted = processes or tuple(process for process in self.end if process != MANAGER)
        total_ns = 0
        buckets = [0] * len(self.end[wanted[0]].timings[name].buckets)
        for process in wanted:
            before, after = self.begin[process].timings[name], self.end[process].timings[name]
            total_ns += after.total_ns - before.total_ns
            grown = zip(buckets, after.buckets, before.buckets, strict=True)
            buckets = [had + now - then for had, now, then in grown]
        return TimingView(total_ns=total_ns, buckets=buckets)


def longest_ns(timing: TimingView) -> int:
    """Return where the last bucket that holds something ends."""
    filled = [bucket for bucket, count in enumerate(timing.buckets) if count]
    return bucket_end_ns(filled[-1]) if filled else 0


def waited_of(pid: int) -> int:
    """Return for how many ns a process's first thread was ready to run, but had no processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])


class WatchedService:
    """A throw-away service, its processes by name, and its pages."""

    def __init__(
        self, service: RunningService, worker_count: int, others: Sequence[str] = ()
    ) -> None:
        self.address = service.address
        self.runtime_dir = service.runtime_dir
        self.workers = tuple(worker_process(index) for index in range(worker_count))
        names = (MANAGER, *self.workers)
        self.pids = {name: self.pid_of(name) for name in (*names, *others)}
        self.paths = InstancePaths(service.instance, service.state_dir, service.runtime_dir)
        self._segments = [
            attach_segment(self.paths.stats_segment(name), writable=False) for name in names
        ]
        self.pages = {
            name: StatsPage(segment.buffer)
            for name, segment in zip(names, self._segments, strict=True)
        }

    def pid_of(self, process: str) -> int:
        """Ask a process who it is."""
        status = asyncio.run(ask(admin_socket(self.runtime_dir, process), StatusQuery()))
        assert isinstance(status, Status), status
        return status.pid

    def attach(self, segment: str) -> Segment:
        """Map one more segment, only to read it, until the service ends."""
        self._segments.append(attach_segment(segment, writable=False))
        return self._segments[-1]

    def look(self) -> Look:
        """Read everything as it is now."""
        stats = {name: page.read() for name, page in self.pages.items()}
        waited_ns = {name: waited_of(pid) for name, pid in self.pids.items()}
        return Look(time.monotonic(), cpu_of(self.pids), waited_ns, stats)

    def since(self, before: Look) -> Span:
        """Return what has happened since a look."""
        now = self.look()
        return Span(
            elapsed_s=now.at_s - before.at_s,
            cpu_s={name: (now.cpu_ns[name] - ns) / 1e9 for name, ns in before.cpu_ns.items()},
            begin=before.stats,
            end=now.stats,
            waited_s={
                name: (now.waited_ns[name] - ns) / 1e9 for name, ns in before.waited_ns.items()
            },
        )

    def watch(self, seconds: float) -> Span:
        """Wait, and return what happened meanwhile."""
        before = self.look()
        time.sleep(seconds)
        return self.since(before)

    def rss_bytes(self, process: str) -> int:
        """Return the resident memory of a process."""
        pages = int(Path(f"/proc/{self.pids[process]}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def workers_rss_bytes(self) -> int:
        """Return the resident memory of all workers."""
        return sum(self.rss_bytes(name) for name in self.workers)

    def close(self) -> None:
        """Let go of the pages."""
        for segment in self._segments:
            segment.close()


@contextmanager
def watched_service(
    worker_count: int, more_config: str = "", *, is_whole: bool = False
) -> Iterator[WatchedService]:
    """Start a service with so many workers; `more_config` follows the keys of [nodes].

    One that is whole has its console, and OTHERS are watched as well.
    """
    with TemporaryDirectory(prefix="pointsman-") as name:
        config = Path(name) / "bench.toml"
        config.write_text(NODES_SHARE_A_MACHINE + more_config)
        config.chmod(0o600)
        with running_service(workers=worker_count, config=config, has_console=is_whole) as service:
            watched = WatchedService(service, worker_count, OTHERS if is_whole else ())
            try:
                yield watched
            finally:
                watched.close()

"""What a fault scenario works with: a service, nodes, sessions, and somebody who is measured.

A scenario is an async function that takes a Yard, lets something go wrong, checks what must hold
and returns its figures.  Tests run each once; a campaign (campaign.py) runs them again and again.
"""

import asyncio
import os
import statistics
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import psutil
from faults.proxy import Proxy, proxy_to
from live.journal import Journal
from live.nodes import live_node
from live.service import LiveService, until
from live.sessions import session_ids

from pointsman import JobResult, Session, connect

Figures = dict[str, float]
JOB_S = 30.0
PAUSE_S = 0.01
LISTENING = "0A"  # in /proc/net/tcp
CONFIG = """
[nodes]
resource_threshold_percent = 0
heartbeat_interval_s = 0.5
[jobs]
lane_grace_s = 1.0
[limits]
handshake_s = 2.0
frame_arrival_s = 3.0
node_queue_bytes_max = 1048576
node_stall_s = 2.0
"""


class Meter:
    """Submits one job after the other and notes how long each took."""

    def __init__(self) -> None:
        self.latencies_s: deque[float] = deque(maxlen=200_000)
        self.tasks: list[asyncio.Task[None]] = []

    async def work(self, session: Session) -> None:
        """For ever; a job that fails ends the task with its error."""
        number = 0
        while True:
            number += 1
            body = f"m{number}"
            began_s = monotonic()
            async with asyncio.timeout(JOB_S):
                result = await session.submit(body, services=["nmt"])
            assert result.text == body[::-1]
            self.latencies_s.append(monotonic() - began_s)
            await asyncio.sleep(PAUSE_S)

    def check(self) -> None:
        """Raise what went wrong."""
        for task in self.tasks:
            if task.done():
                task.result()

    def start_anew(self) -> None:
        self.latencies_s.clear()

    async def has(self, count: int) -> None:
        """Wait until so many jobs were measured since the last start."""

        def is_there() -> bool:
            self.check()
            return len(self.latencies_s) >= count

        await until(is_there, f"{count} jobs of somebody who has nothing to do with it")

    def p99_ms(self) -> float:
        return 1e3 * quantile(self.latencies_s, 99)


def tcp_inodes(port: int) -> set[str]:
    """Inodes of the sockets at a local port of this host, listening ones left out."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] != LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
            found.add(fields[9])
    return found


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def cpu_seconds(service: LiveService) -> float:
    """What the processes of the service have used of the processors."""
    processes = [psutil.Process(pid) for pid in service.process.pids().values()]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def quantile(values: deque[float] | list[float], percent: int) -> float:
    """Return a percentile; 0 of nothing."""
    if len(values) < 2:
        return max(values, default=0.0)
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def said_by(module: str, *words: str) -> bytes:
    """Run a program of the tests, and return what it has printed."""
    program = (sys.executable, "-m", module, *words)
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    try:
        said, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, f"{module} has failed"
    return said


class Yard:
    """One scenario's own place in a service that others may use as well."""

    def __init__(self, service: LiveService, folder: Path, stack: AsyncExitStack) -> None:
        self.service = service
        self.stack = stack
        self.tgt = f"f{uuid4().hex[:6]}"
        self.journal = Journal(folder / self.tgt)
        self.interval_s = 0.5
        self.meter = Meter()

    # ---- who takes part

    async def proxy(self, *, seed: int = 7) -> Proxy:
        return await self.stack.enter_async_context(proxy_to(self.service.port, seed=seed))

    async def node(self, name: str, proxy: Proxy | None = None, **options: Any) -> str:
        """A ready node that translates to `tgt`; returns its id."""
        address = proxy.address if proxy else self.service.address
        node_id = f"{name}-{self.tgt}"
        joining = live_node(address, self.journal, self.tgt, node_id=node_id, **options)
        await self.stack.enter_async_context(joining)
        return node_id

    async def session(self, shard: int = 0, proxy: Proxy | None = None) -> Session:
        """A session of the worker `shard`."""
        name = session_ids(shard, 1, prefix=f"{self.tgt}-{uuid4().hex[:4]}")[0]
        address = proxy.address if proxy else self.service.address
        opening = connect(address, session_id=name, src="en", tgt=self.tgt, close_timeout_s=2.0)
        return await self.stack.enter_async_context(opening)

    async def measured(self) -> None:
        """Somebody with a node of their own works on from now on, beside what happens here."""
        tgt = f"{self.tgt}m"
        journal = Journal(self.journal.path.with_suffix(".meter"))
        await self.stack.enter_async_context(live_node(self.service.address, journal, tgt))
        for shard in (0, 1):
            name = session_ids(shard, 1, prefix=tgt)[0]
            opening = connect(self.service.address, session_id=name, src="en", tgt=tgt)
            session = await self.stack.enter_async_context(opening)
            self.meter.tasks.append(asyncio.create_task(self.meter.work(session)))
        self.stack.push_async_callback(self._end_measuring)
        await self.meter.has(50)

    async def _end_measuring(self) -> None:
        for task in self.meter.tasks:
            task.cancel()
        await asyncio.gather(*self.meter.tasks, return_exceptions=True)

    # ---- what they do

    def submit(self, session: Session, count: int, **meta: Any) -> list[asyncio.Task[JobResult]]:
        """Submit jobs that must all come back right."""
        return [asyncio.create_task(self._job(session, n, meta)) for n in range(count)]

    async def _job(self, session: Session, number: int, meta: dict[str, Any]) -> JobResult:
        body = f"{self.tgt}/{number}"
        async with asyncio.timeout(JOB_S):
            result = await session.submit(body, services=["nmt"], meta=meta, timeout_s=JOB_S)
        assert result.text == body[::-1], result
        return result

    # ---- what is seen

    async def state_of(self, node_id: str) -> str:
        """The node's state as the manager tells it; "" when it is not known."""
        line = (await self.service.nodes()).get(node_id)
        return line.state if line else ""

    async def is_in_state(self, node_id: str, *states: str, patience_s: float = JOB_S) -> float:
        """Wait for one of these states; return how long it took."""
        began_s = monotonic()
        while (state := await self.state_of(node_id)) not in states:
            assert monotonic() - began_s < patience_s, f"{node_id} is {state}, not {states}"
            await asyncio.sleep(0.05)
        return monotonic() - began_s

    def connections(self) -> int:
        """Connections of TCP that the processes of the service hold, in whatever state."""
        inodes = {f"socket:[{inode}]" for inode in tcp_inodes(self.service.port)}
        held = 0
        for pid in self.service.process.pids().values():
            held += sum(name in inodes for name in open_files(pid))
        return held

    def files_of_workers(self) -> list[list[str]]:
        """What each worker has open."""
        pids = self.service.process.pids()
        return [open_files(pid) for name, pid in pids.items() if name.startswith("worker")]

    def memory_bytes(self) -> int:
        """Resident memory of all processes of the service."""
        pids = self.service.process.pids().values()
        return sum(psutil.Process(pid).memory_info().rss for pid in pids)

    async def is_settled(self, connections: int) -> None:
        """I9, I10: no more connections than before, and no slot held."""
        what = f"no more than {connections} connections are held"
        await until(lambda: self.connections() <= connections, what)
        await self.service.has_no_slots_held()


Scenario = Callable[[Yard], Awaitable[Figures]]


@asynccontextmanager
async def yard(service: LiveService, folder: Path) -> AsyncIterator[Yard]:
    """A yard whose people leave at the end."""
    async with AsyncExitStack() as stack:
        yield Yard(service, folder, stack)

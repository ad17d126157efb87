"""A service of real processes, set up to notice deaths soon, that must leave nothing behind."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from supervised_service import Place, Service, is_running, place

from pointsman_wire.admin_messages import (
    AdminAnswer,
    AdminQuery,
    NodeLine,
    Nodes,
    NodesQuery,
    SnapshotQuery,
    SnapshotView,
    Status,
    StatusQuery,
)
from pointsman_wire.sockets.admin import AdminError, ask

PATIENCE_S = 20.0
# All nodes of a test share one busy machine: how busy it is must not matter.
CONFIG = """
[nodes]
resource_threshold_percent = 0
heartbeat_interval_s = 0.5
[jobs]
lane_grace_s = 1.0
[limits]
handshake_s = 1.0
frame_arrival_s = 1.5
"""


async def until(is_so: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Look again and again until it is so."""
    until_s = monotonic() + patience_s
    while not is_so():
        assert monotonic() < until_s, f"not within {patience_s:g} s: {what}"
        await asyncio.sleep(0.01)


class LiveService:
    """One start of a service: where it is, what it says, and what may be done to it."""

    def __init__(self, here: Place, process: Service) -> None:
        self.here = here
        self.process = process
        self.port = process.ready()
        self.address = f"127.0.0.1:{self.port}"
        self.worker_count = sum(name.startswith("worker") for name in process.pids())
        self._has_ended = False

    # ---- what it says of itself

    async def ask(self, process: str, query: AdminQuery) -> AdminAnswer:
        """Return what a process answers; waits for one that is being restarted."""
        until_s = monotonic() + PATIENCE_S
        while True:
            try:
                return await ask(self.here.runtime_dir / f"admin-{process}.sock", query)
            except AdminError:
                assert monotonic() < until_s, f"{process} does not answer"
                await asyncio.sleep(0.02)

    async def nodes(self, process: str = "manager") -> dict[str, NodeLine]:
        answer = await self.ask(process, NodesQuery(limit=1000))
        assert isinstance(answer, Nodes)
        return {line.node_id: line for line in answer.nodes}

    async def counters(self) -> dict[str, int]:
        """What the workers have counted, summed."""
        total: dict[str, int] = {}
        for index in range(self.worker_count):
            status = await self.ask(f"worker-{index}", StatusQuery())
            assert isinstance(status, Status)
            for name, count in status.counters.items():
                total[name] = total.get(name, 0) + count
        return total

    async def slots_held(self) -> list[int]:
        """One number a worker: slots that it holds on all nodes."""
        view = await self.ask("worker-0", SnapshotQuery())
        assert isinstance(view, SnapshotView)
        return view.slots_held

    async def has_no_slots_held(self) -> None:
        """I10: when nothing runs, no slot is held."""
        until_s = monotonic() + PATIENCE_S
        while any(held := await self.slots_held()):
            assert monotonic() < until_s, f"slots leaked, by worker: {held}"
            await asyncio.sleep(0.02)

    # ---- what is done to it

    def kill(self, *names: str) -> dict[str, int]:
        """Kill processes (manager, worker-<k>) as kill -9 does; return who they were."""
        pids = self.process.pids()
        killed = {name: pids[name] for name in names}
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        return killed

    async def has_replaced(self, killed: Mapping[str, int]) -> None:
        """Wait until each of these has a successor."""

        def is_replaced() -> bool:
            pids = self.process.pids()
            return all(pids.get(name, pid) != pid for name, pid in killed.items())

        await until(is_replaced, f"successors of {', '.join(killed)}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it as asked, once; nothing may be left of it, nor may anything have gone wrong."""
        if self._has_ended:
            return
        self._has_ended = True
        pids = self.process.pids()
        self.process.signal(number)
        assert self.process.ended() == 0, self.process.text()
        assert "Traceback" not in self.process.text(), self.process.text()
        assert not [name for name, pid in pids.items() if is_running(pid)]
        assert self.here.segments() == self.here.sockets() == []


@contextmanager
def started(
    here: Place,
    *options: str,
    config: str = CONFIG,
    workers: int = 2,
    environment: Mapping[str, str] | None = None,
) -> Iterator[LiveService]:
    """A service in a place that exists; it is the test's to stop."""
    path = here.directory / "pointsman.toml"
    path.write_text(config)
    path.chmod(0o600)
    chosen = ("--workers", str(workers), "--config", str(path), *options)
    with here.service(*chosen, environment=environment) as process:
        yield LiveService(here, process)


@contextmanager
def live_service(*, config: str = CONFIG, workers: int = 2) -> Iterator[LiveService]:
    """A service that is stopped at the end and must leave nothing."""
    with place() as here, started(here, config=config, workers=workers) as service:
        yield service
        service.stop()

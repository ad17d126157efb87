"""The manager is killed, and the whole fleet registers with its successor while a client works.

Nodes are raw frames over real sockets, thousands in a process, with the SDK's waits; lean, so that
the machine is the server's.  The client submits one job after the other all the time; what it
waits is counted from the kill until the last node is back.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
from _load.orders import cpu_of
from _shared.crowds import Crowd, Size, nodes_max
from _shared.report import Options, Row, quantile, report
from _shared.service import Span, WatchedService, longest_ns, watched_service

from pointsman import Session, connect
from pointsman_wire.admin_messages import Nodes, NodesQuery, Status, StatusQuery
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import AdminError, ask

WORKERS = 1
JOIN_PER_SECOND = 150  # the start is no storm
PROBE_S = 0.02
# More nodes than a service has unless told otherwise.
CONFIG = "max_nodes = 20_000\n"
CALM_S = 5.0
BACK_S = 120.0
QUICK_NODES = 400


class Probe:
    """A client that submits one job after the other."""

    def __init__(self, session: Session) -> None:
        self.latencies_ns: list[int] = []
        self.failures = 0
        self._session = session
        self._began_ns = 0  # of the job that is under way

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._began_ns = time.perf_counter_ns()
            result = await self._session.submit("x", services=["nmt"], wait_none_s=10.0)
            self.latencies_ns.append(time.perf_counter_ns() - self._began_ns)
            self._began_ns = 0
            self.failures += result.status != "completed"
            await asyncio.sleep(PROBE_S)

    def look(self) -> list[int]:
        """Return the latencies, in order; of a job that has not come back, its age."""
        under_way = [time.perf_counter_ns() - self._began_ns] if self._began_ns else []
        return sorted([*self.latencies_ns, *under_way])


async def status_of(runtime_dir: Path, process: str) -> Status:
    """Ask a process, which may be about to be restarted."""
    while True:
        try:
            answer = await ask(admin_socket(runtime_dir, process), StatusQuery())
        except AdminError:
            await asyncio.sleep(0.05)
            continue
        assert isinstance(answer, Status)
        return answer


async def places_of(runtime_dir: Path) -> dict[str, tuple[int, int]]:
    """Return row and generation of every node that is not offline."""
    found: dict[str, tuple[int, int]] = {}
    after = ""
    while True:
        page = await ask(admin_socket(runtime_dir, "manager"), NodesQuery(after=after, limit=500))
        assert isinstance(page, Nodes)
        lines = [line for line in page.nodes if line.state != "offline"]
        found |= {line.node_id: (line.row, line.generation) for line in lines}
        if not page.more:
            return found
        after = page.nodes[-1].node_id


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Joined(msgspec.Struct, frozen=True):
    """How the fleet came together, before anything happened to it."""

    seconds: float
    manager_cpu_s: float
    turn_max_ms: float


def storm(nodes: int) -> Row:
    """Let a fleet join, and measure one kill."""
    with watched_service(WORKERS, CONFIG) as service, ExitStack() as stack:
        began = service.look()
        crowd = Crowd(
            stack, service.address, Size(nodes=nodes, workers=WORKERS, per_s=JOIN_PER_SECOND)
        )
        crowd.wait_until_ready()
        span = service.since(began)
        joined = Joined(
            span.elapsed_s, span.cpu_s["manager"], longest_ns(span.timing("turn", "manager")) / 1e6
        )
        return asyncio.run(_strike(service, crowd, nodes, joined))


async def _strike(service: WatchedService, crowd: Crowd, nodes: int, joined: Joined) -> Row:
    before = await status_of(service.runtime_dir, "manager")
    places = await places_of(service.runtime_dir)
    rss_before = rss_mib(before.pid)
    async with connect(service.address, src="en", tgt="es") as session:
        probe = Probe(session)
        task = asyncio.create_task(probe.run())
        await asyncio.sleep(CALM_S)
        calm = probe.look()
        probe.latencies_ns.clear()
        await asyncio.to_thread(crowd.ask, "mark")
        watch = StormWatch(service)
        os.kill(before.pid, signal.SIGKILL)
        back = await _all_back(crowd, nodes)
        span = watch.ended((await status_of(service.runtime_dir, "manager")).pid)
        struck = probe.look()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(3)
        after = await status_of(service.runtime_dir, "manager")
        now = await places_of(service.runtime_dir)
        told = [json.loads(answer) for answer in await asyncio.to_thread(crowd.ask, "told")]
    stall_max_ms = max(counts.pop("stall_max_ms") for counts in told)
    print(*told, sep="\n", file=sys.stderr)
    rss = rss_mib(after.pid)
    return {
        "nodes": nodes,
        "joined_s": joined.seconds,
        "joined_manager_cpu_s": joined.manager_cpu_s,
        "joined_turn_max_ms": joined.turn_max_ms,
        "back": back,
        "all_back_s": span.elapsed_s,
        # A node that was declared dead has another row or generation, or is still offline.
        "false_deaths": sum(now.get(node_id) != place for node_id, place in places.items()),
        "retries": sum(sum(counts.values()) for counts in told) - nodes,
        **_client_figures(probe, struck, calm),
        **_server_figures(span),
        "nodes_stall_max_ms": float(stall_max_ms),
        "load_average": os.getloadavg()[0],
        "manager_rss_mib": rss,
        "manager_rss_times": rss / rss_before,
    }


class StormWatch:
    """What the service uses and counts from now on, though its manager is about to die."""

    def __init__(self, service: WatchedService) -> None:
        self._service = service
        self._workers = {name: service.pids[name] for name in service.workers}
        self._cpu_ns = cpu_of(self._workers)
        self._stats = {name: page.read() for name, page in service.pages.items()}
        self._began_s = time.monotonic()

    def ended(self, manager_pid: int) -> Span:
        """Return what it was; of the manager, what this new one has used in its life."""
        now_ns = cpu_of({**self._workers, "manager": manager_pid})
        return Span(
            elapsed_s=time.monotonic() - self._began_s,
            cpu_s={name: (ns - self._cpu_ns.get(name, 0)) / 1e9 for name, ns in now_ns.items()},
            begin=self._stats,
            end={name: page.read() for name, page in self._service.pages.items()},
        )


def _client_figures(probe: Probe, ordered: list[int], calm: list[int]) -> Row:
    return {
        "jobs": len(ordered),
        "jobs_failed": probe.failures,
        "client_calm_p99_ms": quantile(calm, 0.99) / 1e6,
        "client_p50_ms": quantile(ordered, 0.5) / 1e6,
        "client_p99_ms": quantile(ordered, 0.99) / 1e6,
        "client_max_ms": ordered[-1] / 1e6,
    }


def _server_figures(span: Span) -> Row:
    turn = span.timing("turn", "manager")
    return {
        "manager_cpu_s": span.cpu_s["manager"],
        "workers_cpu_s": span.workers_cpu_s(),
        "turn_p99_ms": turn.quantile(0.99) / 1e6,
        "turn_max_ms": longest_ns(turn) / 1e6,
    }


async def _all_back(crowd: Crowd, nodes: int) -> int:
    until_s = time.monotonic() + BACK_S
    while True:
        back = sum(int(count) for count in await asyncio.to_thread(crowd.ask, "count"))
        if back >= nodes or time.monotonic() > until_s:
            return back
        await asyncio.sleep(0.2)


def main() -> None:
    """Read the options, measure, and report."""
    parser = argparse.ArgumentParser(description="A fleet registers anew while a client works.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_NODES} nodes")
    parser.add_argument("--nodes", type=int, default=0, help="0: as many as descriptors allow")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    found = parser.parse_args()
    nodes = QUICK_NODES if found.quick else found.nodes or nodes_max()
    row = storm(nodes)
    report("reconnects", [row], Options(is_quick=found.quick, json_path=found.json))


if __name__ == "__main__":
    main()

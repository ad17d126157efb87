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
from tempfile import TemporaryDirectory

from _shared.processes import Child
from _shared.report import Options, Row, quantile, report

from pointsman import Session, connect
from pointsman.testing import running_service
from pointsman_shm.config import LimitsConfig
from pointsman_shm.descriptors import connections_max
from pointsman_wire.admin_messages import Nodes, NodesQuery, Status, StatusQuery
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import AdminError, ask

WORKERS = 1
JOIN_PER_SECOND = 75  # of each process: the start is no storm
PROCESSES = 2
PROBE_S = 0.02
# All nodes share this machine, and are more than a service has unless told otherwise.
CONFIG = "[nodes]\nresource_threshold_percent = 0\nmax_nodes = 20_000\n"
CALM_S = 5.0
RESERVED = 500
QUICK_NODES = 400


def nodes_max() -> int:
    """How many nodes descriptors allow: of the two processes, and of the manager's connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    per_process = (hard - RESERVED) // (1 + WORKERS)
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    ports = int(high) - int(low) - RESERVED
    served = connections_max(hard, LimitsConfig().descriptors_percent) - RESERVED
    return min(PROCESSES * min(per_process, ports // (1 + WORKERS)), served)


class Probe:
    """A client that submits one job after the other."""

    def __init__(self, session: Session) -> None:
        self.latencies_ns: list[int] = []
        self.failures = 0
        self._session = session

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            began_ns = time.perf_counter_ns()
            result = await self._session.submit("x", services=["nmt"], wait_none_s=10.0)
            self.latencies_ns.append(time.perf_counter_ns() - began_ns)
            self.failures += result.status != "completed"
            await asyncio.sleep(PROBE_S)


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


async def storm(nodes: int) -> Row:
    """Measure one kill."""
    with ExitStack() as stack:
        config = Path(stack.enter_context(TemporaryDirectory(prefix="pointsman-"))) / "storm.toml"
        config.write_text(CONFIG)
        config.chmod(0o600)
        service = stack.enter_context(running_service(workers=WORKERS, config=config))
        share = str(nodes // PROCESSES)
        crowd = [
            stack.enter_context(
                Child(
                    "_load.lean.agents",
                    service.address,
                    f"n{k}",
                    share,
                    str(JOIN_PER_SECOND),
                    f"127.0.0.{k + 2}",  # an address for each, as each has ports of its own
                )
            )
            for k in range(PROCESSES)
        ]
        for child in crowd:
            await asyncio.to_thread(wait_for_ready, child)
        return await _strike(service.address, service.runtime_dir, crowd, nodes)


def wait_for_ready(child: Child) -> None:
    """Wait for the crowd, which takes longer than a child is given to answer."""
    until_s = time.monotonic() + 400
    while time.monotonic() < until_s:
        if child.has_line():
            child.next_line()
            return
        time.sleep(0.2)
    sys.exit("the nodes did not become ready within 400 s")


async def _strike(address: str, runtime_dir: Path, crowd: list[Child], nodes: int) -> Row:
    before = await status_of(runtime_dir, "manager")
    places = await places_of(runtime_dir)
    rss_before = rss_mib(before.pid)
    async with connect(address, src="en", tgt="es") as session:
        probe = Probe(session)
        task = asyncio.create_task(probe.run())
        await asyncio.sleep(CALM_S)
        calm = sorted(probe.latencies_ns)
        probe.latencies_ns.clear()
        for child in crowd:
            await asyncio.to_thread(child.ask, "mark")
        began_s = time.monotonic()
        os.kill(before.pid, signal.SIGKILL)
        back = await _all_back(crowd, nodes, began_s + 120)
        took_s = time.monotonic() - began_s
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        ordered = sorted(probe.latencies_ns)
        await asyncio.sleep(3)
        after = await status_of(runtime_dir, "manager")
        now = await places_of(runtime_dir)
        told = [json.loads(await asyncio.to_thread(child.ask, "told")) for child in crowd]
    stall_max_ms = max(counts.pop("stall_max_ms") for counts in told)
    print(*told, sep="\n", file=sys.stderr)
    turn, wait = after.timings_us["turn"], after.timings_us["management_wait"]
    return {
        "nodes": nodes,
        "back": back,
        "all_back_s": took_s,
        # A node that was declared dead has another row or generation, or is still offline.
        "false_deaths": sum(now.get(node_id) != place for node_id, place in places.items()),
        "retries": sum(sum(counts.values()) for counts in told) - nodes,
        "jobs": len(ordered),
        "jobs_failed": probe.failures,
        "client_calm_p99_ms": quantile(calm, 0.99) / 1e6,
        "client_p99_ms": quantile(ordered, 0.99) / 1e6,
        "client_max_ms": ordered[-1] / 1e6,
        "turn_p99_ms": turn["p99"] / 1e3,
        "turn_max_ms": turn["max"] / 1e3,
        "management_wait_p99_ms": wait["p99"] / 1e3,
        "nodes_stall_max_ms": float(stall_max_ms),
        "load_average": os.getloadavg()[0],
        "manager_rss_mib": rss_mib(after.pid),
        "manager_rss_times": rss_mib(after.pid) / rss_before,
    }


async def _all_back(crowd: list[Child], nodes: int, until_s: float) -> int:
    while True:
        back = sum([int(await asyncio.to_thread(child.ask, "count")) for child in crowd])
        if back >= nodes // PROCESSES * PROCESSES or time.monotonic() > until_s:
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
    row = asyncio.run(storm(nodes))
    report("reconnects", [row], Options(is_quick=found.quick, json_path=found.json))


if __name__ == "__main__":
    main()

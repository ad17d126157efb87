"""Every worker sees every node: what publishing that costs the manager, and reading it a worker.

Fleets of growing size, once of equal nodes and once of all-different ones, are told to the real
manager core; a worker then reads the whole catalog, and after that single changes.  All figures
are CPU time; the turns of the manager are those in which it did nothing else.
"""

import gc
from collections.abc import Callable
from time import thread_time_ns

from _shared.fleet import NODES_PER_TURN, Fleet
from _shared.report import Options, Row, median_row, quantile, report, run

from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.snapshot.fleet_index import FleetIndex
from pointsman_shm.snapshot.records import Requirement
from pointsman_shm.snapshot.snapshot import RuntimeSnapshot, decode_pages, empty_snapshot
from pointsman_workers.core.setup import WorkerMemory
from pointsman_workers.placement.fleet import Fleet as WorkerFleet
from pointsman_workers.placement.kinds import Kind

NODE_COUNTS = (100, 1_000, 10_000, 100_000)
QUICK_NODE_COUNTS = NODE_COUNTS[:-1]
LOADS = 5
CHANGES = 101
QUICK_CHANGES = 51
WANTED = Requirement(types=("asr", "nmt", "tts"), src="en", tgt="es")


class Stages:
    """One more reader of the catalog that goes the stages of a refresh one by one."""

    def __init__(self, memory: WorkerMemory) -> None:
        self._memory = memory
        self._reader: CatalogReader = memory.catalog
        self._snapshot: RuntimeSnapshot = empty_snapshot(memory.layout)
        self._index = FleetIndex(memory.rows.max_nodes)

    def refresh(self) -> Row:
        """Read, decode and index what is new; returns what each stage took."""
        began_ns = thread_time_ns()
        pages = self._reader.refresh()
        read_ns = thread_time_ns()
        assert pages is not None, "there was nothing new to read"
        self._snapshot, change = decode_pages(
            self._snapshot,
            pages,
            self._memory.layout,
            version=self._reader.version,
            published_at_ns=self._reader.published_at_ns,
        )
        decoded_ns = thread_time_ns()
        self._index.apply(self._snapshot, change)
        return {
            "pages": len(pages),
            "read_us": (read_ns - began_ns) / 1e3,
            "decode_us": (decoded_ns - read_ns) / 1e3,
            "index_us": (thread_time_ns() - decoded_ns) / 1e3,
        }


class Worker:
    """A worker's own reading view, and one kind of job that it places."""

    def __init__(self, memory: WorkerMemory) -> None:
        self._fleet = WorkerFleet(memory, seed=1)
        self._kind = Kind(requirement=WANTED, services=[*WANTED.types], bucket=0)

    def refresh(self) -> Row:
        """Follow the catalog as a step does, then as the first placement after it does."""
        refresh_us = timed_us(self._fleet.refresh)
        return {"worker_refresh_us": refresh_us, "first_candidates_us": timed_us(self._find)}

    def _find(self) -> None:
        self._fleet.prepare(self._kind)
        assert self._fleet.candidates(self._kind, None), "no node can do the job"


def timed_us(act: Callable[[], object]) -> float:
    """Return the CPU time of a call in microseconds."""
    began_ns = thread_time_ns()
    act()
    return (thread_time_ns() - began_ns) / 1e3


def settle_memory() -> None:
    """Keep the garbage collector from looking at what is there, as processes do once started."""
    gc.collect()
    gc.freeze()


def whole_load(fleet: Fleet) -> Row:
    """Let the fleet join, then let fresh workers read all of it."""
    fleet.join_all()
    row = turns_of(fleet)
    settle_memory()
    loads = [
        {**Stages(fleet.worker_memory()).refresh(), **Worker(fleet.worker_memory()).refresh()}
        for _ in range(LOADS)
    ]
    return {**row, **median_row(loads)}


def turns_of(fleet: Fleet) -> Row:
    """Say how long the manager's turns were while the fleet joined."""
    took_ns = sum(fleet.event_turns_ns) + sum(fleet.publish_turns_ns)
    events = sorted(fleet.event_turns_ns)
    publishes = sorted(fleet.publish_turns_ns)
    return {
        "manager_us_per_node": took_ns / 1e3 / fleet.node_count,
        "event_turn_p50_us": quantile(events, 0.5) / 1e3,
        "event_turn_max_us": events[-1] / 1e3,
        "publish_turn_p50_us": quantile(publishes, 0.5) / 1e3,
        "publish_turn_p99_us": quantile(publishes, 0.99) / 1e3,
        "publish_turn_max_us": publishes[-1] / 1e3,
    }


def one_change(fleet: Fleet, change_count: int) -> Row:
    """Let one node after the other change, and one worker follow each change by itself."""
    stages, worker = Stages(fleet.worker_memory()), Worker(fleet.worker_memory())
    stages.refresh()
    worker.refresh()
    changes: list[Row] = []
    publishes: list[int] = []
    for count in range(change_count):
        event_ns, publish_ns = fleet.change_one(count * 37 % fleet.node_count, 5 + count % 2)
        publishes.append(publish_ns)
        manager: Row = {
            "event_turn_p50_us": event_ns / 1e3,
            "publish_turn_p50_us": publish_ns / 1e3,
        }
        changes.append({**manager, **stages.refresh(), **worker.refresh()})
    row = median_row(changes)
    row["event_turn_max_us"] = max(float(change["event_turn_p50_us"]) for change in changes)
    row["publish_turn_p99_us"] = quantile(sorted(publishes), 0.99) / 1e3
    row["publish_turn_max_us"] = max(publishes) / 1e3
    refreshes = sorted(int(float(change["worker_refresh_us"])) for change in changes)
    row["worker_refresh_p99_us"] = float(quantile(refreshes, 0.99))
    return row


def measure(node_count: int, change_count: int, *, has_equal_nodes: bool) -> list[Row]:
    """Return the rows of one fleet: its whole load, and one node changed."""
    fleet = Fleet(node_count, has_equal_nodes=has_equal_nodes)
    settle_memory()
    what: Row = {"nodes": node_count, "classes": "one" if has_equal_nodes else "each its own"}
    return [
        {**what, "change": "all join", **whole_load(fleet)},
        {**what, "change": "one node", **one_change(fleet, change_count)},
    ]


def main(options: Options) -> None:
    """Measure every size, and report."""
    node_counts = QUICK_NODE_COUNTS if options.is_quick else NODE_COUNTS
    change_count = QUICK_CHANGES if options.is_quick else CHANGES
    rows: list[Row] = []
    for node_count in node_counts:
        for has_equal_nodes in (True, False):
            rows += measure(node_count, change_count, has_equal_nodes=has_equal_nodes)
            gc.unfreeze()
    print(f"{NODES_PER_TURN} nodes join in each turn of the manager; all figures are CPU time")
    report("snapshot", rows, options)


if __name__ == "__main__":
    run("Publish and refresh cost of fleets of 100 to 100,000 nodes.", main)

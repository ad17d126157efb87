"""A fleet as events: the real manager core is told what nodes say, a real worker reads it.

Everything runs in a process of its own, so that its memory is that of this fleet.  Virtual time;
all figures are CPU time of one thread, so what sockets cost is not in them.
"""

import gc
import os
import resource
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from time import thread_time_ns

import msgspec
from decisions import measure_anew

from _shared.fleet import PUBLISH_NS, Fleet
from _shared.report import Row, quantile
from pointsman_sched.manager.garbage import GarbageKeeper
from pointsman_shm.config import NodesConfig
from pointsman_shm.snapshot.records import Requirement
from pointsman_workers.placement.fleet import Fleet as WorkerFleet
from pointsman_workers.placement.kinds import Kind

CHANGES = 200
QUICK_CHANGES = 50
DECISIONS = 10_000
QUICK_DECISIONS = 1_000
BEATS_A_TURN = 10
BEAT_TURNS = 1_000
WANTED = Requirement(types=("asr", "nmt", "tts"), src="en", tgt="es")
MIB = 2**20

_context = get_context("fork")


def measure_events(nodes: int, *, is_quick: bool) -> Row:
    """Return the row of a fleet of so many nodes."""
    reading, writing = os.pipe()

    def work() -> None:
        row = _measure(nodes, is_quick=is_quick)
        os.write(writing, msgspec.json.encode(row))

    process = _context.Process(target=work)
    process.start()
    process.join()
    os.close(writing)
    answer = os.read(reading, 65_536)
    os.close(reading)
    assert answer, f"the process that measures {nodes} nodes ended with {process.exitcode}"
    return msgspec.json.decode(answer, type=Row)


def _measure(nodes: int, *, is_quick: bool) -> Row:
    before = _rss_bytes()
    fleet = Fleet(nodes, has_equal_nodes=True)
    garbage = GarbageKeeper()  # as the manager has it
    garbage.settle()
    fleet.join_all()
    garbage.look(nodes)
    row: Row = {"kind": "events", "nodes": nodes, "workers": 1}
    row |= _joining(fleet)
    row["manager_rss_mib"] = (_rss_bytes() - before) / MIB
    beat_turns = _beats(fleet)
    row |= _idle(fleet, beat_turns)
    before = _rss_bytes()
    worker = WorkerFleet(fleet.worker_memory(), seed=1)
    fresh_ns = _timed(worker)
    row["worker_rss_mib"] = (_rss_bytes() - before) / MIB
    fleet.event_turns_ns.clear()
    fleet.publish_turns_ns.clear()
    row |= _changes(fleet, worker, QUICK_CHANGES if is_quick else CHANGES)
    row |= _turns("turn", beat_turns + fleet.event_turns_ns + fleet.publish_turns_ns)
    row["fresh_sees_s"] = fresh_ns / 1e9
    gc.unfreeze()
    decided = measure_anew(nodes, "churn", QUICK_DECISIONS if is_quick else DECISIONS)
    return row | _decision(decided)


def _joining(fleet: Fleet) -> Row:
    turns = fleet.event_turns_ns + fleet.publish_turns_ns
    return {
        "manager_us_per_node": sum(turns) / 1e3 / fleet.node_count,
        **_turns("join_turn", turns),
    }


def _turns(name: str, turns_ns: Sequence[int]) -> Row:
    """Return how long turns were."""
    ordered = sorted(turns_ns)
    return {
        f"{name}_p50_us": quantile(ordered, 0.5) / 1e3,
        f"{name}_p99_us": quantile(ordered, 0.99) / 1e3,
        f"{name}_max_us": ordered[-1] / 1e3,
    }


def _beats(fleet: Fleet) -> list[int]:
    """Let nodes beat, some in every turn; return what the turns took."""
    turns = []
    for turn in range(BEAT_TURNS):
        first = turn * BEATS_A_TURN
        turns.append(fleet.beat([(first + k) % fleet.node_count for k in range(BEATS_A_TURN)]))
    return turns


def _idle(fleet: Fleet, turns: Sequence[int]) -> Row:
    """Say what heartbeats cost at the rate that the server would assign."""
    per_beat_s = sum(turns) / 1e9 / (BEAT_TURNS * BEATS_A_TURN)
    per_s = min(fleet.node_count, NodesConfig().heartbeats_per_second_max)
    return {"manager_idle_load": per_beat_s * per_s, "heartbeats_per_s": float(per_s)}


def _timed(worker: WorkerFleet) -> int:
    """Return what a refresh takes, with the first look for candidates after it, in ns."""
    kind = Kind(requirement=WANTED, services=[*WANTED.types], bucket=0)
    began_ns = thread_time_ns()
    assert worker.refresh(), "there was nothing new to read"
    worker.prepare(kind)
    assert worker.candidates(kind, None), "no node can do the job"
    return thread_time_ns() - began_ns


def _changes(fleet: Fleet, worker: WorkerFleet, count: int) -> Row:
    """Let one node after the other change; the 20 ms between two publishes are waited in full."""
    latencies, stalls = [], []
    for number in range(count):
        event_ns, publish_ns = fleet.change_one(number * 37 % fleet.node_count, 5 + number % 2)
        stalls.append(_timed(worker))
        latencies.append(event_ns + PUBLISH_NS + publish_ns + stalls[-1])
    latencies.sort()
    stalls.sort()
    return {
        "changes": count,
        "publish_p50_ms": quantile(latencies, 0.5) / 1e6,
        "publish_p99_ms": quantile(latencies, 0.99) / 1e6,
        "refresh_p50_us": quantile(stalls, 0.5) / 1e3,
        "refresh_p99_us": quantile(stalls, 0.99) / 1e3,
        "refresh_max_us": stalls[-1] / 1e3,
    }


def _decision(decided: Row) -> Row:
    return {"decision_p50_us": decided["p50_us"], "decision_p99_us": decided["p99_us"]}


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()

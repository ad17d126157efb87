"""10,000 nodes: no turn needs the whole fleet.  Times are printed, not asserted."""

import gc
from time import perf_counter_ns

import msgspec
import pytest
from manager_harness import MS, SECOND, Harness, large_fleet, registration
from manager_invariants import check_published

from pointsman_sched.core.events import ConfigOffered
from pointsman_shm.config import PoolsConfig
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.control_messages import Heartbeat
from pointsman_wire.link import Received

COUNT = 10_000
PER_TURN = 100


def report(what: str, turns_ns: list[int], capfd: pytest.CaptureFixture[str]) -> None:
    ordered = sorted(turns_ns)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    with capfd.disabled():
        print(
            f"\n  {what}: {len(ordered)} turns, mean {sum(ordered) / len(ordered) / 1e3:.0f} us, "
            f"p99 {p99 / 1e3:.0f} us, longest {ordered[-1] / 1e3:.0f} us"
        )


def timed_turn(h: Harness, *events: object) -> int:
    began_ns = perf_counter_ns()
    h.core.step(h.now_ns, events)
    return perf_counter_ns() - began_ns


@pytest.mark.slow
def test_a_large_fleet_joins_beats_and_dies_in_short_turns(
    capfd: pytest.CaptureFixture[str],
) -> None:
    h = large_fleet(COUNT)
    state = h.core.state
    nodes = list(state.nodes.by_id.values())
    assert {node.state for node in nodes} == {NodeState.READY}

    turns: list[int] = []
    for start in range(0, COUNT, PER_TURN):
        h.now_ns += 10 * MS
        beats = [
            Received(node.connection, [(Heartbeat(cpu_percent=5.0), b"")])
            for node in nodes[start : start + PER_TURN]
            if node.connection is not None
        ]
        assert len(beats) == PER_TURN
        turns.append(timed_turn(h, *beats))
    report(f"{PER_TURN} heartbeats a turn", turns, capfd)

    turns = []
    for count in range(200):
        h.now_ns += 20 * MS
        node = nodes[count * 37]
        assert node.connection is not None
        again = registration(node.node_id, (count * 37 + 1).to_bytes(32, "big").hex())
        turns.append(timed_turn(h, Received(node.connection, [(again, b"")])))
        assert node.epoch == 2
    report("one registers again", turns, capfd)

    turns = []
    survivors = nodes[: COUNT // 2 + 10]
    for _ in range(140):
        h.now_ns += SECOND // 10
        for node in survivors:
            node.heard_at_ns = state.clock_ns
        while (h.core.next_deadline_ns() or 0) <= h.now_ns:
            turns.append(timed_turn(h))
            h.now_ns += 1 * MS
    report("half the fleet dies", turns, capfd)
    gone = {node.state for node in nodes[COUNT // 2 + 10 :]}
    assert gone == {NodeState.OFFLINE}
    assert NodeState.OFFLINE not in {node.state for node in survivors}
    while state.dirty:
        h.now_ns += 20 * MS
        h.feed()
    check_published(state, h.catalog_bytes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pools",
    [PoolsConfig(auto_language_pools=False, pool_count=64, hash_seed=5), PoolsConfig()],
    ids=["other buckets", "language pools"],
)
def test_a_large_fleet_gets_other_pools_in_short_turns_and_is_heard_meanwhile(
    pools: PoolsConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    h = large_fleet(COUNT)
    state = h.core.state
    nodes = list(state.nodes.by_id.values())
    before = h.memory.catalog.version
    gc.collect()
    gc.freeze()  # as the process does when it is ready
    try:
        h.now_ns += 20 * MS
        offered = msgspec.structs.replace(state.config, pools=pools)
        turns = [timed_turn(h, ConfigOffered(1, "file.toml", offered))]
        while state.rebuild is not None:
            h.now_ns += 1 * MS
            node = nodes[len(turns)]
            assert node.connection is not None
            turns.append(timed_turn(h, Received(node.connection, [(Heartbeat(), b"")])))
            assert len(turns) < 2_000
    finally:
        gc.unfreeze()
    report(f"other pools for {COUNT} nodes, a heartbeat a turn", turns, capfd)
    assert h.memory.catalog.version == before + 1
    while state.dirty or state.retired is not None:
        h.now_ns += 20 * MS
        h.feed()
    check_published(state, h.catalog_bytes)

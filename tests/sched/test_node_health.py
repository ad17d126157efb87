"""The health of nodes: every row of the table, and the stories that BEHAVIOUR tells of them."""

from itertools import product
from typing import Any

import pytest
from manager_harness import MS, NMT, SECOND, Harness, registration

from pointsman_sched.core.events import OrderGiven, WorkerSaid
from pointsman_sched.core.fleet.health import MOVES, BadWindow, IllegalMove, Verb, move
from pointsman_sched.core.fleet.node import Node
from pointsman_shm.memory.rows import NodeState, unpack_standing
from pointsman_shm.uplink import NodeZombie
from pointsman_wire.control_messages import (
    Drain,
    HeartbeatAck,
    LanesReady,
    Leave,
    NodeStateChanged,
    Service,
)
from pointsman_wire.errors import Code
from pointsman_wire.link import Close, LoopWasLate
from pointsman_wire.messages import Error
from pointsman_wire.queries.operating_messages import DrainOrder, UndrainOrder

S = NodeState
LIVE = (S.REGISTERING, S.READY, S.DEGRADED, S.SUSPECT, S.DRAINING)
STOPPED = Service(id="nmt-1", kind="nmt", status="stopped")


@pytest.mark.parametrize(("state", "verb"), list(product(S, Verb)))
def test_every_move_is_in_the_table_or_is_our_own_fault(state: S, verb: Verb) -> None:
    node = Node("n1", 0, 1, 0)
    node.state = state
    if (state, verb) in MOVES:
        move(node, verb, 5)
        assert (node.state, node.state_since_ns) == (MOVES[state, verb], 5)
    else:
        with pytest.raises(IllegalMove, match="cannot"):
            move(node, verb, 5)
        assert node.state is state


def test_the_table_is_what_the_rules_say() -> None:
    into = {
        state: {before for (before, _), after in MOVES.items() if after is state} for state in S
    }
    assert into[S.READY] == {S.REGISTERING, S.DEGRADED, S.SUSPECT}
    assert into[S.DEGRADED] == {S.REGISTERING, S.READY, S.SUSPECT}
    assert into[S.SUSPECT] == {S.REGISTERING, S.READY, S.DEGRADED}
    assert into[S.DRAINING] == set(LIVE) - {S.DRAINING}
    assert into[S.OFFLINE] == set(LIVE)
    assert into[S.FREE] == {S.OFFLINE}


BAD: dict[str, dict[str, Any]] = {
    "no service runs": {"services": [STOPPED]},
    "cpu above 100": {"cpu_percent": 100.5},
    "memory below 0": {"memory_percent": -1.0},
    "not a number": {"gpu_percent": float("nan")},
    "negative jobs": {"running": -1},
}


@pytest.mark.parametrize(
    ("heartbeats", "is_too_many"),
    [("b", False), ("bb", True), ("bgbgb", False), ("bgbgbgb", True), ("bgbgbgggggb", False)],
)
def test_bad_heartbeats_are_too_many_in_a_row_or_in_a_window(
    heartbeats: str, is_too_many: bool
) -> None:
    """Two of them running, or four of the last seven."""
    window, bits = BadWindow(in_a_row=2, of_window=4, window=7), 0
    for each in heartbeats:
        bits = window.push(bits, is_bad=each == "b")
    assert window.is_too_many(bits) is is_too_many


@pytest.mark.parametrize("case", BAD)
def test_three_bad_heartbeats_in_a_row_degrade_and_one_good_one_mends(case: str) -> None:
    h = Harness()
    connection = h.make_ready()
    for _ in range(2):
        h.beat(connection, **BAD[case])
        assert h.state() == S.READY
    h.beat(connection, **BAD[case])
    assert h.state() == S.DEGRADED
    assert [told.state for told in h.sent(NodeStateChanged)] == ["degraded"]
    h.beat(connection, services=[NMT])
    assert h.state() == S.READY
    h.beat(connection, **BAD[case])
    assert h.state() == S.READY, "it begins anew"


def test_three_bad_of_the_last_five_degrade_three_of_six_do_not() -> None:
    for pattern, expected in (("bgbgb", S.DEGRADED), ("bggbgb", S.READY)):
        h = Harness()
        connection = h.make_ready()
        for letter in pattern:
            h.beat(connection, cpu_percent=50.0 if letter == "g" else 500.0)
        assert h.state() == expected, pattern


def test_silence_is_suspect_after_three_intervals_and_offline_after_five() -> None:
    """N1: half-open, the peer is gone and nobody said so."""
    h = Harness()
    connection = h.make_ready()
    h.advance(2_900 * MS)
    assert h.state() == S.READY
    h.advance(200 * MS)
    assert h.state() == S.SUSPECT
    h.advance(1_800 * MS)
    assert h.state() == S.SUSPECT
    h.advance(200 * MS)
    assert h.state() == S.OFFLINE
    assert connection not in {node.connection for node in h.core.state.nodes.by_id.values()}


def test_the_dead_nodes_connection_is_closed_after_it_was_told() -> None:
    h = Harness()
    connection = h.make_ready()
    commands = h.advance(6 * SECOND)
    assert [c.connection for c in commands if isinstance(c, Close)] == [connection]


def test_a_suspect_node_that_beats_again_is_ready_at_once() -> None:
    h = Harness()
    connection = h.make_ready()
    h.advance(4 * SECOND)
    assert h.state() == S.SUSPECT
    h.beat(connection)
    assert h.state() == S.READY


def test_a_broken_control_connection_is_suspect_at_once_and_offline_when_it_stays_away() -> None:
    h = Harness()
    connection = h.make_ready()
    h.advance(500 * MS)
    h.beat(connection)
    h.lose(connection)
    assert h.state() == S.SUSPECT
    h.advance(4_900 * MS)
    assert h.state() == S.SUSPECT
    h.advance(300 * MS)
    assert h.state() == S.OFFLINE


def test_a_node_back_after_a_blip_has_the_same_row_and_generation() -> None:
    h = Harness()
    h.lose(h.make_ready())
    before = (h.node().row, h.node().generation)
    h.advance(2 * SECOND)
    h.make_ready()
    assert (h.node().row, h.node().generation) == before
    assert h.state() == S.READY
    assert h.node().epoch == 2


def test_warm_up_lasts_sixty_seconds_and_lanes_and_a_heartbeat_still_mend_it() -> None:
    h = Harness()
    connection = h.join()
    for _ in range(59):
        h.advance(SECOND)
        h.beat(connection)
        assert h.state() == S.REGISTERING
    h.advance(1_200 * MS)
    h.beat(connection)
    assert h.state() == S.DEGRADED, "good heartbeats, but its lanes never came"
    h.say(connection, LanesReady())
    assert h.state() == S.READY


def test_an_offline_node_leaves_its_pools_stays_for_ten_minutes_and_is_forgotten() -> None:
    h = Harness()
    h.make_ready()
    h.settle()
    row = h.node().row
    assert h.read().nodes["n1"].pools
    h.advance(6 * SECOND)
    h.settle()
    assert h.state() == S.OFFLINE
    assert h.read().nodes["n1"].pools == ()
    assert all(not pool.classes for pool in h.read().pools.pools)

    h.advance(590 * SECOND)
    assert h.state() == S.OFFLINE
    h.advance(11 * SECOND)
    h.settle()
    assert not h.core.state.nodes.by_id
    assert not h.read().nodes
    shown = unpack_standing(h.memory.rows.standing[row])
    assert (shown.state, shown.generation, shown.slots_max) == (S.FREE, 1, 0)


def test_a_node_that_comes_back_after_its_death_is_a_new_row() -> None:
    h = Harness()
    h.make_ready()
    before = h.node().row
    h.advance(6 * SECOND)
    h.make_ready()
    assert h.node().row != before
    assert h.node().epoch == 2
    assert len(h.core.state.nodes.by_id) == 1


def test_a_draining_node_takes_no_jobs_and_ends_at_its_deadline_though_it_beats() -> None:
    """I8."""
    h = Harness()
    connection = h.make_ready()
    h.say(connection, Drain(deadline_s=10.0))
    assert h.state() == S.DRAINING
    for _ in range(9):
        h.advance(SECOND)
        h.beat(connection)
        assert h.state() == S.DRAINING
        assert [ack.desired for ack in h.sent(HeartbeatAck)] == ["drain"]
    h.advance(1_100 * MS)
    assert h.state() == S.OFFLINE


def test_a_second_drain_moves_the_deadline_nearer() -> None:
    h = Harness()
    connection = h.make_ready()
    h.say(connection, Drain(deadline_s=1_000.0))
    h.say(connection, Drain(deadline_s=1.0))
    h.advance(1_100 * MS)
    assert h.state() == S.OFFLINE


def test_an_operators_drain_outlives_a_registration_and_is_taken_back_by_undrain() -> None:
    h = Harness()
    h.make_ready()
    h.feed(OrderGiven(1, DrainOrder(node_id="n1", deadline_s=100.0)))
    assert h.state() == S.DRAINING
    h.make_ready()
    assert h.state() == S.DRAINING
    h.feed(OrderGiven(2, UndrainOrder(node_id="n1")))
    assert h.state() == S.READY


def test_undrain_of_a_silent_node_leaves_it_suspect() -> None:
    h = Harness()
    connection = h.make_ready()
    h.feed(OrderGiven(1, DrainOrder(node_id="n1", deadline_s=100.0)))
    h.lose(connection)
    h.feed(OrderGiven(2, UndrainOrder(node_id="n1")))
    assert h.state() == S.SUSPECT


def test_a_node_that_drained_itself_and_registers_again_takes_jobs_again() -> None:
    h = Harness()
    h.say(h.make_ready(), Drain(deadline_s=100.0))
    h.make_ready()
    assert h.state() == S.READY


def test_leave_is_offline_at_once() -> None:
    h = Harness()
    connection = h.make_ready()
    h.say(connection, Leave(reason="done"))
    assert h.state() == S.OFFLINE
    assert [told.reason for told in h.sent(NodeStateChanged)] == ["done"]


def test_a_late_loop_declares_nobody_dead() -> None:
    """T9, P7, C2: the manager was stopped for a minute, the nodes beat all the time."""
    h = Harness()
    connection = h.make_ready()
    h.advance(SECOND)
    h.beat(connection)
    h.now_ns += 60 * SECOND
    h.feed(LoopWasLate(59 * SECOND))
    assert h.state() == S.READY
    h.beat(connection)
    h.advance(2_900 * MS)
    assert h.state() == S.READY
    h.advance(2_200 * MS)
    assert h.state() == S.OFFLINE


def test_when_most_of_the_fleet_is_silent_nobody_dies_until_it_is_believed() -> None:
    """The mass-loss guard: more than half, and at least three."""
    h = Harness()
    connections = [h.make_ready(registration(f"n{n}")) for n in range(5)]
    for _ in range(290):
        h.advance(SECOND)
        for connection in connections[:2]:
            h.beat(connection)
    assert [h.state(f"n{n}") for n in range(5)] == [S.READY] * 2 + [S.SUSPECT] * 3
    for _ in range(20):
        h.advance(SECOND)
        for connection in connections[:2]:
            h.beat(connection)
    assert [h.state(f"n{n}") for n in range(5)] == [S.READY] * 2 + [S.OFFLINE] * 3


def test_the_guard_ends_when_enough_are_back_and_then_the_rest_may_die() -> None:
    h = Harness()
    connections = [h.make_ready(registration(f"n{n}")) for n in range(5)]
    for _ in range(10):
        h.advance(SECOND)
        for connection in connections[:2]:
            h.beat(connection)
    for _ in range(3):
        h.advance(SECOND)
        for connection in connections[:3]:
            h.beat(connection)
    assert [h.state(f"n{n}") for n in range(5)] == [S.READY] * 3 + [S.OFFLINE] * 2


def test_two_of_three_lost_is_no_mass() -> None:
    h = Harness()
    connections = [h.make_ready(registration(f"n{n}")) for n in range(3)]
    for _ in range(6):
        h.advance(SECOND)
        h.beat(connections[0])
    assert [h.state(f"n{n}") for n in range(3)] == [S.READY, S.OFFLINE, S.OFFLINE]


def test_a_zombie_has_to_register_anew() -> None:
    """T8: it answers heartbeats, but never reads its assignments."""
    h = Harness()
    connection = h.make_ready()
    node = h.node()
    h.feed(WorkerSaid(0, NodeZombie(node.row, node.generation, node.epoch + 1, "other epoch")))
    assert h.state() == S.READY
    h.feed(WorkerSaid(0, NodeZombie(node.row, node.generation, node.epoch, "3 s unread")))
    assert h.state() == S.SUSPECT
    assert [told.error.code for told in h.sent(Error)] == [Code.NODE_UNAVAILABLE]
    h.beat(connection)
    assert h.state() == S.SUSPECT
    h.make_ready()
    assert h.state() == S.READY

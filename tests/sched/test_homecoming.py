"""A recovered fleet comes home, as events into the real manager core: late is not dead."""

import pytest
from manager_harness import MS, SECOND, Harness, config_with, registration

from pointsman_sched.core.events import LagMeasured
from pointsman_sched.core.fleet.homecoming import PAUSE_MAX_NS, Homecoming
from pointsman_sched.core.fleet.relief import CALM_NS, LATE_NS, RISE_NS, STEPS_MAX, Relief
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.control_messages import Heartbeat, HeartbeatAck, LanesReady, Registered


def restarted(count: int) -> Harness:
    """A new manager over the memory of one with so many Ready nodes."""
    h = Harness(config_with(max_nodes=count), is_checked=False)
    for number in range(count):
        h.make_ready(registration(f"n{number:06}"))
    h.advance(SECOND)
    h.start()
    h.feed()
    return h


def comes_home(h: Harness, number: int) -> None:
    connection = h.dial()
    h.say(connection, registration(f"n{number:06}", h.keys[f"n{number:06}"]))
    h.say(connection, LanesReady(), Heartbeat())


def test_n9_nobody_is_declared_dead_while_others_still_come_home() -> None:
    """0 false deaths: 500 nodes at 4 a second take twice as long as any of them may be silent."""
    count = 500
    h = restarted(count)
    rows = {node.node_id: (node.row, node.generation) for node in h.core.state.nodes.by_id.values()}
    began_ns = h.now_ns
    for number in range(count):
        comes_home(h, number)
        h.advance(SECOND // 4)
    assert h.now_ns - began_ns > 120 * SECOND
    nodes = h.core.state.nodes.by_id.values()
    assert {node.node_id: (node.row, node.generation) for node in nodes} == rows


def test_who_does_not_come_home_is_missed_when_nobody_has_come_for_a_while() -> None:
    """I8: a pause of 2 s ends the homecoming of 500 nodes; then each is judged by its silence."""
    h = restarted(500)
    for number in range(450):
        comes_home(h, number)
        h.advance(20 * MS)
    connections = {
        node.node_id: node.connection
        for node in h.core.state.nodes.by_id.values()
        if node.connection is not None
    }
    for _ in range(16):
        for connection in connections.values():
            h.beat(connection)
        h.advance(SECOND)
    states = [h.node(f"n{number:06}").state for number in range(500)]
    assert states == [NodeState.READY] * 450 + [NodeState.OFFLINE] * 50


def test_a_homecoming_ends_with_a_pause_or_with_the_hold() -> None:
    """What comes one by one for ever does not keep the dead alive."""
    homecoming = Homecoming(hold_ns=300 * SECOND)
    assert not homecoming.is_going_on(0), "nobody was recovered"
    homecoming.expect({f"n{number}" for number in range(1_000_000)}, 0)
    assert homecoming.is_going_on(PAUSE_MAX_NS - 1)
    assert not homecoming.is_going_on(PAUSE_MAX_NS)
    for second in range(1, 301):
        homecoming.came(f"n{second}", second * SECOND)
        homecoming.came("a stranger", second * SECOND)
    assert homecoming.awaited_count == 1_000_000 - 300
    assert homecoming.is_going_on(299 * SECOND)
    assert not homecoming.is_going_on(300 * SECOND)


def test_a_manager_that_is_late_lets_nodes_beat_more_rarely_until_it_is_in_time_again() -> None:
    """I13: heartbeats of a large fleet are most of what a manager does."""
    h = Harness(config_with(heartbeat_interval_s=1.0))
    connection = h.make_ready()

    def interval_s() -> float:
        h.beat(connection)
        return h.sent(HeartbeatAck)[-1].heartbeat_interval_s

    assert interval_s() == 1.0
    h.feed(LagMeasured(LATE_NS - 1))
    assert interval_s() == 1.0
    h.feed(LagMeasured(LATE_NS), LagMeasured(LATE_NS))
    assert interval_s() == 2.0
    h.join(registration("n2"))
    assert h.sent(Registered)[0].heartbeat_interval_s == 2.0
    h.advance(CALM_NS // 2)
    h.beat(connection)
    h.advance(CALM_NS // 2)
    h.feed(LagMeasured(0))
    assert interval_s() == 1.0


@pytest.mark.parametrize(("late_s", "factor"), [(0, 1), (1, 1), (2, 2), (5, 2), (6, 4), (14, 8)])
def test_each_step_needs_longer_than_the_one_before(late_s: int, factor: int) -> None:
    relief = Relief()
    for second in range(late_s):
        relief.observe(second * SECOND, LATE_NS)
    assert relief.factor == factor
    for second in range(late_s, 200):
        relief.observe(second * SECOND, LATE_NS)
    assert relief.factor == 1 << STEPS_MAX
    factors = set()
    for second in range(200, 200 + (STEPS_MAX + 1) * CALM_NS // SECOND):
        relief.observe(second * SECOND, 0)
        if second % (CALM_NS // SECOND) == 5:
            factors.add(relief.factor)
    assert factors == {8, 4, 2, 1}, "step by step"
    assert RISE_NS < CALM_NS


def test_one_pause_however_long_leaves_intervals_as_they_are() -> None:
    """Else a silent node is missed after twice as long, for want of nothing."""
    relief = Relief()
    for second in range(0, 100, 2):
        relief.observe(second * SECOND, 10 * SECOND)
        relief.observe((second + 1) * SECOND, 0)
        assert relief.factor == 1

"""Drains last until they are taken back: over the end of their time, and of their manager."""

import msgspec
import pytest
from manager_harness import (
    SECOND,
    Harness,
    away,
    config_with,
    done,
    refused,
    registration,
)

from pointsman_sched.core.events import OrderGiven
from pointsman_sched.core.fleet.pauses import OVER
from pointsman_sched.core.orders.standing import ORDERS_MAX, orders_record
from pointsman_shm.memory.rows import NodeState
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.config_pages import ORDERS_BYTES_MAX
from pointsman_wire.control_messages import Leave
from pointsman_wire.errors import Code
from pointsman_wire.link import Connection
from pointsman_wire.queries.operating_messages import (
    DrainOrder,
    QuarantineOrder,
    ReleaseOrder,
    UndrainOrder,
)


def beats(h: Harness, connection: Connection, seconds: int) -> None:
    for _ in range(seconds):
        h.advance(1 * SECOND)
        if h.node().connection is not None:
            h.beat(connection)


def test_a_node_whose_drain_is_over_comes_back_drained_until_that_is_taken_back() -> None:
    h = Harness(config_with(remember_offline_s=30.0))
    beats(h, h.make_ready(), 1)
    done(h, DrainOrder(node_id="n1", deadline_s=3.0))
    beats(h, h.node().connection or Connection(0), 4)
    assert h.state() is NodeState.OFFLINE
    beats(h, h.make_ready(), 100)
    assert h.state() is NodeState.DRAINING
    h.settle()
    h.start()
    beats(h, h.make_ready(), 100)
    assert h.state() is NodeState.DRAINING
    h.say(h.node().connection or Connection(0), Leave())
    h.advance(60 * SECOND)
    assert "n1" not in h.core.state.nodes.by_id
    h.keys.clear()
    h.make_ready()
    assert h.state() is NodeState.DRAINING
    done(h, UndrainOrder(node_id="n1"))
    assert (h.state(), h.core.state.pauses.drains) == (NodeState.READY, {})


def test_a_drain_is_taken_back_while_its_node_is_away() -> None:
    h = Harness()
    h.make_ready()
    done(h, DrainOrder(node_id="n1", deadline_s=500.0))
    away(h, "n1")
    assert "when it is back" in done(h, UndrainOrder(node_id="n1")).words
    h.make_ready()
    assert h.state() is NodeState.READY
    assert refused(h, UndrainOrder(node_id="n1")) == Code.CONFLICT


def test_a_drain_has_its_time_also_when_the_manager_restarts_meanwhile() -> None:
    """What runs is not ended after `nodes.drain_s` because the manager was another one."""
    h = Harness(config_with(drain_s=5.0))
    h.make_ready()
    done(h, DrainOrder(node_id="n1", deadline_s=100.0))
    h.settle()
    h.start()
    connection = h.make_ready()
    beats(h, connection, 95)
    assert h.state() is NodeState.DRAINING
    beats(h, connection, 10)
    assert h.state() is NodeState.OFFLINE


def test_a_drain_that_was_taken_back_while_its_node_was_away_is_not_back_with_the_manager() -> None:
    h = Harness()
    h.make_ready()
    done(h, DrainOrder(node_id="n1", deadline_s=500.0))
    away(h, "n1")
    done(h, UndrainOrder(node_id="n1"))
    h.settle()
    h.start()
    h.make_ready()
    assert h.state() is NodeState.READY


@pytest.mark.parametrize("is_away", [False, True])
def test_a_quarantine_takes_no_drain_back(is_away: bool) -> None:
    h = Harness()
    h.make_ready()
    done(h, DrainOrder(node_id="n1", deadline_s=500.0))
    if is_away:
        away(h, "n1")
    done(h, QuarantineOrder(node_id="n1", lasts_s=60.0))
    done(h, ReleaseOrder(node_id="n1"))
    h.make_ready()
    assert h.state() is NodeState.DRAINING
    done(h, UndrainOrder(node_id="n1"))
    assert h.state() is NodeState.READY


def test_all_of_a_drained_fleet_stay_drained_when_the_manager_restarts() -> None:
    """Those whose time was up are in no row that says so."""
    h = Harness(config_with(max_nodes=512, remember_offline_s=1.0))
    names = [f"{number:03}" + "n" * 61 for number in range(300)]
    for name in names:
        h.make_ready(registration(name))
        h.feed(OrderGiven(7, DrainOrder(node_id=name, deadline_s=1.0)))
    for _ in range(20):
        h.advance(1 * SECOND)
    assert not h.core.state.nodes.by_id
    h.settle()
    h.start()
    for name in names:
        h.make_ready(registration(name))
    assert {h.state(name) for name in names} == {NodeState.DRAINING}


def test_orders_of_a_whole_fleet_fit_their_page() -> None:
    """Of more drains than fit, those that rows tell of as well give way, then the oldest."""
    h = Harness(config_with(max_nodes=8_192))
    state = h.core.state
    for number in range(ORDERS_MAX):
        name = f"{number:03}" + "n" * 61
        state.quarantine.keep_out(name, h.now_ns + SECOND, "\U0001f600" * 120)
    assert len(msgspec.msgpack.encode(orders_record(state))) <= ORDERS_BYTES_MAX
    h.make_ready()
    done(h, DrainOrder(node_id="n1", deadline_s=500.0))
    for number in range(8_000):
        state.pauses.drain(f"{number:04}" + "n" * 60, OVER)
    state.dirty.add(h.layout.policy)
    h.settle()
    page = codec.decode_policy(h.memory.catalog.pages()[h.layout.policy])
    told = [int(name[:4]) for name, _ in page.orders.drains]
    assert told == [*range(8_000 - len(told), 8_000)]
    assert len(told) > 2_000


def test_a_drain_that_is_only_in_its_row_stands_as_well() -> None:
    """Of a predecessor that wrote down no times, or had too many of them."""
    h = Harness(config_with(drain_s=3.0))
    h.make_ready()
    done(h, DrainOrder(node_id="n1", deadline_s=100.0))
    h.core.state.pauses.drains.clear()
    h.core.state.dirty.add(h.layout.policy)
    h.settle()
    h.start()
    beats(h, h.make_ready(), 5)
    assert h.state() is NodeState.OFFLINE
    h.make_ready()
    assert h.state() is NodeState.DRAINING

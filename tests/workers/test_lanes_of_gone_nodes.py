"""A worker lets go of lanes whose node the manager has declared gone, whenever it finds out."""

import pytest
from worker_harness import SECOND_NS, TICKET_KEY, Host, WorkerHarness, one_node

from pointsman_shm.config import Config
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import LaneOpen
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.tickets import lane_ticket


def fleet(count: int) -> tuple[Host, WorkerHarness]:
    host = Host(Config(), max_nodes=1_024)
    for row in range(count):
        host.node(row)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    return host, harness


@pytest.mark.parametrize("row", [0, 255, 256, 599])
def test_one_of_many_that_is_declared_gone_is_let_go_and_no_other(row: int) -> None:
    host, h = fleet(600)
    for other in range(600):
        h.open_lane(other)
    h.advance(0.3)
    host.stand(row, state=NodeState.OFFLINE)
    h.advance(0.2)
    assert set(range(600)) - set(h.core.shard.lanes) == {row}


def test_a_lane_that_is_opened_by_a_node_long_gone_is_let_go() -> None:
    host, h = fleet(2)
    h.open_lane(0)
    host.stand(1, state=NodeState.OFFLINE)
    h.advance(0.3)
    late = h.open_lane(1)
    assert set(h.core.shard.lanes) == {0, 1}
    h.advance(0.2)
    assert set(h.core.shard.lanes) == {0}
    error = h.one(late.connection, Error).error
    assert error.code == Code.NODE_UNAVAILABLE
    assert error.retryable
    assert "register again" in error.message


def test_a_lane_whose_node_has_opened_a_newer_one_is_told_so() -> None:
    _, h = fleet(1)
    older, newer = h.open_lane(0), h.open_lane(0)
    assert h.one(older.connection, Error).error.code == Code.CONFLICT
    assert older.connection in h.closed
    assert h.take(newer.connection, Error) == []


def test_a_lane_that_comes_before_the_manager_has_written_its_row_is_kept() -> None:
    host, h = fleet(1)
    host.node(1, generation=2)
    host.stand(1, state=NodeState.REGISTERING)
    h.open_lane(1)
    h.advance(0.3)
    assert 1 in h.core.shard.lanes


def test_t11_i8_a_node_whose_row_is_another_nodes_by_now_is_let_go() -> None:
    """It was gone and forgotten between two looks, and the next one has not come to us yet."""
    host, h = one_node(slots=2)
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    node.acknowledge(node.assignment().number)
    host.node(4, slots=2)
    host.publish(h.now_ns)
    other = h.open_lane(4)
    host.node(3, slots=2, generation=2)
    host.publish(h.now_ns)
    h.advance(0.3)
    assert other.assignment().request_id == "r-1"
    assert node.connection in h.closed
    assert (h.held(3), h.held(4)) == (0, 1)


@pytest.mark.parametrize(("generation", "epoch"), [(2, 4), (1, 5)], ids=["epoch", "generation"])
def test_i12_n7_an_older_registration_does_not_get_the_lane_of_a_newer_one(
    generation: int, epoch: int
) -> None:
    """A copied disk, or a node that was away: its ticket was good once."""
    host = Host(Config())
    host.node(3, generation=2)
    host.publish(SECOND_NS)
    h = WorkerHarness(host)
    h.feed()
    newer, client = h.open_lane(3, epoch=5), h.open_session()
    older = h.dial(Role.LANE)
    place = ("node-3", 3, generation, epoch)
    ticket = lane_ticket(TICKET_KEY, place, b"")
    opening = LaneOpen(node_id="node-3", row=3, generation=generation, epoch=epoch, ticket=ticket)
    h.receive(older, opening)
    assert h.one(older, Error).error.code == "UNAUTHORIZED"
    assert h.closed == [older]
    client.submit("r-1")
    assert newer.assignment().request_id == "r-1"

"""Stories of nodes on their lanes: gone, back, refused, kept away, or never reading."""

import pytest
from worker_harness import SECOND_NS, TICKET_KEY, WorkerHarness, one_node

from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_shm.snapshot.records import MarkRecord
from pointsman_shm.uplink import NodeZombie
from pointsman_wire.lane_messages import (
    CancelJob,
    JobFence,
    LaneAccepted,
    LaneOpen,
    LanePing,
    LanePong,
    LaneReport,
    NodeResultAck,
)
from pointsman_wire.limits import REPORTED_MAX
from pointsman_wire.link import Closed
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    Result,
)
from pointsman_wire.tickets import lane_ticket
from pointsman_workers.core.events import TellManager
from pointsman_workers.core.outbox import ACK_DELAY_NS, UNTOLD_BYTES_MAX
from pointsman_workers.core.timers import NEVER_NS


def test_a_node_that_is_gone_loses_its_jobs_to_another() -> None:
    """T11: its running jobs are dispatched again."""
    host, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.acknowledge(node.assignment().number)
    host.node(4)
    host.publish(h.now_ns)
    other = h.open_lane(4)
    node.hang_up()
    assert other.assignments() == [], "it may come back"
    h.advance(5.2)
    again = other.assignment()
    assert again.attempt == 2
    assert h.held(3) == 0


def test_an_offline_node_is_let_go_at_once() -> None:
    """I8, T11: its lane may stand all the same."""
    host, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.acknowledge(node.assignment().number)
    host.node(4)
    host.publish(h.now_ns)
    other = h.open_lane(4)
    host.stand(3, state=NodeState.OFFLINE)
    h.advance(0.2)
    assert other.assignment().attempt == 2


def test_a_lane_that_is_back_keeps_what_it_runs_and_loses_what_it_never_got() -> None:
    _, h = one_node(slots=2)
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    client.submit("r-2")
    kept, lost = node.assignments()
    node.hang_up()
    h.advance(1)
    back = h.open_lane(3, running=[JobFence(kept.job_id, 1, kept.dispatch)])
    again = back.assignment()
    assert (again.job_id, again.attempt) == (lost.job_id, 2)
    assert h.held(3) == 2
    back.end(kept)
    assert client.one(Result).request_id == "r-1"


def test_a_lane_with_a_wrong_or_old_ticket_is_refused() -> None:
    """I12: no peer without a ticket gets jobs."""
    _, h = one_node()
    connection = h.dial(Role.LANE)
    h.receive(
        connection, LaneOpen(node_id="node-3", row=3, generation=1, epoch=1, ticket=b"x" * 16)
    )
    assert h.one(connection, Error).error.code == "UNAUTHORIZED"
    assert h.closed == [connection]
    h.feed(Closed(connection))
    assert h.core.shard.lanes == {}


def test_a_node_without_a_lane_is_not_chosen() -> None:
    _, h = one_node()
    client = h.open_session()
    client.submit("r-1", wait_none_s=0.0)
    breakdown = client.one(Error).error.breakdown
    assert breakdown is not None
    assert breakdown.counts == {"no_lane": 1}


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        (RowFlag.PAUSED, "owner_paused"),
        (RowFlag.OVERLOADED, "resource_threshold_exceeded"),
    ],
)
def test_flags_of_the_standing_word_keep_jobs_away(flag: RowFlag, reason: str) -> None:
    host, h = one_node()
    h.open_lane(3)
    host.stand(3, flags=flag)
    client = h.open_session()
    client.submit("r-1", wait_none_s=0.0, wait_busy_s=0.0)
    breakdown = client.one(Error).error.breakdown
    assert breakdown is not None
    assert breakdown.counts == {reason: 1}


def test_a_node_over_a_limit_is_told_as_that_and_not_as_full() -> None:
    host, h = one_node()
    host.node(4)
    host.publish(h.now_ns)
    h.open_lane(3)
    host.stand(3, flags=RowFlag.PUBLIC | RowFlag.OVERLOADED)
    client = h.open_session()
    client.submit("r-1", wait_none_s=0.0, wait_busy_s=0.0)
    error = client.one(Error).error
    assert "each is over its limit of cpu, gpu or memory" in error.message
    assert error.breakdown is not None
    assert error.breakdown.nearest[0].node_id == "node-3"
    assert error.breakdown.nearest[0].missing[0].startswith("a calmer machine")
    other = h.open_lane(4)
    client.submit("r-2")
    h.advance(0.6)  # refusals of a moment share what was seen
    client.submit("r-3", wait_none_s=0.0, wait_busy_s=0.0)
    error = client.one(Error).error
    assert "2 of 2 nodes can do it, 1 without a free slot and 1 over a limit" in error.message
    client.submit("r-4", wait_none_s=0.0, wait_busy_s=0.0, preferred_node="node-3")
    words = "your preferred node node-3 is over its limit of cpu, gpu or memory"
    assert words in client.one(Error).error.message
    other.end(other.assignment())


def decisions(h: WorkerHarness) -> int:
    return h.core.shard.setup.memory.stats.read().counters["decisions"]


def test_a_job_that_waits_for_a_node_over_a_limit_looks_ten_times_a_second_at_most() -> None:
    host, h = one_node()
    node = h.open_lane(3)
    host.stand(3, flags=RowFlag.PUBLIC | RowFlag.OVERLOADED)
    client = h.open_session()
    client.submit("r-1", wait_busy_s=20.0)
    h.advance(1.0)
    before = decisions(h)
    h.advance(2.0)
    looks = decisions(h) - before
    assert 15 <= looks <= 25
    host.stand(3)
    h.advance(0.15)
    assert node.assignment().request_id == "r-1"


def test_a_mark_keeps_away_only_jobs_of_its_service_and_only_for_a_while() -> None:
    host, h = one_node()
    node = h.open_lane(3)
    host.marks = [MarkRecord(3, 1, "nmt", "", h.now_ns + 2 * SECOND_NS)]
    host.stand(3, flags=RowFlag.MARKED)
    host.publish(h.now_ns)
    client = h.open_session()
    client.submit("r-1", wait_none_s=0.0)
    breakdown = client.one(Error).error.breakdown
    assert breakdown is not None
    assert breakdown.counts == {"model_not_available": 1}
    client.submit("r-2", services=["tts"], wait_none_s=0.0)
    node.end(node.assignment())
    h.advance(2.1)
    client.submit("r-3")
    assert node.assignment().request_id == "r-3"


def test_a_zombie_that_never_reads_its_lane_is_told_to_the_manager() -> None:
    """T8: suspect in about 3 s, its jobs dispatched again."""
    _, h = one_node()
    h.answers_pings = False
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    h.advance(5.5)
    told = [command.message for command in h.commands if isinstance(command, TellManager)]
    assert [message for message in told if isinstance(message, NodeZombie)]
    assert h.take(node.connection, LanePing)


def test_a_node_that_answers_its_pings_is_no_zombie() -> None:
    _, h = one_node()
    h.answers_pings = False
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.acknowledge(node.assignment().number)
    for _ in range(60):
        h.advance(0.1)
        for ping in h.take(node.connection, LanePing):
            h.receive(node.connection, LanePong(number=ping.number, last_read=1))
    assert not [command for command in h.commands if isinstance(command, TellManager)]


def test_that_results_are_safe_a_node_hears_with_its_next_assignment_or_soon() -> None:
    _, h = one_node(slots=2)
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    node.end(node.assignment())
    assert not h.take(node.connection, NodeResultAck)
    client.submit("r-2")
    assert h.one(node.connection, NodeResultAck).number == 1
    node.end(node.assignment())
    assert h.core.next_deadline_ns() <= h.now_ns + ACK_DELAY_NS
    assert node.acknowledgement().number == 2


def test_a_node_never_keeps_many_results_for_want_of_an_acknowledgement() -> None:
    _, h = one_node(slots=8)
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    client.submit("r-2")
    first, second = node.assignments()
    node.end(first, b"x" * 1024)
    assert not h.take(node.connection, NodeResultAck)
    node.end(second, b"x" * UNTOLD_BYTES_MAX)
    assert h.one(node.connection, NodeResultAck).number == 2
    client.submit("r-3")
    node.end(node.assignment())
    node.hang_up()
    assert node.harness.core.shard.outbox.acks_at_ns == NEVER_NS


# ---- lanes that outlive their registration


def renewal(epoch: int = 2, *, row: int = 3, ticket: bytes = b"") -> LaneOpen:
    """What a node that registered anew says on a lane that stands."""
    right = lane_ticket(TICKET_KEY, ("node-3", row, 1, epoch))
    return LaneOpen(node_id="node-3", row=row, generation=1, epoch=epoch, ticket=ticket or right)


def test_n9_a_node_that_registered_anew_keeps_its_lane_and_what_is_on_it() -> None:
    """T4: nothing that is counted moves."""
    _, h = one_node(slots=2)
    node = h.open_lane(3)
    h.take(node.connection, LaneAccepted)
    client = h.open_session()
    client.submit("r-1")
    first = node.assignment()
    h.receive(node.connection, renewal())
    assert h.one(node.connection, LaneAccepted).shard == 0
    assert (h.closed, h.held(3), h.core.shard.lanes[3].epoch) == ([], 1, 2)
    client.submit("r-2")
    second = node.assignment()
    assert second.number == first.number + 1
    node.end(first)
    assert client.one(Result).request_id == "r-1"


@pytest.mark.parametrize(
    "message", [renewal(ticket=b"x" * 16), renewal(row=4)], ids=["wrong ticket", "other row"]
)
def test_a_standing_lane_is_not_renewed_for_somebody_else(message: LaneOpen) -> None:
    """I12: it is over; the node opens another one, and reports."""
    _, h = one_node()
    node = h.open_lane(3)
    h.receive(node.connection, message)
    assert h.one(node.connection, Error).error.code == "UNAUTHORIZED"
    assert h.closed == [node.connection]


def test_a_lane_that_is_not_read_is_not_kept() -> None:
    """T8: on a new one the node reports what it has read."""
    _, h = one_node()
    h.answers_pings = False
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    h.advance(5.5)
    assert h.core.shard.lanes[3].is_stuck
    h.receive(node.connection, renewal())
    assert h.closed == [node.connection]


# ---- reports that cannot be


def test_i9_a_report_of_more_than_a_node_can_have_ends_its_lane_and_nothing_else() -> None:
    """N10: the slots of a node are counted in 16 bits, which a frame of a lie is enough to pass."""
    _, h = one_node(slots=2)
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.assignment()
    lies = [JobFence("", 1, number) for number in range(REPORTED_MAX + 1)]
    for report in (LaneReport(running=lies), LaneReport(running=lies[1:], held=lies[:1])):
        h.receive(node.connection, report)
        error = h.one(node.connection, Error).error
        assert (error.code, h.closed) == ("INVALID_MESSAGE", [node.connection])
        assert f"{REPORTED_MAX + 1:d} jobs" in error.message
        h.closed.clear()
    assert h.held(3) == 1
    node.hang_up()
    h.open_lane(3, report=LaneReport(running=lies[1:]))
    assert h.held(3) == REPORTED_MAX


def test_i9_a_second_report_on_one_lane_is_answered_in_words_and_changes_nothing() -> None:
    """What was on its way when the node wrote it would count as lost, and lies would pile up."""
    _, h = one_node(slots=2)
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    job = node.assignment()
    h.receive(node.connection, LaneReport(running=[JobFence("x", 1, 99)]))
    error = h.one(node.connection, Error).error
    assert error.code == "INVALID_MESSAGE"
    assert "lane_report" in error.message
    assert h.take(node.connection, CancelJob) == []
    node.end(job)
    assert client.one(Result).attempt == 1

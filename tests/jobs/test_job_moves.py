"""The moves of a job, as the picture in its lifecycle has them, and what its ends give back."""

from collections.abc import Callable

import pytest
from job_trouble import (
    fleet,
    lane_broken,
    no_ack,
    no_result,
    node_error,
    node_lost,
    node_refusal,
    refuse,
)
from worker_harness import Client, Node, chosen

from pointsman_wire.lane_messages import Assign, CancelJob, JobFence
from pointsman_wire.session_messages import Result, SessionClose
from pointsman_workers.core.lifecycle import AFTER, MOVES, IllegalMove, JobState, moved

VERBS = sorted({verb for _, verb in MOVES})


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_leads_where_the_picture_says_and_nowhere_else(verb: str) -> None:
    for state in JobState:
        if (state, verb) in MOVES:
            assert moved(state, verb) is AFTER[verb][state] is MOVES[state, verb]
            continue
        with pytest.raises(IllegalMove, match=f"cannot {verb} while {state.name}"):
            moved(state, verb)


def test_a_job_that_is_placed_is_assigned_and_dispatched_in_one_move() -> None:
    assert dict(AFTER["place"]) == {JobState.PENDING: JobState.DISPATCHED}
    with pytest.raises(IllegalMove, match="cannot place while RUNNING"):
        moved(JobState.RUNNING, "place")


Ends = Callable[[Client, Node, Assign], None]


def completed(_: Client, node: Node, job: Assign) -> None:
    node.end(job)


def completed_without_text(_: Client, node: Node, job: Assign) -> None:
    node.end(job, b"", status="completed_no_text")


def failed_for_good(_: Client, node: Node, job: Assign) -> None:
    node.end(job, b"", status="failed", code="INVALID_MESSAGE")


def had_no_room(_: Client, node: Node, job: Assign) -> None:
    refuse(node, job, "NODE_OVERLOADED")


def lacked_the_model(_: Client, node: Node, job: Assign) -> None:
    node.end(job, b"", status="failed", code="MODEL_NOT_AVAILABLE")


def cancelled(client: Client, node: Node, job: Assign) -> None:
    client.cancel(job.request_id)
    assert node.harness.held(node.row) == 1, "it runs until its node says that it has stopped"


def cancelled_and_refused(client: Client, node: Node, job: Assign) -> None:
    client.cancel(job.request_id)
    refuse(node, job, "NODE_UNAVAILABLE")


def cancelled_too_late(client: Client, node: Node, job: Assign) -> None:
    client.cancel(job.request_id)
    node.end(job)


def cancelled_at_a_node_that_went(client: Client, node: Node, job: Assign) -> None:
    client.cancel(job.request_id)
    node_lost(node, job)


def cancelled_on_a_lane_that_broke(client: Client, node: Node, job: Assign) -> None:
    client.cancel(job.request_id)
    lane_broken(node, job)


def expired(_: Client, node: Node, job: Assign) -> None:
    node.acknowledge(job.number)
    node.harness.advance(20.2)


def closed(client: Client, node: Node, job: Assign) -> None:
    close = SessionClose(session_number=client.ack.session_number, flush=False)
    node.harness.receive(client.connection, close)
    assert node.harness.held(node.row) == 1, "it runs on"
    node.end(job)


def told_twice(_: Client, node: Node, job: Assign) -> None:
    node.end(job)
    node.end(job)


def of_the_node(happens: Callable[[Node, Assign], None]) -> Ends:
    return lambda _, node, job: happens(node, job)


ENDS: dict[str, Ends] = {
    **{
        ends.__name__: ends
        for ends in (
            completed,
            completed_without_text,
            failed_for_good,
            had_no_room,
            lacked_the_model,
            cancelled,
            cancelled_and_refused,
            cancelled_too_late,
            cancelled_at_a_node_that_went,
            cancelled_on_a_lane_that_broke,
            expired,
            closed,
            told_twice,
        )
    },
    **{
        happens.__name__: of_the_node(happens)
        for happens in (no_ack, no_result, node_lost, node_refusal, node_error, lane_broken)
    },
}


@pytest.mark.parametrize("name", ENDS)
def test_t5_i10_however_a_dispatch_ends_its_slot_is_given_back_once(name: str) -> None:
    h, nodes = fleet(2, slots=3)
    neighbour, client = h.open_session(), h.open_session()
    neighbour.submit("r-0", timeout_s=60.0)
    other, stays = chosen(nodes)
    other.acknowledge(stays.number)
    client.submit("r-1", deadline_s=20.0)
    node, job = chosen(nodes)
    assert node.row != other.row
    ENDS[name](client, node, job)
    _end_what_runs(nodes)
    assert h.held(node.row) == 0
    assert h.held(other.row) == 1, "nobody else's slot was given back for it"
    other.end(stays)
    _end_what_runs(nodes)
    assert (h.held(node.row), h.held(other.row)) == (0, 0)
    assert h.core.shard.fleet.own.underflow_count == 0
    assert h.core.shard.open_job_count == 0
    assert client.all(Result) or name == "closed"


def _end_what_runs(nodes: dict[int, Node]) -> None:
    """Nodes stop what they shall stop, and end what they have got meanwhile."""
    h = next(iter(nodes.values())).harness
    for row in nodes:
        lane = h.core.shard.lanes.get(row)
        if lane is None or lane.connection is None:
            continue
        node = nodes[row]
        node.connection = lane.connection  # a newer one, where the lane broke
        for stop in h.take(node.connection, CancelJob):
            node.end_fence(JobFence(stop.job_id, stop.epoch, stop.dispatch), b"")
        for job in node.assignments():
            node.acknowledge(job.number)
            node.end(job)

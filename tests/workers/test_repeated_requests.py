"""Repeated submits meet their job in whatever session their client has by then."""

import pytest
from worker_harness import SECOND_NS, Host, WorkerHarness, shared_config

from pointsman_shm.memory.rows import NodeState
from pointsman_wire.framing import encode_frame
from pointsman_wire.lane_messages import JobFence
from pointsman_wire.session_messages import JobAccepted, Result, ResultAck, SessionClose


def one_node() -> WorkerHarness:
    host = Host(shared_config())
    host.node(3)
    host.publish(SECOND_NS)
    return WorkerHarness(host)


def test_a_session_opened_anew_finds_the_result_of_the_one_before() -> None:
    h = one_node()
    node = h.open_lane(3)
    first = h.open_session("s-1")
    first.submit("r-1")
    node.end(node.assignment())
    accepted = first.one(JobAccepted).jobs[0]
    h.receive(first.connection, SessionClose(session_number=first.ack.session_number))

    second = h.open_session("s-1")
    second.submit("r-1")
    again = second.one(JobAccepted).jobs[0]
    assert (again.job_id, again.duplicate) == (accepted.job_id, True)
    assert second.one(Result).job_id == accepted.job_id
    assert node.assignments() == []


def test_a_session_opened_anew_joins_the_job_that_still_runs() -> None:
    h = one_node()
    node = h.open_lane(3)
    first = h.open_session("s-1")
    first.submit("r-1")
    job = node.assignment()
    close = SessionClose(session_number=first.ack.session_number, flush=False)
    h.receive(first.connection, close)

    second = h.open_session("s-1")
    second.submit("r-1")
    node.end(job)
    assert second.one(Result).job_id == job.job_id
    assert node.assignments() == []


def test_a_result_that_was_read_comes_again_under_a_number_that_is_news() -> None:
    h = one_node()
    node = h.open_lane(3)
    client = h.open_session("s-1")
    client.submit("r-1")
    node.end(node.assignment())
    first = client.one(Result)
    read = ResultAck(results=[(client.ack.session_number, first.number)])
    h.receive(client.connection, read)

    client.submit("r-1")
    assert client.one(Result).number == first.number + 1


@pytest.mark.parametrize(
    "state", [NodeState.REGISTERING, NodeState.SUSPECT, NodeState.DRAINING, NodeState.DEGRADED]
)
def test_a_successor_waits_for_every_node_that_may_run_the_request(state: NodeState) -> None:
    """I2 when worker and manager died together: a node that registers anew runs what it ran."""
    host = Host(shared_config())
    host.node(3, state=state)
    host.publish(SECOND_NS)
    h = WorkerHarness(host, epoch=2)
    client = h.open_session("s-1", unfinished=["r-1"])
    client.submit("r-1")
    h.advance(1)
    assert client.all(JobAccepted) == [], "it may still run"
    ran = JobFence("job-1", 1, 7, session_id="s-1", request_id="r-1")
    h.open_lane(3, running=[ran])
    h.advance(1)
    assert client.one(JobAccepted).jobs[0].job_id == "job-1"


def test_of_more_unfinished_ids_than_an_answer_holds_the_first_are_answered() -> None:
    """The answer did not fit in a frame: the connection ended without a word, and again."""
    h = one_node()
    h.open_lane(3)
    names = [f"r-{number}" for number in range(100_000)]
    client = h.open_session("s-1", unfinished=names)
    encode_frame(client.ack)
    answered = client.ack.unfinished
    assert [*answered] == names[: len(answered)]
    assert len(answered) > 1_000
    again = h.open_session("s-1", resume_token=client.ack.resume_token, unfinished=["x"])
    assert again.ack.unfinished == {"x": "unknown"}
    (session,) = h.core.shard.sessions.values()
    assert session.repeats == {"x"}, "what is named no more is awaited no more"

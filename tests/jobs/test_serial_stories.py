"""Stories of serial sessions: one job at a time, in order, whatever becomes of the nodes."""

import pytest
from job_trouble import fleet
from worker_harness import Client, Node, WorkerHarness, chosen

from pointsman_shm.config import Config, LimitsConfig, SessionsConfig
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    JobFence,
    JobRefused,
    TurnAsk,
    TurnGranted,
)
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import Cancel, JobAccepted, Result, SessionClose, SessionInit


def began(nodes: dict[int, Node]) -> list[str]:
    """Request ids that were given to nodes since the last look."""
    return [job.request_id for node in nodes.values() for job in node.assignments()]


def serial(h: WorkerHarness, count: int, **fields: float) -> Client:
    client = h.open_session(order="serial")
    assert client.ack.order == "serial"
    for number in range(count):
        client.submit(f"r-{number}", b"hello", **fields)
    return client


def asked(h: WorkerHarness, node: Node, job: Assign, epoch: int = 1) -> bool:
    """Does the worker confirm this dispatch when its node asks?"""
    h.receive(
        node.connection, TurnAsk(job_id=job.job_id, epoch=epoch, dispatch=job.dispatch, asked=9)
    )
    granted = h.take(node.connection, TurnGranted)
    assert all((one.job_id, one.asked) == (job.job_id, 9) for one in granted)
    return bool(granted)


def test_jobs_of_a_serial_session_run_one_after_the_other_in_order_of_acceptance() -> None:
    """I5: there is room for all of them, and still each waits for the one before it."""
    h, nodes = fleet(2, slots=8)
    client = serial(h, 5)
    assert len(client.all(JobAccepted)) == 5
    for number in range(5):
        node, job = chosen(nodes)
        assert job.request_id == f"r-{number}"
        h.advance(0.5)
        assert began(nodes) == []
        node.end(job)
    assert [result.request_id for result in client.all(Result)] == [f"r-{n}" for n in range(5)]


def test_other_sessions_do_not_wait_for_a_serial_one() -> None:
    h, nodes = fleet(1, slots=8)
    serial(h, 2)
    other = h.open_session()
    other.submit("free-1")
    other.submit("free-2")
    assert sorted(began(nodes)) == ["free-1", "free-2", "r-0"]


@pytest.mark.parametrize("status", ["failed", "completed_no_text"])
def test_the_next_one_begins_however_the_last_one_ended(status: str) -> None:
    h, nodes = fleet(1, slots=4)
    client = serial(h, 2)
    node, job = chosen(nodes)
    node.end(job, b"", status=status, code="INVALID_MESSAGE")
    assert began(nodes) == ["r-1"]
    assert client.one(Result).status == status


def test_a_failover_keeps_its_turn_and_waits_for_the_end_of_the_old_attempt() -> None:
    """I5: the old attempt was cancelled, and runs until its node says that it does not."""
    h, nodes = fleet(2, slots=4)
    client = serial(h, 2, timeout_s=1.0)
    first, job = chosen(nodes)
    first.acknowledge(job.number)
    h.advance(1.3)
    assert h.one(first.connection, CancelJob).job_id == job.job_id
    h.advance(2.0)
    assert began(nodes) == []
    first.end(job, b"", status="cancelled")
    other, again = chosen(nodes)
    assert (other.row != first.row, again.request_id, again.attempt) == (True, "r-0", 2)
    other.end(again)
    assert began(nodes) == ["r-1"]
    assert client.one(Result).failovers == 1


def test_a_cancelled_job_is_over_for_its_client_before_the_next_one_may_begin() -> None:
    h, nodes = fleet(1, slots=4)
    client = serial(h, 2)
    node, job = chosen(nodes)
    h.receive(client.connection, Cancel(request_id="r-0"))
    assert client.one(Result).status == "cancelled"
    h.advance(1.0)
    assert began(nodes) == []
    node.end(job, b"", status="cancelled")
    assert began(nodes) == ["r-1"]


def test_a_refused_job_is_certain_not_to_run() -> None:
    h, nodes = fleet(2, slots=4)
    serial(h, 2)
    node, job = chosen(nodes)
    refused = JobRefused(job_id=job.job_id, epoch=1, dispatch=job.dispatch, code="NODE_OVERLOADED")
    h.receive(node.connection, refused)
    other, again = chosen(nodes)
    assert (other.row != node.row, again.request_id) == (True, "r-0")


def test_after_a_node_was_lost_the_line_waits_until_it_must_have_stopped() -> None:
    """I5: nobody can ask the node, but it stops by itself when it hears nothing."""
    h, nodes = fleet(2, slots=4)
    serial(h, 2)
    first, job = chosen(nodes)
    assert job.silence_ms == 3_000
    first.acknowledge(job.number)
    first.hang_up()
    h.advance(5.2)
    assert h.held(first.row) == 0
    h.advance(3.6)
    assert began(nodes) == [], "4 s from when it was given up"
    h.advance(0.6)
    other, again = chosen(nodes)
    assert (other.row != first.row, again.request_id, again.attempt) == (True, "r-0", 2)


def test_i5_a_dispatch_is_confirmed_for_as_long_as_its_line_waits_for_it() -> None:
    """Also while it is being cancelled: its node shall not end it by force, and the line waits."""
    h, nodes = fleet(2, slots=4)
    client = serial(h, 2)
    node, job = chosen(nodes)
    assert asked(h, node, job)
    h.receive(client.connection, Cancel(request_id="r-0"))
    assert asked(h, node, job)
    node.end(job, b"", status="cancelled")
    assert not asked(h, node, job)
    other, after = chosen(nodes)
    assert not asked(h, next(n for n in nodes.values() if n is not other), after), "not its lane"
    assert asked(h, other, after)


def test_i5_a_node_that_was_given_up_gets_no_word_of_its_dispatches_any_more() -> None:
    h, nodes = fleet(2, slots=4)
    serial(h, 1)
    first, job = chosen(nodes)
    first.hang_up()
    h.advance(5.2)
    back = h.open_lane(first.row, running=[JobFence(job.job_id, 1, job.dispatch)])
    h.one(back.connection, CancelJob)
    assert began(nodes) == [], "the line waits for the end of what is back"


def test_i5_after_a_restart_a_serial_session_waits_for_a_node_that_did_not_report() -> None:
    """What our predecessor has confirmed to a node that is gone by now is good for a while."""
    host = fleet(2, slots=4)[0].host
    host.stand(4, state=NodeState.OFFLINE)
    h = WorkerHarness(host, epoch=2)
    h.feed()
    node = h.open_lane(3)
    h.open_session("free").submit("f-0")
    h.open_session("s-1", order="serial").submit("r-1")
    h.advance(0.5)
    free = node.assignment()
    node.end(free)
    h.advance(3.3)
    assert (free.request_id, began({3: node})) == ("f-0", [])
    h.advance(0.4)
    assert began({3: node}) == ["r-1"]


def test_a_node_that_is_back_without_the_job_is_certain_at_once() -> None:
    h, nodes = fleet(1, slots=4)
    serial(h, 2)
    node, job = chosen(nodes)
    node.acknowledge(job.number)
    node.hang_up()
    h.advance(1.0)
    back = h.open_lane(node.row)
    assert back.assignment().request_id == "r-0"


def test_jobs_in_line_end_by_cancel_and_deadline_without_ever_running() -> None:
    h, nodes = fleet(1, slots=4)
    client = serial(h, 1)
    client.submit("r-1", deadline_s=1.0)
    client.submit("r-2")
    client.submit("r-3")
    node, job = chosen(nodes)
    h.receive(client.connection, Cancel(request_id="r-2"))
    h.advance(1.2)
    ended = {result.request_id: result.error for result in client.all(Result)}
    assert {name: error and error.code for name, error in ended.items()} == {
        "r-1": "JOB_TIMEOUT",
        "r-2": "CANCELLED",
    }
    node.end(job)
    assert began(nodes) == ["r-3"]


def test_a_turn_that_cannot_begin_expires_and_says_what_it_waited_for() -> None:
    h, nodes = fleet(1, slots=4)
    client = serial(h, 3, timeout_s=1.0, wait_busy_s=5.0)
    node, job = chosen(nodes)
    node.acknowledge(job.number)
    h.receive(client.connection, Cancel(request_id="r-0"))
    client.one(Result)
    h.advance(5.2)
    result = client.one(Result)
    assert result.request_id == "r-1"
    assert result.error is not None
    assert (result.error.code, "has not ended yet" in result.error.message) == (
        "QUEUE_TIMEOUT",
        True,
    )
    node.end(job, b"", status="cancelled")
    assert began(nodes) == ["r-2"]


def test_a_serial_session_takes_a_bounded_number_of_jobs() -> None:
    config = Config(sessions=SessionsConfig(pending_results_max=3))
    h, nodes = fleet(1, slots=8, config=config)
    client = serial(h, 4)
    error = client.one(Error).error
    assert (error.code, error.retryable) == ("QUEUE_FULL", True)
    assert "serial session" in error.message
    node, job = chosen(nodes)
    node.end(job)
    client.submit("r-4")
    assert client.all(JobAccepted)[-1].jobs[0].request_id == "r-4"


def test_all_lines_together_are_bounded_like_the_queue() -> None:
    h, nodes = fleet(1, slots=8, config=Config(limits=LimitsConfig(queued_per_shard_max=2)))
    first = h.open_session(order="serial")
    for number in range(3):
        first.submit(f"r-{number}")
    assert len(first.all(JobAccepted)) == 3
    second = h.open_session(order="serial")
    second.submit("s-0")
    assert second.one(Error).error.code == "QUEUE_FULL"
    nodes[3].end(nodes[3].assignment())
    second.submit("s-0")
    assert began(nodes) == ["r-1", "s-0"]


def test_a_job_refused_for_want_of_a_node_does_not_keep_its_turn() -> None:
    h, nodes = fleet(1, slots=4)
    client = h.open_session(order="serial")
    client.submit("r-0", tgt_lang="ja", wait_none_s=0.0)
    assert client.one(Error).error.code == "NO_AVAILABLE_NODE"
    client.submit("r-1")
    assert began(nodes) == ["r-1"]


def test_a_repeated_request_joins_its_job_in_line() -> None:
    h, nodes = fleet(1, slots=4)
    client = serial(h, 2)
    client.submit("r-1")
    assert client.all(JobAccepted)[-1].jobs[0].duplicate
    node, job = chosen(nodes)
    node.end(job)
    node.end(node.assignment())
    assert len(client.all(Result)) == 2


def test_the_order_of_a_session_with_open_jobs_stays() -> None:
    h, nodes = fleet(1)
    client = h.open_session("s-1", order="serial")
    client.submit("r-0")
    connection = h.dial(Role.SESSION)
    h.receive(connection, SessionInit(session_id="s-1"))
    refused = h.one(connection, Error).error
    assert refused.code == "CONFLICT"
    assert "'serial', and keeps it until they have ended" in refused.message
    assert refused.hint == "Open it with order 'serial', or another session."
    node, job = chosen(nodes)
    node.end(job)
    h.receive(connection, SessionInit(session_id="s-1"))
    assert h.core.shard.sessions["", "s-1"].line is None


def left_behind(h: WorkerHarness, count: int) -> None:
    """A client leaves its serial session and what it submitted there."""
    client = h.open_session("s-1", order="serial")
    for number in range(count):
        client.submit(f"r-{number}")
    h.receive(client.connection, SessionClose(flush=False))


def test_i5_a_later_session_of_the_same_id_stands_behind_what_an_earlier_one_has_left() -> None:
    h, nodes = fleet(2, slots=4)
    left_behind(h, 2)
    client = h.open_session("s-1", order="serial")
    client.submit("r-2")
    for number in range(3):
        node, job = chosen(nodes)
        h.advance(0.3)
        assert (job.request_id, began(nodes)) == (f"r-{number}", [])
        node.end(job)
    assert client.one(Result).request_id == "r-2"


def test_i5_a_job_that_comes_to_a_session_without_order_keeps_its_line() -> None:
    h, nodes = fleet(2, slots=4)
    left_behind(h, 2)
    client = h.open_session("s-1")
    client.submit("r-1")
    node, job = chosen(nodes)
    h.advance(0.3)
    assert (job.request_id, began(nodes)) == ("r-0", [])
    node.end(job)
    node, job = chosen(nodes)
    assert (job.request_id, job.silence_ms) == ("r-1", 3_000), "it runs on a lease still"
    assert asked(h, node, job)
    node.end(job)
    assert client.one(Result).request_id == "r-1"


def test_i5_a_session_that_is_serial_again_waits_for_what_ran_when_it_was() -> None:
    h, nodes = fleet(2, slots=4)
    client = h.open_session("s-1", order="serial")
    client.submit("r-0")
    node, job = chosen(nodes)
    client.cancel("r-0")
    h.open_session("s-1")
    h.open_session("s-1", order="serial").submit("r-1")
    h.advance(0.3)
    assert began(nodes) == []
    node.end(job, b"", status="cancelled")
    assert began(nodes) == ["r-1"]


def test_i5_a_later_session_waits_for_a_node_that_an_earlier_one_has_lost() -> None:
    h, nodes = fleet(2, slots=4)
    client = h.open_session("s-1", order="serial")
    client.submit("r-0")
    node, _ = chosen(nodes)
    client.cancel("r-0")
    h.receive(client.connection, SessionClose(flush=False))
    node.hang_up()
    h.advance(5.2)
    assert h.held(node.row) == 0
    h.open_session("s-1", order="serial").submit("r-1")
    h.advance(3.6)
    assert began(nodes) == [], "4 s from when it was given up"
    h.advance(0.6)
    assert began(nodes) == ["r-1"]


def test_after_a_restart_a_running_job_of_the_session_is_waited_for() -> None:
    """I5 across worker death: a node still runs the last job, which its client has yet to name."""
    host = fleet(2, slots=4)[0].host
    h = WorkerHarness(host, epoch=2)
    h.feed()
    running = JobFence("j-1", 1, 7, "", "s-1", "r-0")
    node = h.open_lane(3, running=[running])
    other = h.open_lane(4)
    client = h.open_session("s-1", order="serial")
    client.submit("r-1")
    h.advance(2.0)
    assert began({3: node, 4: other}) == []
    client.submit("r-0")
    h.advance(5.0)
    assert began({3: node, 4: other}) == []
    old = Assign(number=1, job_id="j-1", dispatch=7)
    node.end(old, epoch=1)
    assert client.one(Result).request_id == "r-0"
    h.advance(0.2)
    assert began({3: node, 4: other}) == ["r-1"]


def test_after_a_restart_a_job_that_had_ended_before_its_client_named_it_holds_up_nobody() -> None:
    """I13: its node has nothing to end any more, so there is nothing to wait for."""
    host = fleet(1, slots=4)[0].host
    h = WorkerHarness(host, epoch=2)
    h.feed()
    node = h.open_lane(3, running=[JobFence("j-1", 1, 7, "", "s-1", "r-0")])
    node.end(Assign(number=1, job_id="j-1", dispatch=7), epoch=1)
    client = h.open_session("s-1", order="serial")
    client.submit("r-0")
    h.advance(5.0)
    assert client.one(Result).request_id == "r-0"
    client.submit("r-1")
    h.advance(0.2)
    assert began({3: node}) == ["r-1"]

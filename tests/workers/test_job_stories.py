"""Stories of jobs: submitted, placed, ended once, whatever happens on the way."""

from worker_harness import chosen, one_node

from pointsman_shm.config import JobsConfig
from pointsman_shm.uplink import ModelUnavailable
from pointsman_wire.lane_messages import (
    CancelJob,
    JobRefused,
    NodePartial,
)
from pointsman_wire.link import Send
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import (
    Cancel,
    JobAccepted,
    Partial,
    Result,
)
from pointsman_workers.core.events import TellManager
from pointsman_workers.placement.selection import FULL_MEMORY_NS


def test_a_job_is_accepted_assigned_and_answered() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", explain=True, trace_id="t-1")
    accepted = client.one(JobAccepted).jobs[0]
    assert (accepted.request_id, accepted.durability, accepted.scope) == (
        "r-1",
        "memory",
        "instance",
    )
    assert accepted.window_s == 300.0
    job = node.assignment()
    assert (job.services, job.src_lang, job.tgt_lang, job.attempt) == (["nmt"], "en", "es", 1)
    assert (job.trace_id, job.request_id, job.job_id) == ("t-1", "r-1", accepted.job_id)
    assert h.held(3) == 1
    node.end(job)
    assert h.held(3) == 0
    assert node.acknowledgement().number == 1
    result = client.one(Result)
    assert (result.status, result.node_id, result.attempt) == ("completed", "node-3", 1)
    assert result.placement is not None
    assert (result.placement.pool, result.placement.selector) == ("en-es", "two_level")


def test_the_acceptance_leaves_before_the_assignment_in_the_same_step() -> None:
    _, h = one_node()
    h.open_lane(3)
    client = h.open_session()
    before = len(h.commands)
    client.submit("r-1")
    sends = [command for command in h.commands[before:] if isinstance(command, Send)]
    kinds = [type(send.message).__name__ for send in sends]
    assert kinds == ["JobAccepted", "Assign"]


def test_the_same_key_gives_the_same_job_while_it_runs_and_after_it_ended() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    first = client.one(JobAccepted).jobs[0]
    client.submit("r-1")
    again = client.one(JobAccepted).jobs[0]
    assert again.job_id == first.job_id
    assert again.duplicate
    job = node.assignment()
    node.end(job)
    result = client.one(Result)
    client.submit("r-1")
    assert client.one(JobAccepted).jobs[0].job_id == first.job_id
    assert client.one(Result).number == result.number
    assert node.assignments() == []


def test_the_same_key_with_another_body_is_a_conflict() -> None:
    _, h = one_node()
    h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", b"one")
    client.submit("r-1", b"two")
    error = client.one(Error)
    assert (error.error.code, error.request_id) == ("CONFLICT", "r-1")


def test_an_ended_job_is_forgotten_after_its_window() -> None:
    _, h = one_node(jobs=JobsConfig(window_s=5.0))
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    first = client.one(JobAccepted).jobs[0]
    node.end(node.assignment())
    h.advance(6)
    client.submit("r-1")
    assert client.one(JobAccepted).jobs[0].job_id != first.job_id


def test_a_node_is_never_given_more_than_its_slots() -> None:
    _, h = one_node(slots=2)
    node = h.open_lane(3)
    client = h.open_session()
    for number in range(5):
        client.submit(f"r-{number}")
    jobs = node.assignments()
    assert len(jobs) == 2
    assert h.held(3) == 2
    node.end(jobs[0])
    assert [job.request_id for job in node.assignments()] == ["r-2"], "oldest first (I5)"
    assert h.held(3) == 2


def test_a_freed_slot_goes_to_the_higher_priority_first() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-0")
    running = node.assignment()
    client.submit("bulk", priority="bulk")
    client.submit("default")
    client.submit("interactive", priority="interactive")
    order = []
    for _ in range(3):
        node.end(running)
        running = node.assignment()
        order.append(running.request_id)
    assert order == ["interactive", "default", "bulk"]


def test_a_busy_fleet_ends_the_wait_with_queue_timeout_and_a_breakdown() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-0", timeout_s=60.0)
    node.acknowledge(node.assignment().number)
    client.submit("r-1", wait_busy_s=1.0)
    h.advance(1.2)
    result = client.one(Result)
    assert result.status == "expired"
    assert result.error is not None
    assert result.error.code == "QUEUE_TIMEOUT"
    assert result.error.breakdown is not None
    assert result.error.breakdown.counts == {"capacity_exceeded": 1}
    assert result.error.breakdown.nodes == {"capacity_exceeded": ["node-3"]}


def test_an_impossible_request_is_told_why_and_frees_its_key() -> None:
    _, h = one_node()
    h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", tgt_lang="ja", wait_none_s=0.0)
    error = client.one(Error)
    assert error.error.code == "NO_AVAILABLE_NODE"
    breakdown = error.error.breakdown
    assert breakdown is not None
    assert breakdown.best_reason == "lang_pair_unsupported"
    assert sum(breakdown.counts.values()) == breakdown.total_nodes == 1
    assert breakdown.nearest[0].missing == ["translation en->ja"]
    client.submit("r-2", tgt_lang="ja")
    h.advance(2.5)
    result = client.one(Result)
    assert (result.status, result.error and result.error.code) == ("expired", "NO_AVAILABLE_NODE")
    client.submit("r-2", tgt_lang="ja")
    assert not client.all(JobAccepted)[-1].jobs[0].duplicate


def test_unknown_services_and_features_are_refused_with_the_nearest_name() -> None:
    _, h = one_node()
    h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", services=["nnt"])
    error = client.one(Error).error
    assert error.code == "UNSUPPORTED_FEATURE"
    assert "nmt" in error.message
    client.submit("r-2", services=[], features=["emotion_detectoin"])
    assert "emotion_detection" in client.one(Error).error.message


def test_a_durability_that_is_not_held_is_refused_in_words() -> None:
    _, h = one_node()
    h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", durability="fsync")
    assert "fsync" in client.one(Error).error.message
    client.submit("r-2", durability="memory")
    assert client.one(JobAccepted).jobs[0].durability == "memory"


def test_a_silent_node_loses_the_job_after_the_ack_time_and_its_late_result_is_dropped() -> None:
    """I3, T13: no answer from the chosen node, the next one within the budget."""
    host, h = one_node()
    host.node(4)
    host.publish(h.now_ns)
    nodes = {3: h.open_lane(3), 4: h.open_lane(4)}
    client = h.open_session()
    client.submit("r-1")
    first, job = chosen(nodes)
    h.advance(2.2)
    other = nodes[7 - first.row]
    again = other.assignment()
    assert (again.job_id, again.attempt) == (job.job_id, 2)
    assert again.dispatch > job.dispatch
    assert h.one(first.connection, CancelJob).job_id == job.job_id
    assert h.held(first.row) == 1, "counted until the node confirms"
    first.end(job, b"late")
    assert h.held(first.row) == 0
    assert client.all(Result) == []
    other.end(again)
    result = client.one(Result)
    assert (result.attempt, result.failovers, result.node_id) == (2, 1, f"node-{other.row}")


def test_no_result_within_the_timeout_fails_over_and_progress_extends_it() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", timeout_s=3.0, stream=True)
    job = node.assignment()
    node.acknowledge(job.number)
    h.advance(2.5)
    h.receive(
        node.connection,
        NodePartial(job_id=job.job_id, epoch=1, dispatch=job.dispatch, seq=0),
        b"ho",
    )
    assert client.one(Partial).job_id == job.job_id
    h.advance(2.5)
    assert h.take(node.connection, CancelJob) == []
    h.advance(1.0)
    assert h.one(node.connection, CancelJob).reason.startswith("no result")


def test_after_three_failovers_the_job_fails_with_the_reason_of_each_attempt() -> None:
    _, h = one_node(slots=10)
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    for _ in range(4):
        node.end(
            node.assignment(), b"", status="failed", code="INTERNAL", message="boom", retryable=True
        )
    result = client.one(Result)
    assert result.status == "failed"
    assert result.error is not None
    assert len(result.error.attempts) == 4
    assert result.failovers == 3
    assert h.held(3) == 0


def test_a_final_error_of_the_node_ends_the_job_at_once() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.end(node.assignment(), b"", status="failed", code="INVALID_MESSAGE", message="no speech")
    result = client.one(Result)
    assert (result.status, result.attempt) == ("failed", 1)
    assert result.error is not None
    assert "no speech" in result.error.message


def test_model_not_available_is_told_to_the_manager() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.end(node.assignment(), b"", status="failed", code="MODEL_NOT_AVAILABLE")
    told = [command.message for command in h.commands if isinstance(command, TellManager)]
    assert ModelUnavailable(row=3, generation=1, service="nmt") in told


def test_a_capacity_refusal_is_not_a_failover() -> None:
    host, h = one_node()
    host.node(4)
    host.publish(h.now_ns)
    nodes = {3: h.open_lane(3), 4: h.open_lane(4)}
    client = h.open_session()
    client.submit("r-1")
    first, job = chosen(nodes)
    refusal = JobRefused(job_id=job.job_id, epoch=1, dispatch=job.dispatch, code="NODE_OVERLOADED")
    h.receive(first.connection, refusal)
    assert h.held(first.row) == 0
    other = nodes[7 - first.row]
    other.end(other.assignment())
    assert client.one(Result).failovers == 0


def test_cancel_ends_the_job_for_the_client_and_counts_the_slot_until_the_node_confirms() -> None:
    """T5: every path gives back what it took."""
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    job = node.assignment()
    h.receive(client.connection, Cancel(request_id="r-1"))
    result = client.one(Result)
    assert (result.status, result.error and result.error.code) == ("cancelled", "CANCELLED")
    assert h.one(node.connection, CancelJob).dispatch == job.dispatch
    assert h.held(3) == 1
    node.end(job, b"", status="cancelled")
    assert h.held(3) == 0
    assert client.all(Result) == []


def test_a_waiting_job_is_cancelled_without_a_node() -> None:
    _, h = one_node()
    h.open_lane(3)
    client = h.open_session()
    client.submit("r-0")
    client.submit("r-1")
    h.receive(client.connection, Cancel(request_id="r-1"))
    assert client.one(Result).status == "cancelled"


def test_a_deadline_ends_the_job_wherever_it_stands() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", deadline_s=1.0)
    job = node.assignment()
    assert job.deadline_ms == 1000
    h.advance(1.2)
    result = client.one(Result)
    assert (result.status, result.error and result.error.code) == ("expired", "JOB_TIMEOUT")
    assert h.one(node.connection, CancelJob).job_id == job.job_id


def test_i5_of_two_alike_jobs_of_a_session_the_earlier_gets_the_slot_that_is_free() -> None:
    """I5: also where a job of another kind of wish might go before."""
    host, h = one_node(slots=1)
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-0")
    first = node.assignment()
    client.submit("r-1", exclude=["node-9"])
    host.node(3, slots=2)  # there is a slot, and nobody has been told; it would be time to look
    h.now_ns += FULL_MEMORY_NS
    client.submit("r-2", exclude=["node-9"])
    h.advance(0.1)
    assert node.assignment().request_id == "r-1"
    node.end(first)
    assert node.assignment().request_id == "r-2"

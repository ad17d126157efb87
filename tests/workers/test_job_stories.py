"""Stories of jobs: submitted, placed, ended once, whatever happens on the way."""

import pytest
from fleet_samples import speech_class
from worker_harness import SECOND_NS, Host, Node, WorkerHarness

from pointsman_shm.config import Config, JobsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_shm.snapshot.records import MarkRecord
from pointsman_shm.uplink import ModelUnavailable, NodeZombie
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    JobFence,
    JobRefused,
    LaneOpen,
    LanePing,
    LanePong,
    LaneReport,
    NodePartial,
    NodeResultAck,
)
from pointsman_wire.link import Closed, LoopWasLate, Send
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    Cancel,
    GoingAway,
    JobAccepted,
    Moved,
    Partial,
    Result,
    ResultAck,
    SessionInit,
    SessionInitAck,
)
from pointsman_workers.core.events import BellRang, RingWorker, Stopped, StopWished, TellManager


def one_node(slots: int = 1, **config: object) -> tuple[Host, WorkerHarness]:
    """A host with one node and one worker that has settled."""
    host = Host(Config(**config))  # type: ignore[arg-type]
    host.node(3, slots=slots)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    return host, harness


def chosen(nodes: dict[int, Node]) -> tuple[Node, Assign]:
    """The node that got the one job, and the job."""
    got = [(node, job) for node in nodes.values() for job in node.assignments()]
    assert len(got) == 1, got
    return got[0]


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
    assert h.one(node.connection, NodeResultAck).number == 1
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
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    h.advance(5.5)
    told = [command.message for command in h.commands if isinstance(command, TellManager)]
    assert [message for message in told if isinstance(message, NodeZombie)]
    assert h.take(node.connection, LanePing)


def test_a_node_that_answers_its_pings_is_no_zombie() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.acknowledge(node.assignment().number)
    for _ in range(60):
        h.advance(0.1)
        for ping in h.take(node.connection, LanePing):
            h.receive(node.connection, LanePong(number=ping.number, last_read=1))
    assert not [command for command in h.commands if isinstance(command, TellManager)]


def test_undelivered_results_come_again_on_resume_and_only_with_the_token() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session("s-1")
    client.submit("r-1")
    client.hang_up()
    node.end(node.assignment())
    back = h.open_session("s-1", resume_token=client.ack.resume_token, unfinished=["r-1", "r-9"])
    assert back.ack.resumed
    assert back.ack.unfinished == {"r-1": "ended", "r-9": "unknown"}
    result = back.one(Result)
    assert result.request_id == "r-1"
    h.receive(back.connection, ResultAck(results=[(back.ack.session_number, result.number)]))
    stranger = h.open_session("s-1", resume_token="guess")
    assert not stranger.ack.resumed
    assert stranger.all(Result) == []


def test_a_repeated_request_is_bound_to_the_job_that_a_node_still_runs() -> None:
    """I2 over a restart without a journal: the node's report names the request."""
    host, h = one_node()
    host.ledger.cells[3] = 1  # what the dead predecessor held
    h = WorkerHarness(host, epoch=2, now_ns=h.now_ns)
    h.feed()
    client = h.open_session("s-1", unfinished=["r-1"])
    assert client.ack.unfinished == {"r-1": "unknown"}
    client.submit("r-1")
    assert client.all(JobAccepted) == [], "it may still run somewhere"
    old = JobFence("job-of-old", 1, 77, "", "s-1", "r-1")
    node = h.open_lane(3, running=[old])
    h.advance(0.2)
    assert client.one(JobAccepted).jobs[0].job_id == "job-of-old"
    assert node.assignments() == []
    assert h.held(3) == 1
    node.end(
        Assign(number=0, job_id="job-of-old", dispatch=77),
        epoch=1,
    )
    assert client.one(Result).job_id == "job-of-old"
    assert h.held(3) == 0


def test_an_orphan_whose_client_never_comes_is_cancelled_and_its_slot_counted_until_then() -> None:
    host, h = one_node()
    h = WorkerHarness(host, epoch=2, now_ns=h.now_ns)
    h.feed()
    node = h.open_lane(3, running=[JobFence("job-of-old", 1, 77, "", "s-1", "r-1")])
    assert h.held(3) == 1
    h.advance(31)
    assert h.one(node.connection, CancelJob).job_id == "job-of-old"
    assert h.held(3) == 1


def test_what_a_dead_predecessor_held_and_nobody_reports_is_freed_after_the_grace_period() -> None:
    """I10: no slot leaks over a restart."""
    host, h = one_node()
    host.ledger.cells[3] = 1
    h = WorkerHarness(host, epoch=2, now_ns=h.now_ns)
    h.feed()
    assert h.held(3) == 1
    h.advance(5.2)
    assert h.held(3) == 0


def test_a_late_loop_moves_every_deadline() -> None:
    """T9: who was stopped himself declares nobody late."""
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.assignment()
    h.now_ns += 10 * SECOND_NS
    h.feed(LoopWasLate(10 * SECOND_NS))
    assert h.take(node.connection, CancelJob) == []
    h.advance(2.2)
    assert h.take(node.connection, CancelJob) != []


def test_a_slot_that_an_older_job_elsewhere_waits_for_is_offered_to_that_worker() -> None:
    host = Host(Config(), worker_count=2)
    host.node(3)
    host.publish(SECOND_NS)
    a, b = WorkerHarness(host, worker_index=0), WorkerHarness(host, worker_index=1)
    for h in (a, b):
        h.feed()
    node_a, node_b = a.open_lane(3), b.open_lane(3)
    client_a, client_b = a.open_session(), b.open_session()
    client_a.submit("a-0")
    job = node_a.assignment()
    a.now_ns += 1_000
    b.now_ns += 1_000
    client_b.submit("b-1")
    a.now_ns += 1_000
    client_a.submit("a-1")
    assert a.held(3) == 1
    node_a.end(job)
    rings = [command for command in a.commands if isinstance(command, RingWorker)]
    assert [ring.worker_index for ring in rings] == [1]
    assert node_a.assignments() == [], "it is not our turn"
    b.feed(BellRang(0, rings[0].class_number))
    assert node_b.assignment().request_id == "b-1"


def test_without_a_ring_a_waiting_job_looks_by_itself_within_some_milliseconds() -> None:
    host = Host(Config(), worker_count=2)
    host.node(3)
    host.publish(SECOND_NS)
    a, b = WorkerHarness(host, worker_index=0), WorkerHarness(host, worker_index=1)
    for h in (a, b):
        h.feed()
    node_a, node_b = a.open_lane(3), b.open_lane(3)
    client_a, client_b = a.open_session(), b.open_session()
    client_a.submit("a-0")
    client_b.submit("b-1")
    node_a.end(node_a.assignment())
    b.advance(0.02)
    assert node_b.assignment().request_id == "b-1"


def test_a_stopping_worker_takes_nothing_new_and_ends_when_nothing_runs() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    h.feed(StopWished(h.now_ns + 30 * SECOND_NS))
    assert client.all(GoingAway)
    client.submit("r-2")
    assert client.one(Error).error.code == "SHUTTING_DOWN"
    h.advance(1)
    assert not [command for command in h.commands if isinstance(command, Stopped)]
    node.end(node.assignment())
    h.advance(0.2)
    assert [command for command in h.commands if isinstance(command, Stopped)]


def test_a_session_of_another_shard_is_told_where_to_go() -> None:
    host = Host(Config(), worker_count=2)
    host.publish(SECOND_NS)
    h = WorkerHarness(host, worker_index=0)
    h.feed()
    acks = 0
    for number in range(8):
        connection = h.dial(Role.TRUNK)
        h.receive(connection, SessionInit(ref=5, session_id=f"s-{number}"))
        moved, ack = h.take(connection, Moved), h.take(connection, SessionInitAck)
        assert len(moved) + len(ack) == 1
        acks += len(ack)
        assert all(message.ref == 5 and message.shard == 1 for message in moved)
    assert 0 < acks < 8


def test_an_unsettled_report_of_a_lane_message_before_lane_open_is_ignored() -> None:
    _, h = one_node()
    connection = h.dial(Role.LANE)
    h.receive(connection, LaneReport())
    assert h.core.shard.lanes == {}


def test_idle_sessions_end_and_a_lost_client_has_its_resume_window() -> None:
    _, h = one_node()
    client = h.open_session("s-1")
    h.advance(61)
    assert h.core.shard.sessions == {}
    client = h.open_session("s-2")
    client.hang_up()
    h.advance(29)
    assert len(h.core.shard.sessions) == 1
    h.advance(2)
    assert h.core.shard.sessions == {}


def test_other_classes_of_node_serve_other_jobs() -> None:
    host, h = one_node()
    ears = speech_class("en", types=("asr",))
    host.node(4, ears)
    host.publish(h.now_ns)
    h.open_lane(3)
    node = h.open_lane(4)
    client = h.open_session()
    client.submit("r-1", services=["asr"], tgt_lang="")
    client.submit("r-2", services=["asr"], tgt_lang="")
    assert h.held(3) + h.held(4) == 2
    assert len(node.assignments()) == 1

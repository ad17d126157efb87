"""Stories of a take-over: a worker dies, and its successor has its journal and nothing else.

keep   the node reports it as running        anew       the node's lane is up without it
take   the node holds its result             elsewhere  the node does not come back
"""

import pytest
from journalled_host import JournalledHost, left_behind
from worker_harness import Client, Node, WorkerHarness

from pointsman_shm.config import JobsConfig, SessionsConfig
from pointsman_wire.lane_messages import CancelJob, JobFence, LaneReport
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import JobAccepted, Result, ResultAck
from pointsman_workers.core.events import JournalSynced

SECOND_NS = 1_000_000_000
LARGE = b"x" * (64 * 1024 + 1)


def lanes(worker: WorkerHarness, **running: list[JobFence]) -> dict[int, Node]:
    return {row: worker.open_lane(row, running=running.get(f"node_{row}")) for row in (3, 4)}


def fence(epoch: int, job: object) -> JobFence:
    return JobFence(job.job_id, epoch, job.dispatch, "", job.session_id, job.request_id)  # type: ignore[attr-defined]


def started() -> tuple[JournalledHost, WorkerHarness, Client, int, JobFence]:
    """One job runs on a node; returned with the node's row and the job's fence."""
    host = JournalledHost()
    worker = host.worker()
    nodes = lanes(worker)
    client = worker.open_session("s-1")
    client.submit("r-1", b"body")
    row, job = next((row, job) for row, node in nodes.items() for job in node.assignments())
    return host, worker, client, row, fence(1, job)


def back(worker: WorkerHarness, client: Client, **init: object) -> Client:
    return worker.open_session("s-1", resume_token=client.ack.resume_token, **init)


def test_a_job_that_its_node_still_runs_is_kept_under_its_fence() -> None:
    """P2: kill -9 of the worker after the dispatch; the successor starts nothing twice (I2)."""
    host, worker, client, row, running = started()
    successor = host.successor(worker)
    client = back(successor, client, unfinished=["r-1"])
    assert client.ack.resumed
    assert client.ack.unfinished == {"r-1": "running"}
    nodes = lanes(successor, **{f"node_{row}": [running]})
    assert not any(node.assignments() for node in nodes.values())
    assert successor.held(row) == 1
    nodes[row].end_fence(running, b"hola")
    result = client.one(Result)
    assert (result.status, result.job_id, result.attempt) == ("completed", running.job_id, 1)
    assert successor.held(row) == 0


def test_a_result_that_its_node_holds_is_taken() -> None:
    host, worker, client, row, running = started()
    successor = host.successor(worker)
    client = back(successor, client, unfinished=["r-1"])
    connection = successor.open_lane(row, report=LaneReport(held=[running])).connection
    node = Node(successor, connection, row)
    assert successor.held(row) == 0
    node.end_fence(running, b"hola")
    assert client.one(Result).status == "completed"
    assert node.acknowledgement().number == 1


def test_a_job_that_never_reached_its_node_is_dispatched_anew_under_a_new_fence() -> None:
    """P2: killed after the journal, before the frame left."""
    host, worker, client, _row, running = started()
    successor = host.successor(worker)
    back(successor, client)
    nodes = lanes(successor)
    job = next(job for node in nodes.values() for job in node.assignments())
    assert job.job_id == running.job_id
    assert (2, job.dispatch) > (running.epoch, running.dispatch)
    assert job.attempt == 2


def test_a_job_whose_node_does_not_return_goes_elsewhere_and_its_old_attempt_is_fenced() -> None:
    """I3: the first node comes back later with the old attempt: told to stop, no result taken."""
    host, worker, client, row, running = started()
    successor = host.successor(worker)
    client = back(successor, client)
    other = successor.open_lane(7 - row)
    successor.advance(4)
    assert not other.assignments()
    successor.advance(2)
    job = other.assignment()
    assert job.job_id == running.job_id
    first = successor.open_lane(row, running=[running])
    cancelled = successor.one(first.connection, CancelJob)
    assert (cancelled.epoch, cancelled.dispatch) == (1, running.dispatch)
    assert successor.held(row) == 1  # counted until the node confirms
    first.end_fence(running, b"old")
    assert successor.held(row) == 0
    assert not client.all(Result)
    other.end(job, b"new")
    assert client.one(Result).node_id == f"node-{7 - row}"


def test_jobs_that_waited_wait_on_in_the_order_of_their_acceptance() -> None:
    """I5: over the death of the worker too."""
    host = JournalledHost()
    worker = host.worker()
    client = worker.open_session("s-1")
    for number in range(6):
        client.submit(f"r-{number}")
    successor = host.successor(worker)
    client = back(successor, client, unfinished=[f"r-{number}" for number in range(6)])
    assert set(client.ack.unfinished.values()) == {"running"}
    nodes = lanes(successor)
    successor.advance(0.1)
    order: list[str] = []
    while len(order) < 6:
        jobs = [(node, job) for node in nodes.values() for job in node.assignments()]
        assert jobs, order
        order += sorted(job.request_id for _, job in jobs)
        for node, job in jobs:
            node.end(job)
    assert order == [f"r-{number}" for number in range(6)]


def test_p5_a_job_whose_whole_fleet_is_away_after_a_restart_waits_for_it() -> None:
    """I1: nodes come back by their own back-off, long after the 2 s for what nobody can do."""
    host, worker, client, row, running = started()
    successor = host.successor(worker)
    client = back(successor, client)
    successor.advance(14)
    node = successor.open_lane(7 - row)
    successor.advance(0.1)
    job = node.assignment()
    assert job.job_id == running.job_id
    node.end(job, b"hola")
    assert client.one(Result).status == "completed"


def test_a_job_that_nobody_can_do_after_a_restart_waits_the_longer_of_its_waits() -> None:
    host = JournalledHost()
    worker = host.worker()
    client = worker.open_session("s-1")
    client.submit("r-1", services=["asr"], src_lang="xx")
    successor = host.successor(worker)
    client = back(successor, client)
    successor.open_lane(3)  # the other node does not come back
    successor.advance(14.9)  # the nodes' grace, and the 10 s for busy ones
    assert not client.all(Result)
    successor.advance(0.5)
    result = client.one(Result)
    assert (result.status, result.error and result.error.code) == ("expired", "NO_AVAILABLE_NODE")


def test_an_ended_job_answers_its_repeated_request_after_the_restart() -> None:
    """I2: the window is restored and counts from the moment the shard answers."""
    host, worker, client, row, running = started()
    node = worker.node(row)
    node.end_fence(running, b"hola")
    result = client.one(Result)
    worker.receive(client.connection, ResultAck(results=[(client.ack.session_number, 1)]))
    successor = host.successor(worker)
    client = back(successor, client, last_result=1)
    assert not client.all(Result)  # it was read
    successor.advance(290)
    client = back(successor, client, last_result=1)
    client.submit("r-1", b"body")
    again = client.one(Result)
    assert (again.job_id, again.status) == (result.job_id, "completed")
    assert client.one(JobAccepted).jobs[0].duplicate
    client.submit("r-1", b"another body")
    assert client.one(Error).error.code == "CONFLICT"
    successor.advance(20)
    assert back(successor, client, unfinished=["r-1"]).ack.unfinished == {"r-1": "unknown"}


def test_undelivered_results_are_delivered_after_the_restart() -> None:
    host, worker, client, row, running = started()
    client.hang_up()
    node = worker.node(row)
    node.end_fence(running, b"hola")
    successor = host.successor(worker)
    client = back(successor, client, unfinished=["r-1"], last_result=0)
    assert client.ack.unfinished == {"r-1": "ended"}
    result = client.one(Result)
    assert (result.number, result.job_id) == (1, running.job_id)


def test_a_large_result_that_was_not_read_comes_from_its_node_again() -> None:
    host, worker, client, row, running = started()
    node = worker.node(row)
    node.end_fence(running, LARGE)
    assert client.one(Result).number == 1  # sent, and lost on its way
    successor = host.successor(worker)
    client = back(successor, client, unfinished=["r-1"])
    assert client.ack.unfinished == {"r-1": "running"}
    node = Node(
        successor, successor.open_lane(row, report=LaneReport(held=[running])).connection, row
    )
    node.end_fence(running, LARGE)
    assert client.one(Result).job_id == running.job_id


def test_a_large_result_that_was_read_is_not_run_again_for_who_left() -> None:
    host, worker, client, row, running = started()
    node = worker.node(row)
    node.end_fence(running, LARGE)
    client.one(Result)
    worker.receive(client.connection, ResultAck(results=[(client.ack.session_number, 1)]))
    recovered = left_behind(host.journal)
    assert not recovered.jobs
    assert [(found.kept.output, found.kept.is_result_gone) for found in recovered.ended] == [
        (b"", True)
    ]


def test_results_told_before_the_client_is_back_have_numbers_that_it_cannot_have_seen() -> None:
    """I1: jobs of level memory took numbers that the journal does not know, and the client does."""
    host = JournalledHost()
    worker = host.worker()
    nodes = lanes(worker)
    client = worker.open_session("s-1")
    client.submit("r-0")  # so that the session is in the journal
    client.submit("r-1", durability="memory")
    jobs = {j.request_id: (n, j) for n in nodes.values() for j in n.assignments()}
    node, job = jobs["r-1"]
    node.end(job)
    assert client.one(Result).number == 1
    node, job = jobs["r-0"]
    running = fence(1, job)
    successor = host.successor(worker)
    successor.open_lane(node.row, running=[running]).end_fence(running, b"hola")
    client = back(successor, client, last_result=1)
    result = client.one(Result)
    assert result.job_id == running.job_id
    assert result.number > 1


def test_a_deadline_goes_on_over_a_restart_and_begins_anew_after_a_reboot() -> None:
    for is_same_boot, status in ((True, "expired"), (False, "completed")):
        host = JournalledHost(jobs=JobsConfig(wait_busy_s=60.0))
        worker = host.worker()
        client = worker.open_session("s-1")
        client.submit("r-1", deadline_s=8.0, wait_none_s=30.0)
        worker.advance(6)
        successor = host.successor(worker, is_same_boot=is_same_boot)
        client = back(successor, client)
        successor.advance(3)
        nodes = lanes(successor)
        for node in nodes.values():
            for job in node.assignments():
                node.end(job)
        assert client.one(Result).status == status


def test_failovers_and_their_reasons_are_carried_over_a_restart() -> None:
    host = JournalledHost()
    worker = host.worker()
    lanes(worker)
    client = worker.open_session("s-1")
    client.submit("r-1", wait_none_s=60.0, wait_busy_s=60.0)
    for _ in range(3):
        worker.advance(2.5)  # nobody ever acknowledges
    successor = host.successor(worker)
    client = back(successor, client)
    lanes(successor)
    successor.advance(5.0)
    result = client.one(Result)
    assert result.status == "failed"
    assert result.error is not None
    assert len(result.error.attempts) >= 4


def test_a_cancelled_job_stays_cancelled_and_its_node_is_told() -> None:
    host, worker, client, row, running = started()
    client.cancel("r-1")
    assert client.one(Result).status == "cancelled"
    successor = host.successor(worker)
    node = successor.open_lane(row, running=[running])
    assert successor.one(node.connection, CancelJob).job_id == running.job_id


def test_a_session_whose_client_stays_away_ends_after_the_resume_window() -> None:
    host, worker, _client, row, running = started()
    successor = host.successor(worker)
    node = successor.open_lane(row, running=[running])
    node.end_fence(running, b"hola")
    successor.advance(SessionsConfig().resume_s + 2)
    assert not successor.core.shard.sessions
    # The result stays in the window all the same.
    again = successor.open_session("s-1")
    again.submit("r-1", b"body")
    assert again.one(Result).job_id == running.job_id


def test_everything_carried_through_many_lives_is_still_one_job() -> None:
    """P5: kill after kill; the job and its key stay, fences only go up."""
    host, worker, client, _row, running = started()
    for life in range(2, 8):
        worker = host.successor(worker)
        client = back(worker, client, unfinished=["r-1"])
        assert client.ack.unfinished == {"r-1": "running"}
        nodes = lanes(worker)
        job = next(job for node in nodes.values() for job in node.assignments())
        assert job.job_id == running.job_id
        assert worker.epoch == life
    node = next(node for node in nodes.values() if node.row in (3, 4) and worker.held(node.row))
    node.end(job)
    assert client.one(Result).status == "completed"


def test_a_key_that_left_its_window_may_be_open_again_when_the_worker_dies() -> None:
    host = JournalledHost(jobs=JobsConfig(window_s=1.0))
    worker = host.worker()
    nodes = lanes(worker)
    client = worker.open_session("s-1")
    client.submit("r-1", b"first")
    node, job = next((n, j) for n in nodes.values() for j in n.assignments())
    node.end(job)
    worker.advance(2)
    client.submit("r-1", b"second")
    successor = host.successor(worker)
    client = back(successor, client, unfinished=["r-1"])
    assert client.ack.unfinished == {"r-1": "running"}


@pytest.mark.parametrize("is_synced", [True, False])
def test_a_job_at_fsync_that_was_written_survives_as_an_accepted_one(is_synced: bool) -> None:
    """P2: killed after the write, before or after the acceptance: it runs once either way (N12)."""
    host = JournalledHost()
    worker = host.worker()
    client = worker.open_session("s-1")
    client.submit("r-1", durability="fsync")
    if is_synced:
        worker.feed(JournalSynced(1))
    successor = host.successor(worker)
    client = back(successor, client, unfinished=["r-1"])
    nodes = lanes(successor)
    client.submit("r-1", durability="fsync")
    assert client.one(JobAccepted).jobs[0].duplicate
    jobs = [job for node in nodes.values() for job in node.assignments()]
    assert [job.request_id for job in jobs] == ["r-1"]


def test_a_session_that_resumes_without_its_token_gets_no_old_results() -> None:
    host, worker, client, row, running = started()
    client.hang_up()
    node = worker.node(row)
    node.end_fence(running, b"hola")
    successor = host.successor(worker)
    stranger = successor.open_session("s-1", resume_token="guessed")
    assert not stranger.ack.resumed
    assert not stranger.all(Result)

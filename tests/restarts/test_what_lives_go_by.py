"""What a worker must still know after lives in between: what was read, tried, and told to stop."""

from journalled_host import MIB, JournalledHost, left_behind
from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness, chosen, shared_config

from pointsman_shm.config import JobsConfig
from pointsman_wire.lane_messages import CancelJob, JobFence
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import JobAccepted, Result, ResultAck, SessionClose
from pointsman_workers.core.events import JournalState
from pointsman_workers.journal.entries import JobDispatched, JobKept

LARGE = b"x" * (64 * 1024 + 1)


def back(worker: WorkerHarness, client: Client, **init: object) -> Client:
    return worker.open_session("s-1", resume_token=client.ack.resume_token, **init)


def with_a_large_result() -> tuple[JournalledHost, WorkerHarness, Client]:
    """A job has ended with more than the journal takes, and its client has been told."""
    host = JournalledHost()
    worker = host.worker()
    nodes = {row: worker.open_lane(row) for row in (3, 4)}
    client = worker.open_session("s-1")
    client.submit("r-1", b"body")
    node, job = chosen(nodes)
    node.end(job, LARGE)
    client.one(Result)
    return host, worker, client


def repeat_it(host: JournalledHost, worker: WorkerHarness, client: Client) -> Client:
    """The worker dies, its nodes are back with nothing, and the client asks once more."""
    successor = host.successor(worker)
    nodes = [successor.open_lane(row) for row in (3, 4)]
    again = back(successor, client, unfinished=["r-1"])
    again.submit("r-1", b"body")
    assert [node.assignments() for node in nodes] == [[], []]
    return again


def test_i2_a_result_that_was_read_and_not_kept_does_not_run_again() -> None:
    """The answer says what it was; before the worker died, its window had the output."""
    host, worker, client = with_a_large_result()
    worker.receive(client.connection, ResultAck(results=[(client.ack.session_number, 1)]))
    again = repeat_it(host, worker, client)
    error = again.one(Error).error
    assert (error.code, error.retryable) == ("NOT_FOUND", False)
    assert "completed" in error.message
    assert again.ack.unfinished == {"r-1": "unknown"}, "so it asks again, and is told"
    assert not again.all(Result)


def test_i2_a_result_that_a_closed_session_left_behind_does_not_run_again() -> None:
    host, worker, client = with_a_large_result()
    worker.receive(client.connection, SessionClose(session_number=client.ack.session_number))
    assert repeat_it(host, worker, client).one(Error).error.code == "NOT_FOUND"


def test_an_end_without_its_output_is_carried_forward_as_one() -> None:
    host, worker, client = with_a_large_result()
    worker.receive(client.connection, ResultAck(results=[(client.ack.session_number, 1)]))
    worker.feed(JournalState(segment=2, room_bytes=32 * MIB, held_bytes=32 * MIB, oldest=1))
    worker.advance(1)
    (kept,) = [entry for entry in worker.entries() if isinstance(entry, JobKept)]
    assert (kept.output, kept.is_result_gone) == (b"", True)
    assert repeat_it(host, worker, client).one(Error).error.code == "NOT_FOUND"


def test_i3_a_job_that_waits_again_is_carried_forward_with_what_was_tried() -> None:
    """Else its next life counts no failovers, frees its key at its end, and fences nothing."""
    host = JournalledHost(jobs=JobsConfig(wait_none_s=60.0, wait_busy_s=60.0))
    worker = host.worker()
    nodes = {row: worker.open_lane(row) for row in (3, 4)}
    client = worker.open_session("s-1")
    client.submit("r-1", b"body", exclude=["node-4"])
    node, _job = chosen(nodes)
    worker.advance(2.5)  # never acknowledged; sent to the same node, the only one
    node.hang_up()
    nodes[4].hang_up()
    worker.advance(6.0)
    tried = [entry for entry in worker.entries() if isinstance(entry, JobDispatched)]
    assert worker.core.shard.waiting.count == 1
    worker.feed(JournalState(segment=2, room_bytes=32 * MIB, held_bytes=32 * MIB, oldest=1))
    worker.advance(1)
    (job,) = left_behind(host.journal).jobs
    assert job.dispatched == tried[-1]
    assert job.dispatched.failovers == 1


def test_i3_a_job_that_no_node_has_reported_yet_is_carried_forward_with_its_dispatch() -> None:
    """The next life must expect it at the node that may still run it."""
    host = JournalledHost()
    worker = host.worker()
    nodes = {row: worker.open_lane(row) for row in (3, 4)}
    client = worker.open_session("s-1")
    client.submit("r-1", b"body")
    node, job = chosen(nodes)
    second = host.successor(worker)
    second.feed(JournalState(segment=3, room_bytes=32 * MIB, held_bytes=32 * MIB, oldest=1))
    second.advance(0.5)
    third = host.successor(second)
    running = JobFence(job.job_id, 1, job.dispatch, "", "s-1", "r-1")
    lanes = {row: third.open_lane(row, running=[running] * (row == node.row)) for row in (3, 4)}
    assert [lane.assignments() for lane in lanes.values()] == [[], []]
    again = back(third, client)
    lanes[node.row].end_fence(running, b"hola")
    assert again.one(Result).status == "completed"


def began(nodes: list[Node]) -> list[str]:
    return [job.request_id for node in nodes for job in node.assignments()]


def test_i5_after_a_restart_a_serial_session_waits_for_what_was_told_to_stop() -> None:
    """Its client has been told that the job ended; its handler runs on until it has stopped."""
    host = JournalledHost()
    worker = host.worker()
    nodes = {row: worker.open_lane(row) for row in (3, 4)}
    client = worker.open_session("s-1", order="serial")
    client.submit("r-1", deadline_s=1.0)
    node, job = chosen(nodes)
    node.acknowledge(job.number)
    worker.advance(1.3)
    assert client.one(Result).status == "expired"
    successor = host.successor(worker)
    running = JobFence(job.job_id, 1, job.dispatch, "", "s-1", "r-1")
    lanes = {row: successor.open_lane(row, running=[running] * (row == node.row)) for row in (3, 4)}
    again = back(successor, client, order="serial")
    again.submit("r-2")
    successor.advance(3.0)
    successor.one(lanes[node.row].connection, CancelJob)
    assert began([*lanes.values()]) == []
    lanes[node.row].end_fence(running, b"")
    successor.advance(0.2)
    assert began([*lanes.values()]) == ["r-2"]


def test_i5_after_a_restart_jobs_of_a_serial_session_that_is_over_still_take_turns() -> None:
    host = JournalledHost()
    worker = host.worker()
    nodes = {row: worker.open_lane(row) for row in (3, 4)}
    client = worker.open_session("s-1", order="serial")
    for request_id in ("r-1", "r-2"):
        client.submit(request_id)
    node, job = chosen(nodes)
    worker.receive(client.connection, SessionClose(flush=False))
    successor = host.successor(worker)
    running = JobFence(job.job_id, 1, job.dispatch, "", "s-1", "r-1")
    lanes = {row: successor.open_lane(row, running=[running] * (row == node.row)) for row in (3, 4)}
    successor.open_session("s-1", order="serial").submit("r-3")
    successor.advance(2.0)
    assert began([*lanes.values()]) == []
    lanes[node.row].end_fence(running, b"")
    node, job = chosen(lanes)
    successor.advance(2.0)
    assert (job.request_id, began([*lanes.values()])) == ("r-2", [])
    node.end(job)
    assert began([*lanes.values()]) == ["r-3"]


def test_i5_a_serial_session_waits_for_the_older_of_two_attempts_too() -> None:
    host = Host(shared_config())
    for row in (3, 4):
        host.node(row, slots=2)
    host.publish(SECOND_NS)
    h = WorkerHarness(host, epoch=2)
    older, newer = (JobFence("job", 1, dispatch, "", "s-1", "r-1") for dispatch in (1, 2))
    lanes = [h.open_lane(3, running=[older]), h.open_lane(4, running=[newer])]
    h.advance(0.2)
    client = h.open_session("s-1", unfinished=["r-1"], order="serial")
    client.submit("r-1")
    client.submit("r-2", wait_busy_s=60.0)
    lanes[1].end_fence(newer, b"hola")
    assert client.one(Result).job_id == "job"
    h.advance(1.0)
    assert began(lanes) == []
    lanes[0].hang_up()
    h.advance(5.2)  # the node is given up, and has its lease left
    assert h.held(3) == 0
    h.advance(3.5)
    assert began(lanes[1:]) == []
    h.advance(0.8)
    assert began(lanes[1:]) == ["r-2"]
    assert client.all(JobAccepted)


def test_a_worker_that_was_just_born_waits_for_nodes_that_are_on_their_way() -> None:
    """P13: after a rolling restart a new job finds no lane yet; that is no reason to give it up."""
    host = JournalledHost(jobs=JobsConfig(wait_none_s=2.0, wait_busy_s=10.0))
    successor = host.successor(host.worker())
    client = successor.open_session("s-1")
    client.submit("r-1")
    client.submit("r-2", wait_none_s=0.5)
    successor.advance(3.5)
    assert [result.request_id for result in client.all(Result)] == ["r-2"], "as it asked for"
    node = successor.open_lane(3)
    assert node.assignment().request_id == "r-1"


def test_a_worker_that_stands_for_long_gives_a_job_up_that_nobody_can_do() -> None:
    host = JournalledHost(jobs=JobsConfig(wait_none_s=2.0, wait_busy_s=10.0))
    successor = host.successor(host.worker())
    successor.advance(6)
    client = successor.open_session("s-1")
    client.submit("r-1")
    successor.advance(2.5)
    assert client.one(Result).status == "expired"


def test_what_a_predecessor_left_is_held_no_longer_than_its_window() -> None:
    """I9: outputs of a worker's former life are memory as well, and it may have many."""
    host = JournalledHost(jobs=JobsConfig(window_s=5.0))
    worker = host.worker()
    nodes = {row: worker.open_lane(row) for row in (3, 4)}
    client = worker.open_session("s-1")
    client.submit("r-1")
    node, job = chosen(nodes)
    node.end(job)
    successor = host.successor(worker)
    assert successor.core.shard.window.ended_count == 1
    successor.advance(10.0)
    assert successor.core.shard.window.ended_count == 0
    assert not successor.core.shard.setup.recovered.ended

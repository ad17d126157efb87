"""Turns of a serial session after a restart: who runs has it, and it ends when its node says so."""

from journalled_host import JournalledHost
from worker_harness import Client, Host, Node, WorkerHarness, shared_config

from pointsman_shm.config import LimitsConfig
from pointsman_wire.lane_messages import Assign, JobFence
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import Result

SECOND_NS = 1_000_000_000
RUNNING = {row: JobFence(f"job-{row}", 1, row, "", "s-1", f"r-{row - 2}") for row in (3, 4)}


def began(*nodes: Node) -> list[str]:
    return [job.request_id for node in nodes for job in node.assignments()]


def one_runs_and_one_waits() -> tuple[JournalledHost, WorkerHarness, Client, int, Assign]:
    """A serial session with two jobs; with the row where the first one runs."""
    host = JournalledHost()
    worker = host.worker()
    nodes = [worker.open_lane(row) for row in (3, 4)]
    client = worker.open_session("s-1", order="serial")
    client.submit("r-1")
    client.submit("r-2")
    [(row, job)] = [(node.row, job) for node in nodes for job in node.assignments()]
    return host, worker, client, row, job


def test_i5_the_next_one_waits_for_the_node_of_a_job_that_was_kept_and_then_cancelled() -> None:
    host, worker, client, row, job = one_runs_and_one_waits()
    h = host.successor(worker)
    runs = JobFence(job.job_id, 1, job.dispatch, "", "s-1", "r-1")
    nodes = {r: h.open_lane(r, running=[runs] if r == row else None) for r in (3, 4)}
    token = client.ack.resume_token
    client = h.open_session("s-1", resume_token=token, order="serial")
    client.cancel("r-1")
    assert client.one(Result).status == "cancelled"
    h.advance(1.0)
    assert began(*nodes.values()) == [], "its node may still be at work"
    nodes[row].end(job, b"", epoch=1, status="cancelled")
    assert began(*nodes.values()) == ["r-2"]


def test_i5_a_job_that_its_node_has_lost_runs_before_those_that_waited_for_it() -> None:
    host, worker, *_ = one_runs_and_one_waits()
    h = host.successor(worker)
    nodes = [h.open_lane(row) for row in (3, 4)]
    h.advance(0.3)
    assert began(*nodes) == ["r-1"]


def two_ran_before_their_session_was_serial() -> tuple[WorkerHarness, Client, list[Node]]:
    """A worker that began anew, and nodes that run r-1 and r-2; and a place for two in line."""
    host = Host(shared_config(limits=LimitsConfig(queued_per_shard_max=2)))
    for row in (3, 4):
        host.node(row)
    host.publish(SECOND_NS)
    h = WorkerHarness(host, epoch=2)
    nodes = [h.open_lane(row, running=[RUNNING[row]]) for row in RUNNING]
    h.advance(0.2)
    client = h.open_session("s-1", unfinished=["r-1", "r-2"], order="serial")
    for number in (1, 2):
        client.submit(f"r-{number}", timeout_s=100.0)
    return h, client, nodes


def test_i5_of_two_that_ran_before_their_session_was_serial_each_keeps_its_place() -> None:
    """The one that is lost goes on after the other, and before those that have not run.

    It counts among those that wait.
    """
    h, client, nodes = two_ran_before_their_session_was_serial()
    client.submit("r-3", timeout_s=100.0)
    nodes[1].hang_up()
    h.advance(10.0)
    assert began(*nodes) == []
    client.submit("r-4")
    assert client.one(Error).error.code == "QUEUE_FULL"
    nodes[0].end_fence(RUNNING[3], b"hola")
    [again] = nodes[0].assignments()
    assert again.request_id == "r-2"
    nodes[0].end(again)
    assert began(*nodes) == ["r-3"]
    assert [result.request_id for result in client.all(Result)] == ["r-1", "r-2"]


def test_i1_of_two_that_ran_before_their_session_was_serial_the_last_one_has_its_turn_again() -> (
    None
):
    h, client, nodes = two_ran_before_their_session_was_serial()
    nodes[0].end_fence(RUNNING[3], b"hola")
    nodes[1].hang_up()
    h.advance(12.0)
    assert began(*nodes) == ["r-2"]
    assert client.one(Result).request_id == "r-1"

"""Jobs from before a worker's birth, as nodes report them: which attempt counts, and how long."""

from worker_harness import SECOND_NS, Host, Node, WorkerHarness, chosen, shared_config

from pointsman_wire.lane_messages import CancelJob, JobFence
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import Cancel, JobAccepted, Result

KEY = ("", "s-1", "r-1")


def restarted() -> WorkerHarness:
    """A worker in its second epoch, with two nodes of one slot each and no lane yet."""
    host = Host(shared_config())
    host.node(3)
    host.node(4)
    host.publish(SECOND_NS)
    return WorkerHarness(host, epoch=2)


def ran(job_id: str, dispatch: int) -> JobFence:
    return JobFence(job_id, 1, dispatch, *KEY)


def cancels(node: Node) -> list[int]:
    return [cancel.dispatch for cancel in node.harness.take(node.connection, CancelJob)]


def test_of_two_attempts_that_still_run_the_newer_one_is_kept() -> None:
    """I3: whichever node reports first, and even when the client was there before both."""
    for first, second in ((1, 2), (2, 1)):
        h = restarted()
        client = h.open_session("s-1", unfinished=["r-1"])
        client.submit("r-1")
        nodes = {first: h.open_lane(3, running=[ran("job", first)])}
        assert client.all(JobAccepted) == []
        nodes[second] = h.open_lane(4, running=[ran("job", second)])
        h.advance(0.2)
        assert client.one(JobAccepted).jobs[0].job_id == "job"
        assert cancels(nodes[1]) == [1]
        assert cancels(nodes[2]) == []


def test_an_orphan_that_its_node_lost_is_forgotten() -> None:
    """I1: who repeats its request gets a job that runs."""
    h = restarted()
    h.open_lane(3, running=[ran("job", 1)])
    h.open_lane(4)
    again = h.open_lane(3, epoch=2)
    h.advance(0.2)
    client = h.open_session("s-1", unfinished=["r-1"])
    client.submit("r-1", exclude=["node-4"])
    assert client.one(JobAccepted).jobs[0].job_id != "job"
    again.end(again.assignment())
    assert client.one(Result).status == "completed"


def test_the_time_of_an_adopted_job_begins_when_its_client_is_back() -> None:
    h = restarted()
    node = h.open_lane(3, running=[ran("job", 1)])
    h.open_lane(4)
    h.advance(5.0)
    client = h.open_session("s-1", unfinished=["r-1"])
    client.submit("r-1", timeout_s=1.0)
    h.advance(0.9)
    assert cancels(node) == []
    h.advance(0.3)
    assert cancels(node) == [1]


def test_a_repeated_request_can_be_cancelled_while_it_waits_for_the_nodes_to_report() -> None:
    h = restarted()
    client = h.open_session("s-1", unfinished=["r-1"])
    client.submit("r-1")
    cancel = Cancel(session_number=client.ack.session_number, request_id="r-1")
    h.receive(client.connection, cancel)
    assert client.one(Error).error.code == "CANCELLED"
    nodes = [h.open_lane(3), h.open_lane(4)]
    h.advance(0.2)
    assert [node.assignments() for node in nodes] == [[], []]


def test_a_serial_session_goes_on_after_a_result_that_came_before_its_client() -> None:
    """I13: the dispatch is over when the client names the job; nothing tells of that again."""
    h = restarted()
    node = h.open_lane(3, running=[ran("job", 1)])
    node.end_fence(ran("job", 1), b"hola")
    h.open_lane(4)
    h.advance(0.2)
    client = h.open_session("s-1", unfinished=["r-1"], order="serial")
    client.submit("r-1")
    assert client.one(Result).job_id == "job"
    client.submit("r-2")
    assert [job.request_id for lane in (3, 4) for job in h.node(lane).assignments()] == ["r-2"]


def test_a_job_from_before_the_worker_was_born_says_nothing_of_how_fast_its_node_is() -> None:
    h = restarted()
    nodes = {3: h.open_lane(3, running=[ran("job", 1)]), 4: h.open_lane(4)}
    client = h.open_session("s-1", unfinished=["r-1"])
    client.submit("r-1")
    h.advance(0.2)
    nodes[3].end_fence(ran("job", 1), b"hola")
    assert client.one(Result).job_id == "job"
    shard = h.core.shard
    job = shard.window.find(KEY)
    assert job is not None
    types = job.kind.requirement.types
    assert shard.fleet.paces.expected_ns(types, 3) is None
    client.submit("r-2")
    node, again = chosen(nodes)
    h.advance(0.2)
    node.end(again)
    assert shard.fleet.paces.expected_ns(types, node.row) == 200_000_000

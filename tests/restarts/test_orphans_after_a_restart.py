"""Jobs from before a worker's birth, as nodes report them: which attempt counts, and how long."""

import pytest
from worker_harness import SECOND_NS, Host, Node, WorkerHarness, chosen, shared_config

from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import CancelJob, JobFence, JobRefused, NodeResult
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import Cancel, JobAccepted, Result
from pointsman_workers.core import orphans

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


def test_an_orphan_whose_home_has_lost_its_node_is_forgotten() -> None:
    """I1, I5: no request gets a job that nobody runs, and no serial session stands for it."""
    h = restarted()
    node = h.open_lane(3, running=[ran("job", 1)])
    h.open_lane(4)
    h.advance(0.2)
    lost = JobRefused(job_id="job", epoch=1, dispatch=1, code=Code.NODE_UNAVAILABLE)
    h.receive(node.connection, lost)
    assert not h.core.shard.orphans
    client = h.open_session("s-1", unfinished=["r-1"], order="serial")
    client.submit("r-1", exclude=["node-4"])
    assert client.one(JobAccepted).jobs[0].job_id != "job"
    node.end(node.assignment())
    assert client.one(Result).status == "completed"
    h.advance(60.0)
    assert not h.core.shard.strays


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


def test_a_serial_session_goes_on_although_an_older_attempt_had_ended_when_the_newer_was_told() -> (
    None
):
    """I3, I13: what is over needs no end, and nothing would tell of one; its result is nobody's."""
    h = restarted()
    nodes = {3: h.open_lane(3, running=[ran("job", 1)])}
    nodes[3].end_fence(ran("job", 1), b"old")
    nodes[4] = h.open_lane(4, running=[ran("job", 2)])
    h.advance(0.2)
    assert cancels(nodes[3]) == []
    client = h.open_session("s-1", unfinished=["r-1"], order="serial")
    client.submit("r-1")
    assert client.all(Result) == []
    nodes[4].end_fence(ran("job", 2), b"new")
    assert client.one(Result).node_id == "node-4"
    client.submit("r-2")
    assert chosen(nodes)[1].request_id == "r-2"


def test_orphans_of_a_node_that_is_gone_are_gone_with_it() -> None:
    """I1, I9: who repeats its request gets a job that runs."""
    h = restarted()
    h.open_lane(3, running=[ran("job", 1)]).hang_up()
    node = h.open_lane(4)
    h.advance(6.0)
    assert len(h.core.shard.orphans) == 0
    client = h.open_session("s-1", unfinished=["r-1"])
    client.submit("r-1")
    node.end(node.assignment())
    assert client.one(Result).status == "completed"


def several(count: int) -> list[JobFence]:
    return [JobFence(f"job-{n}", 1, n, "", "s-1", f"r-{n}") for n in range(1, count + 1)]


def test_i9_orphans_are_bounded_and_room_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is above the bound is stopped; when clients have stayed away, the others are, too."""
    monkeypatch.setattr(orphans, "ORPHANS_MAX", 3)
    h = restarted()
    node = h.open_lane(3, running=several(5))
    assert cancels(node) == [4, 5]
    assert len(h.core.shard.orphans) == 3
    h.open_lane(4)
    h.advance(0.2)
    client = h.open_session("s-1", unfinished=["r-1"])
    client.submit("r-1", timeout_s=100.0)
    assert client.one(JobAccepted).jobs[0].job_id == "job-1"
    assert len(h.core.shard.orphans) == 2, "one is a job now"
    h.advance(31.0)
    assert cancels(node) == [2, 3]
    assert len(h.core.shard.orphans) == 0
    h.open_lane(4, running=several(1), epoch=2)
    assert len(h.core.shard.orphans) == 0, "it is known"


def test_i9_what_orphans_have_become_is_bounded_by_what_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one above the bound is forgotten: its client gets a job that runs."""
    monkeypatch.setattr(orphans, "RESULTS_BYTES_MAX", 10_000)
    h = restarted()
    node = h.open_lane(3, running=several(5))
    fences = several(5)
    node.end_fence(fences[0], b"x" * 4_000)
    node.end_fence(fences[1], b"x" * 4_000)
    node.end_fence(fences[2], b"x" * 4_000)
    assert len(h.core.shard.orphans) == 4
    h.open_lane(4)
    h.advance(0.2)
    client = h.open_session("s-1", unfinished=["r-1", "r-3"])
    client.submit("r-1")
    assert client.one(Result).job_id == "job-1"
    node.end_fence(fences[3], b"x" * 4_000)
    assert len(h.core.shard.orphans) == 3, "there was room again"
    result = NodeResult(number=9, job_id="job-5", epoch=1, dispatch=5, meta={"words": "x" * 5_000})
    h.receive(node.connection, result)
    assert len(h.core.shard.orphans) == 2, "meta counts, too"
    client.submit("r-3")
    assert client.all(JobAccepted)[-1].jobs[0].job_id != "job-3"

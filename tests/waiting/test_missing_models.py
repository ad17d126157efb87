"""Stories of models that are missing: what becomes of the job until everybody knows of it."""

from worker_harness import Host, Node, WorkerHarness, chosen

from pointsman_shm.config import Config
from pointsman_shm.memory.rows import RowFlag
from pointsman_shm.snapshot.records import MarkRecord
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import Breakdown
from pointsman_wire.session_messages import Result


def fleet(count: int) -> tuple[WorkerHarness, dict[int, Node]]:
    """One or two equal nodes with their lanes up."""
    rows = (3, 4)[:count]
    host = Host(Config())
    for row in rows:
        host.node(row, slots=1)
    host.publish(1_000_000_000)
    h = WorkerHarness(host)
    h.feed()
    return h, {row: h.open_lane(row) for row in rows}


def lacks_model(node: Node, job: Assign) -> None:
    node.end(job, b"", status="failed", code="MODEL_NOT_AVAILABLE", message="no such file")


def mark(h: WorkerHarness, row: int, *, lasts_s: float) -> None:
    """What the manager does a moment later."""
    h.host.marks = [MarkRecord(row, 1, "nmt", "", h.now_ns + int(lasts_s * 1e9))]
    h.host.stand(row, flags=RowFlag.PUBLIC | RowFlag.MARKED)
    h.host.publish(h.now_ns)


def breakdown_of(result: Result) -> Breakdown:
    assert result.error is not None
    assert result.error.breakdown is not None
    return result.error.breakdown


def test_a_job_waits_for_a_busy_node_rather_than_ask_again_for_a_model_that_is_missing() -> None:
    """It was back before the manager's mark was, three times in a millisecond, and failed."""
    h, nodes = fleet(2)
    client = h.open_session()
    client.submit("first")
    able, running = chosen(nodes)
    client.submit("r-1")
    poor = nodes[7 - able.row]
    lacks_model(poor, poor.assignment())
    assert poor.assignments() == []
    h.advance(0.5)
    assert poor.assignments() == []
    able.end(running)
    client.one(Result)
    able.end(able.assignment())
    result = client.one(Result)
    assert (result.status, result.node_id, result.failovers) == ("completed", f"node-{able.row}", 1)


def test_the_mark_takes_over_from_what_the_worker_has_heard_itself() -> None:
    h, nodes = fleet(1)
    client = h.open_session()
    client.submit("r-1", wait_none_s=10.0)
    node, job = chosen(nodes)
    lacks_model(node, job)
    h.advance(0.05)
    mark(h, node.row, lasts_s=4.0)
    h.advance(3.5)
    assert node.assignments() == []
    h.advance(1.0)
    node.end(node.assignment())
    assert client.one(Result).status == "completed"


def test_a_refusal_says_that_the_model_is_missing_also_before_the_mark_is_there() -> None:
    h, nodes = fleet(1)
    client = h.open_session()
    client.submit("r-1", wait_none_s=0.0)
    lacks_model(*chosen(nodes))
    h.advance(0.1)
    result = client.one(Result)
    assert result.status == "expired"
    assert breakdown_of(result).counts == {"model_not_available": 1}
    assert result.error is not None
    assert result.error.code == "NO_AVAILABLE_NODE"


def test_another_service_of_the_node_is_asked_for_all_the_same() -> None:
    h, nodes = fleet(1)
    client = h.open_session()
    client.submit("r-1")
    node, job = chosen(nodes)
    lacks_model(node, job)
    client.submit("r-2", services=["tts"])
    job = node.assignment()
    assert job.request_id == "r-2"
    node.end(job, b"", status="failed", code="INTERNAL_ERROR", message="boom")
    assert node.assignment().attempt == 2


def test_a_node_whose_marks_are_used_up_is_tried_again_before_the_job_is_given_up() -> None:
    """Nobody else knows of it then; so the worker does not for long, either."""
    h, nodes = fleet(1)
    client = h.open_session()
    client.submit("r-1", wait_none_s=5.0)
    node, job = chosen(nodes)
    lacks_model(node, job)
    h.advance(0.9)
    assert node.assignments() == []
    h.advance(0.3)
    assert node.assignment().attempt == 2

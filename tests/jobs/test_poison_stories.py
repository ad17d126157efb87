"""Stories of jobs that fail wherever they run, and of nodes that are not to blame for it."""

from collections.abc import Callable

import pytest
from job_trouble import fleet, node_error, node_lost, node_refusal
from worker_harness import Node, WorkerHarness, chosen

from pointsman_shm.memory.rows import NodeState
from pointsman_shm.uplink import ModelUnavailable, NodeZombie
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import Assign, JobRefused
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.queries.job_messages import PoisonJobs, PoisonQuery
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import TellManager
from pointsman_workers.desks.attempts import SAID_LENGTH_MAX
from pointsman_workers.desks.poison import KEPT_MAX


def listed(h: WorkerHarness, limit: int = 100) -> PoisonJobs:
    answer = h.core.answer(PoisonQuery(limit=limit))
    assert isinstance(answer, PoisonJobs)
    return answer


def error_of(result: Result) -> ErrorInfo:
    assert result.error is not None
    return result.error


def test_a_job_that_fails_on_three_nodes_is_poison_and_its_nodes_keep_their_reputation() -> None:
    """T23: quarantined, listed, and nothing is held against the nodes."""
    h, nodes = fleet(4)
    before = bytes(h.core.shard.fleet.standing), bytes(h.core.shard.fleet.paces.even)
    client = h.open_session("s-1", tenant="acme")
    client.submit("r-1", b"bad")
    rows = []
    for _ in range(3):
        node, job = chosen(nodes)
        rows.append(node.row)
        node_error(node, job)
    result = client.one(Result)
    error = error_of(result)
    assert (result.status, error.code, error.retryable) == ("failed", "POISON", False)
    assert len(set(rows)) == 3
    for row, why in zip(rows, error.attempts, strict=True):
        assert f"node-{row}: node_error: boom" in why
    (line,) = listed(h).jobs
    assert (line.tenant, line.session_id, line.request_id) == ("acme", "s-1", "r-1")
    assert line.nodes == [f"node-{row}" for row in rows]
    assert line.attempts == error.attempts
    assert line.services == ["nmt"]
    told = [command.message for command in h.commands if isinstance(command, TellManager)]
    assert not [message for message in told if isinstance(message, ModelUnavailable | NodeZombie)]
    assert (bytes(h.core.shard.fleet.standing), bytes(h.core.shard.fleet.paces.even)) == before
    assert [h.held(row) for row in nodes] == [0, 0, 0, 0]


def test_a_poison_job_that_is_submitted_again_does_not_run_again() -> None:
    h, nodes = fleet(3)
    client = h.open_session()
    client.submit("r-1", b"bad")
    for _ in range(3):
        node_error(*chosen(nodes))
    client.all(Result)
    client.submit("r-1", b"bad")
    assert error_of(client.one(Result)).code == "POISON"
    assert not [job for node in nodes.values() for job in node.assignments()]
    assert listed(h).total == 1


def test_a_job_that_takes_two_nodes_down_is_poison() -> None:
    """T23: what runs nowhere to its end, and takes its node along, is tried on no third one."""
    h, nodes = fleet(4)
    client = h.open_session()
    client.submit("r-1")
    for _ in range(2):
        node_lost(*chosen(nodes))
    error = error_of(client.one(Result))
    assert error.code == "POISON"
    assert "went down 2 times" in error.message
    assert listed(h).jobs[0].crashes == 2


def is_poison_after_two(h: WorkerHarness, nodes: dict[int, Node]) -> bool:
    """Let two nodes start a job, and come anew without it."""
    client = h.open_session()
    client.submit("r-1")
    for _ in range(2):
        node, job = chosen(nodes)
        node.acknowledge(job.number)
        node.hang_up()
        nodes[node.row] = h.open_lane(node.row)
    return error_of(client.one(Result)).code == "POISON"


def test_a_node_that_starts_anew_without_the_job_went_down_with_it() -> None:
    assert is_poison_after_two(*fleet(2))


def test_nodes_that_were_drained_once_are_taken_down_by_a_job_as_others_are() -> None:
    h, nodes = fleet(2)
    for state in (NodeState.DRAINING, NodeState.READY):
        for row in nodes:
            h.host.stand(row, state=state)
        h.advance(0.3)
    assert is_poison_after_two(h, nodes)


def drained(node: Node, job: Assign) -> None:
    """The node leaves on purpose, and its time is over before the job's."""
    node.acknowledge(job.number)
    host = node.harness.host
    host.stand(node.row, state=NodeState.DRAINING)
    node.harness.advance(0.3)
    host.stand(node.row, state=NodeState.OFFLINE)
    node.harness.advance(0.3)


def model_missing(node: Node, job: Assign) -> None:
    node.end(job, b"", status="failed", code=Code.MODEL_NOT_AVAILABLE.value)


def not_started(node: Node, _: Assign) -> None:
    node.harness.host.stand(node.row, state=NodeState.OFFLINE)
    node.harness.advance(0.2)


@pytest.mark.parametrize("happens", [node_refusal, model_missing, not_started, drained])
def test_what_says_something_of_the_node_only_is_not_held_against_the_job(
    happens: Callable[[Node, Assign], None],
) -> None:
    h, nodes = fleet(4)
    client = h.open_session()
    client.submit("r-1")
    for _ in range(4):
        happens(*chosen(nodes))
    error = error_of(client.one(Result))
    assert error.code != "POISON"
    assert len(error.attempts) == 4
    assert listed(h).jobs == []


@pytest.mark.parametrize(("failures", "attempts"), [(1, 1), (2, 2), (4, 4)])
def test_how_many_nodes_make_poison_is_configured(failures: int, attempts: int) -> None:
    h, nodes = fleet(4, poison_failures=failures)
    client = h.open_session()
    client.submit("r-1")
    for _ in range(attempts):
        assert client.all(Result) == []
        node_error(*chosen(nodes))
    assert error_of(client.one(Result)).code == "POISON"


def test_how_many_crashes_make_poison_is_configured() -> None:
    h, nodes = fleet(4, poison_crashes=1)
    client = h.open_session()
    client.submit("r-1")
    node_lost(*chosen(nodes))
    assert error_of(client.one(Result)).code == "POISON"


def test_the_list_keeps_the_newest_and_counts_all() -> None:
    """I9."""
    h, nodes = fleet(1, poison_failures=1)
    client = h.open_session()
    for number in range(KEPT_MAX + 5):
        client.submit(f"r-{number}")
        node_error(*chosen(nodes))
    page = listed(h, limit=1000)
    assert (len(page.jobs), page.total, page.more) == (KEPT_MAX, KEPT_MAX + 5, False)
    assert page.jobs[0].request_id == f"r-{KEPT_MAX + 4}"
    first = listed(h, limit=2)
    assert (len(first.jobs), first.more) == (2, True)
    h.advance(10)
    assert listed(h).jobs[0].ended_ago_s == pytest.approx(10, abs=0.2)


def test_who_cancels_is_told_what_had_failed_before_as_far_as_it_can_be_told() -> None:
    """I9: however much a node says of it."""
    h, nodes = fleet(2)
    client = h.open_session()
    client.submit("r-1")
    node, job = chosen(nodes)
    said = "x" * 100_000
    refusal = JobRefused(
        job_id=job.job_id, epoch=1, dispatch=job.dispatch, code="INTERNAL", message=said
    )
    h.receive(node.connection, refusal)
    chosen(nodes)
    client.cancel("r-1")
    error = client.one(Result).error
    assert error is not None
    [attempt] = error.attempts
    assert attempt.startswith(f"attempt 1 on node-{node.row}: ")
    assert SAID_LENGTH_MAX < len(attempt) < SAID_LENGTH_MAX + 100


def test_t23_a_job_that_fails_again_and_again_on_the_only_node_is_no_poison() -> None:
    """T23: that takes distinct nodes; this may as well be the node's fault."""
    h, nodes = fleet(1, failovers_max=6)
    client = h.open_session()
    client.submit("r-1")
    for _ in range(5):
        node, job = chosen(nodes)
        node.end(job, b"", status="failed", code="BROKEN", message="boom", retryable=True)
        h.advance(0.1)
    node, job = chosen(nodes)
    node.end(job)
    assert client.one(Result).status == "completed"


def test_a_turn_waits_for_as_long_as_a_lost_node_may_be_at_work_however_short_its_own_wait() -> (
    None
):
    """I1, I5: else it could only ever expire."""
    h, nodes = fleet(2, slots=4)
    client = h.open_session(order="serial")
    client.submit("r-1", wait_busy_s=0.5)
    node, job = chosen(nodes)
    node.acknowledge(job.number)
    node.hang_up()
    h.advance(9.8)
    other, again = chosen(nodes)
    assert (other.row != node.row, again.request_id) == (True, "r-1")
    other.end(again)
    assert client.one(Result).status == "completed"

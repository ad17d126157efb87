"""Stories of attempts that come to nothing: why, where the job goes next, and when it is enough."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from job_trouble import (
    counted,
    fleet,
    lane_broken,
    no_ack,
    no_result,
    node_error,
    node_lost,
    node_refusal,
    refuse,
)
from worker_harness import Node, WorkerHarness, chosen

from pointsman_shm.memory.rows import NodeState
from pointsman_wire.errors import MEANINGS, Code
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    JobFence,
    JobRefused,
    LanePong,
    NodeProgress,
)
from pointsman_wire.session_messages import Progress, Result

Happens = Callable[[Node, Assign], None]


CAUSES: dict[str, Happens] = {
    "no_ack": no_ack,
    "no_result": no_result,
    "node_lost": node_lost,
    "node_refusal": node_refusal,
    "node_error": node_error,
    "lane_broken": lane_broken,
}


@pytest.mark.parametrize("name", CAUSES)
def test_each_cause_of_a_failover_is_counted_and_named(name: str) -> None:
    """T11, T13: whatever becomes of an attempt, the job goes on elsewhere."""
    h, nodes = fleet()
    client = h.open_session()
    client.submit("r-1")
    first, job = chosen(nodes)
    CAUSES[name](first, job)
    (again,) = [
        (row, message)
        for row, node in nodes.items()
        for message in (*node.assignments(), *_on_newest_lane(h, row))
    ]
    row, assign = again
    assert (assign.job_id, assign.attempt) == (job.job_id, 2)
    assert row != first.row or name == "lane_broken"
    assert counted(h) == {name: 1}
    nodes[row].end(assign)
    if name != "lane_broken":
        result = client.one(Result)
        assert result.failovers == 1
        assert result.attempts[0].startswith(f"attempt 1 on node-{first.row}: {name}")


def _on_newest_lane(h: WorkerHarness, row: int) -> list[Assign]:
    lane = h.core.shard.lanes.get(row)
    return h.take(lane.connection, Assign) if lane is not None and lane.connection else []


def test_failed_nodes_are_avoided_for_all_later_attempts_and_taken_when_nobody_else_can() -> None:
    """T13, of several jobs each: without a list one would meet three nodes by chance at times."""
    h, nodes = fleet(3)
    client = h.open_session()
    for number in range(6):
        client.submit(f"r-{number}")
        rows = []
        for _ in range(4):
            node, job = chosen(nodes)
            rows.append(node.row)
            refuse(node, job, "NODE_UNAVAILABLE")
        assert len(set(rows[:3])) == 3
        result = client.one(Result)
        assert result.error is not None
        assert result.error.code == "NODE_UNAVAILABLE"
        assert len(result.error.attempts) == 4
        assert result.failovers == 3


def test_a_node_in_the_row_of_one_that_failed_is_not_avoided() -> None:
    """The list names nodes, not places: a row may be another node's by then."""
    h, nodes = fleet(2)
    client = h.open_session()
    client.submit("r-1")
    first, job = chosen(nodes)
    refuse(first, job, "NODE_UNAVAILABLE")
    (entry,) = [
        job for session in h.core.shard.sessions.values() for job in session.open_jobs.values()
    ]
    assert entry.failed_nodes == (f"node-{first.row}",)
    h.core.shard.rows_by_node[f"node-{first.row}"] = 60
    other, again = chosen(nodes)
    refuse(other, again, "NODE_UNAVAILABLE")
    assert len(first.assignments()) == 1


def test_a_failover_obeys_readiness_like_the_first_choice() -> None:
    h, nodes = fleet(3)
    client = h.open_session()
    client.submit("r-1")
    first, job = chosen(nodes)
    draining, _ = (row for row in nodes if row != first.row)
    h.host.stand(draining, state=NodeState.DRAINING)
    h.advance(0.2)
    refuse(first, job, "NODE_UNAVAILABLE")
    other, _ = chosen(nodes)
    assert other.row not in (first.row, draining)


def test_a_slot_given_up_is_counted_until_its_lane_breaks_or_its_node_confirms() -> None:
    """I10: nothing leaks, nothing is freed twice."""
    h, nodes = fleet(2)
    client = h.open_session()
    client.submit("r-1", timeout_s=1.0)
    first, job = chosen(nodes)
    first.acknowledge(job.number)
    h.advance(1.2)
    other, again = chosen(nodes)
    assert (h.held(first.row), h.held(other.row)) == (1, 1)
    other.end(again)
    first.hang_up()
    assert h.held(first.row) == 1
    h.open_lane(first.row)
    assert h.held(first.row) == 0
    assert client.one(Result).failovers == 1


def test_progress_extends_the_wait_for_a_result() -> None:
    h, nodes = fleet(1)
    client = h.open_session()
    client.submit("r-1", timeout_s=1.0)
    node, job = chosen(nodes)
    node.acknowledge(job.number)
    for _ in range(5):
        h.advance(0.8)
        progress = NodeProgress(job_id=job.job_id, epoch=1, dispatch=job.dispatch)
        h.receive(node.connection, progress)
    node.end(job)
    assert client.one(Result).failovers == 0


def test_a_node_that_never_answers_costs_only_its_own_requests() -> None:
    """T20: others are not held up, and their results come at once."""
    h, nodes = fleet(2, slots=2)
    client = h.open_session()
    for number in range(4):
        client.submit(f"r-{number}", timeout_s=3.0)
    silent, alive = nodes[3], nodes[4]
    for job in alive.assignments():
        alive.end(job)
    assert len(client.all(Result)) == 2
    assert len(silent.assignments()) == 2
    h.advance(2.2)
    for job in alive.assignments():
        assert job.attempt == 2
        alive.end(job)
    assert [result.status for result in client.all(Result)] == ["completed"] * 2
    assert counted(h) == {"no_ack": 2}


def test_results_of_older_attempts_are_counted_and_dropped_whenever_they_come() -> None:
    """T26, I3: the lease is over, the node still works, its late result has no effect."""
    h, nodes = fleet(3)
    client = h.open_session()
    client.submit("r-1", timeout_s=1.0)
    stale: list[tuple[Node, Assign]] = []
    for _ in range(2):
        node, job = chosen(nodes)
        node.acknowledge(job.number)
        h.advance(1.2)
        stale.append((node, job))
    last, job = chosen(nodes)
    stale[0][0].end(stale[0][1], b"too late")
    assert client.all(Result) == []
    last.end(job, b"in time")
    result, payload = next(
        (message, payload)
        for message, payload in h.sent[client.connection]
        if isinstance(message, Result)
    )
    assert (payload, result.attempt) == (b"in time", 3)
    stale[1][0].end(stale[1][1], b"later still")
    stale[1][0].end(stale[1][1], b"and once more")
    client.one(Result)
    assert client.all(Result) == []
    assert h.core.shard.setup.memory.stats.read().counters["stale_results"] == 3
    assert [h.held(row) for row in nodes] == [0, 0, 0]


@pytest.mark.parametrize("words", ["result", "refusal", "progress"])
def test_what_names_one_job_and_the_dispatch_of_another_counts_for_neither(words: str) -> None:
    """I3, N10: a confused node gives no job the result, the end or the life of another."""
    h, nodes = fleet(1, slots=2)
    client, ((row, node),) = h.open_session(), nodes.items()
    client.submit("r-1", stream=True)
    client.submit("r-2", stream=True)
    one, other = node.assignments()
    mixed: dict[str, Any] = {"job_id": one.job_id, "epoch": h.epoch, "dispatch": other.dispatch}
    if words == "result":
        node.end(msgspec.structs.replace(one, dispatch=other.dispatch), b"of another")
    elif words == "refusal":
        h.receive(node.connection, JobRefused(code="NODE_OVERLOADED", **mixed))
    else:
        h.receive(node.connection, NodeProgress(percent=50.0, **mixed))
    assert not client.all(Result)
    assert not client.all(Progress)
    assert h.held(row) == 2
    assert h.core.shard.setup.memory.stats.read().counters["stale_results"] == 1
    node.end(one, b"1")
    node.end(other, b"2")
    assert [result.request_id for result in client.all(Result)] == ["r-1", "r-2"]


FINAL = [code for code in Code if not MEANINGS[code].retryable]
RETRYABLE = [code.value for code in Code if MEANINGS[code].retryable] + ["INTERNAL"]


@pytest.mark.parametrize("code", FINAL)
def test_a_final_code_of_a_node_ends_the_job(code: Code) -> None:
    h, nodes = fleet(2)
    client = h.open_session()
    client.submit("r-1")
    node, job = chosen(nodes)
    # What the node says of a code that we know better does not count.
    node.end(job, b"", status="failed", code=code.value, retryable=True)
    result = client.one(Result)
    assert (result.status, result.attempt) == ("failed", 1)
    assert result.error is not None
    assert result.error.code == code


@pytest.mark.parametrize("code", RETRYABLE)
def test_a_retryable_code_of_a_node_sends_the_job_elsewhere(code: str) -> None:
    h, nodes = fleet(2)
    client = h.open_session()
    client.submit("r-1")
    node, job = chosen(nodes)
    node.end(job, b"", status="failed", code=code)
    other, again = chosen(nodes)
    assert (other.row != node.row, again.attempt) == (True, 2)
    assert counted(h) == {"node_error": 1}
    assert client.all(Result) == []


@pytest.mark.parametrize(("retryable", "attempts"), [(True, 2), (False, 1)])
def test_of_a_code_that_nobody_knows_the_node_says_whether_it_may_help(
    retryable: bool, attempts: int
) -> None:
    h, nodes = fleet(2)
    client = h.open_session()
    client.submit("r-1")
    node, job = chosen(nodes)
    node.end(job, b"", status="failed", code="OUT_OF_CHEESE", retryable=retryable)
    if attempts == 2:
        assert chosen(nodes)[1].attempt == 2
    else:
        result = client.one(Result)
        assert result.error is not None
        assert (result.error.code, "OUT_OF_CHEESE" in result.error.message) == (
            "INTERNAL_ERROR",
            True,
        )


@pytest.mark.parametrize(("code", "words"), [("INTERNAL", "no"), ("OUT_OF_CHEESE", "no")])
def test_a_node_that_says_that_no_other_will_do_better_is_believed(code: str, words: str) -> None:
    """And so is the client told; a code of the node's own is among the words."""
    h, nodes = fleet(2)
    client = h.open_session()
    client.submit("r-1")
    node, job = chosen(nodes)
    node.end(job, b"", status="failed", code=code, message=words, retryable=False)
    error = client.one(Result).error
    assert error is not None
    assert (error.code, error.retryable, error.attempts) == ("INTERNAL_ERROR", False, [])
    assert error.message == f"node-{node.row}: {'' if code == 'INTERNAL' else code + ': '}{words}"
    assert "Try again" not in error.hint
    assert counted(h) == {}


# ---- the clock of the acknowledgement


def test_a_burst_of_large_jobs_on_a_slow_lane_is_not_given_up_while_it_is_read() -> None:
    """The clock of an assignment starts when what was sent before it has been read."""
    h, nodes = fleet(1, slots=10)
    client = h.open_session()
    for number in range(10):
        client.submit(f"r-{number}", bytes(900_000))
    node = nodes[3]
    jobs = node.assignments()
    for job in jobs:  # 1.5 s for each: 15 s in all
        h.advance(1.5)
        node.acknowledge(job.number)
    assert h.take(node.connection, CancelJob) == []
    for job in jobs:
        node.end(job)
    results = client.all(Result)
    assert len(results) == 10
    assert all(result.failovers == 0 for result in results)


def test_a_pong_that_tells_of_reading_counts_as_well_as_an_acknowledgement() -> None:
    h, nodes = fleet(1, slots=3)
    client = h.open_session()
    for number in range(3):
        client.submit(f"r-{number}")
    node = nodes[3]
    _, second, _ = node.assignments()
    h.advance(1.5)
    h.receive(node.connection, LanePong(number=1, last_read=second.number))
    h.advance(1.5)
    assert h.take(node.connection, CancelJob) == []
    h.advance(1.0)
    assert len(h.take(node.connection, CancelJob)) == 3


def test_a_large_payload_has_the_time_that_the_slowest_arrival_may_take() -> None:
    h, nodes = fleet(1)
    client = h.open_session()
    client.submit("r-1", bytes(900_000))
    node, job = chosen(nodes)
    h.advance(5.0)
    assert h.take(node.connection, CancelJob) == []
    node.acknowledge(job.number)
    node.end(job)
    assert client.one(Result).failovers == 0


def test_reading_for_ever_without_acknowledging_ends_with_the_timeout() -> None:
    h, nodes = fleet(1, slots=40)
    client = h.open_session()
    client.submit("r-0", timeout_s=5.0, wait_busy_s=60.0)
    node = nodes[3]
    node.assignments()
    for number in range(1, 7):
        client.submit(f"r-{number}", wait_busy_s=60.0)
        node.assignments()
        h.receive(node.connection, LanePong(number=number, last_read=number))
        h.advance(1.0)
    assert h.take(node.connection, CancelJob)[0].reason.startswith("no acknowledgement")


def test_a_lane_that_is_back_with_its_job_still_running_keeps_it() -> None:
    h, nodes = fleet(2)
    client = h.open_session()
    client.submit("r-1")
    node, job = chosen(nodes)
    node.acknowledge(job.number)
    node.hang_up()
    h.advance(3.0)
    back = h.open_lane(node.row, running=[JobFence(job.job_id, 1, job.dispatch)])
    back.end(job)
    assert client.one(Result).failovers == 0
    assert counted(h) == {}


def test_a_job_that_overtook_and_came_back_has_its_one_place_in_the_queue_again() -> None:
    """I5: it was placed from amid the queue, past one that did not want that node."""
    h, nodes = fleet(2)
    client = h.open_session()
    for name in ("r-0", "r-1"):
        client.submit(name)
    running = {row: node.assignment() for row, node in nodes.items()}
    client.submit("picky", exclude=["node-4"])
    client.submit("any")
    nodes[4].end(running[4])
    job = nodes[4].assignment()
    assert job.request_id == "any"
    h.host.stand(4, state=NodeState.DEGRADED)
    refuse(nodes[4], job, "NODE_UNAVAILABLE")
    nodes[3].end(running[3])
    for name in ("picky", "any"):
        job = nodes[3].assignment()
        assert job.request_id == name
        nodes[3].end(job)
    assert h.core.shard.waiting.count == 0

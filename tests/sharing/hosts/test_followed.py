"""Jobs that another instance runs begin at no node here, whatever this one does meanwhile."""

import pytest
from fleet_harness import LEASE_S, SESSION, awaited, opened, started
from test_moving_stories import journalled, written

from pointsman_wire.lane_messages import CancelJob, JobFence
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import Stopped, StopWished


def test_i5_a_job_that_runs_elsewhere_begins_nowhere_else_when_its_turn_comes() -> None:
    """I2: it stands in line behind one of ours, and holds up what comes after it."""
    fleet = journalled("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = a.open_lane(3), a.open_session(SESSION, order="serial")
    job = started(a, node_a, client_a, "r-1")
    node_b, client_b = b.open_lane(3), b.open_session(SESSION, order="serial")
    first = started(b, node_b, client_b, "r-0")
    for request_id in ("r-1", "r-2"):
        client_b.submit(request_id, timeout_s=3600.0)
    node_b.end(first)
    fleet.advance(8.0)
    assert not node_b.assignments()
    node_a.end(job, b"hola")
    fleet.advance(0.2)
    assert node_b.assignment().request_id == "r-2"
    assert [result.request_id for result in client_b.all(Result)] == ["r-0", "r-1"]


@pytest.mark.parametrize(
    ("order", "whose"), [("free", "s-2"), ("serial", "s-2"), ("serial", SESSION)]
)
def test_a_stop_leaves_what_waits_before_a_job_that_runs_elsewhere(order: str, whose: str) -> None:
    """Whether it waits for a node or in line."""
    fleet = journalled("a", "b", slots=1)
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = a.open_lane(3), a.open_session(SESSION, order=order)
    started(a, node_a, client_a, "r-2")
    node_b, clients = b.open_lane(3), {SESSION: b.open_session(SESSION, order=order)}
    clients["s-2"] = b.open_session("s-2")
    running = started(b, node_b, clients[whose], "r-0")
    for request_id in ("r-1", "r-2"):
        clients[SESSION].submit(request_id, wait_busy_s=3600.0)
    b.feed(StopWished(b.now_ns + 25_000_000_000))
    node_b.end(running)
    fleet.advance(1.0)
    assert not node_b.assignments()
    assert [job.accepted.key[2] for job in written(b).jobs] == ["r-1"]
    assert any(isinstance(command, Stopped) for command in b.commands)


def test_a_job_that_waited_is_placed_by_whoever_took_it_over_and_not_by_our_next_life() -> None:
    """I2: its journal has it, and Redis says that it is another's."""
    fleet = journalled("a", "b")
    a, b = fleet["a"], fleet["b"]
    client = a.open_session(SESSION)
    client.submit("r-1", wait_none_s=3600.0)
    a.kill()
    node_b, client_b = opened(b)
    client_b.submit("r-1", timeout_s=3600.0)
    again = awaited(fleet, node_b, LEASE_S + 10)
    a = fleet.restart("a", recovered=written(a))
    node = a.open_lane(3)
    fleet.advance(8.0)
    assert not node.assignments()
    node_b.end(again, b"hola")
    assert client_b.one(Result).status == "completed"


def test_a_node_that_reports_a_job_when_it_is_anothers_already_is_told_to_stop() -> None:
    """I3: and the job is followed, as it was."""
    fleet = journalled("a", "b")
    a, b = fleet["a"], fleet["b"]
    node, client = opened(a)
    job = started(a, node, client)
    a.kill()
    node_b, client_b = opened(b)
    client_b.submit("r-1", timeout_s=3600.0)
    again = awaited(fleet, node_b, LEASE_S + 10)
    a = fleet.restart("a", recovered=written(a))
    fleet.advance(1.0)
    fence = JobFence(job.job_id, 1, job.dispatch, "", SESSION, "r-1")
    node = a.open_lane(3, running=[fence])
    fleet.advance(0.2)
    assert [cancel.dispatch for cancel in a.take(node.connection, CancelJob)] == [job.dispatch]
    client = a.open_session(SESSION)
    client.submit("r-1")
    node.end_fence(fence, b"of the first")
    assert client.all(Result) == []
    node_b.end(again, b"hola")
    fleet.advance(6.0)
    assert client.one(Result).job_id == job.job_id
    assert a.held(3) == 0

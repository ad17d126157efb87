"""Results that a node holds until a worker has them: how many, and what becomes of them."""

from agent_harness import AgentHarness, sent, started

from pointsman.node_core.events import AgentLimits
from pointsman_wire.lane_messages import CancelJob, JobRefused, NodeResult, NodeResultAck
from pointsman_wire.link import Received


def acknowledge(h: AgentHarness, number: int) -> None:
    h.feed(Received(h.lanes[0], [(NodeResultAck(number=number), b"")]))


def cancel(h: AgentHarness, job_id: str, dispatch: int = 1) -> list[str]:
    """Cancel a job; which results the worker hears of."""
    cancelling = CancelJob(job_id=job_id, epoch=1, dispatch=dispatch, reason="test")
    commands = h.feed(Received(h.lanes[0], [(cancelling, b"")]))
    return [result.status for result in sent(commands, NodeResult)]


def test_results_that_nobody_takes_stop_new_jobs_and_are_dropped_when_they_are_old() -> None:
    h = AgentHarness(limits=AgentLimits(held_count_max=1, held_age_s=60.0))
    h.join()
    h.assign("j1")
    h.end(1)
    assert sent(h.assign("j2"), JobRefused)[0].code == "NODE_OVERLOADED"
    h.advance_answered(62)
    assert started(h.assign("j3")) == ["j3"]


def test_i9_results_that_nobody_takes_stop_new_jobs_by_what_they_take() -> None:
    """Those that run may end; what was taken leaves its room."""
    h = AgentHarness(max_concurrency=2, limits=AgentLimits(held_bytes_max=1_000))
    h.join()
    h.assign("j1")
    h.assign("j2")
    h.end(1, payload=b"x" * 999)
    assert started(h.assign("j3")) == ["j3"], "there is some room"
    h.end(2, payload=b"x" * 5_000)
    assert sent(h.assign("j4"), JobRefused)[0].code == "NODE_OVERLOADED"
    acknowledge(h, 2)
    assert h.core.jobs.held_bytes == 0
    assert started(h.assign("j5")) == ["j5"]


def test_a_cancel_of_what_was_taken_or_never_came_is_answered_while_there_is_room() -> None:
    """I9, I10: its worker counts a slot until it hears; answers are held like other results."""
    h = AgentHarness(limits=AgentLimits(held_count_max=1))
    h.join()
    h.assign("j1")
    h.end(1)
    assert cancel(h, "j1") == [], "its result says it, and comes until it is taken"
    assert cancel(h, "unknown") == [], "there is no room"
    acknowledge(h, 1)
    assert cancel(h, "j1") == ["cancelled"], "nothing of it is left here"
    assert cancel(h, "unknown") == []
    acknowledge(h, 2)
    assert cancel(h, "unknown") == ["cancelled"]

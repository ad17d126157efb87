"""Results that a node holds until a worker has them: how many, and what becomes of them."""

from typing import Any

import pytest
from agent_harness import AgentHarness, sent, started
from msgspec.msgpack import encode

from pointsman.node_core.events import AgentLimits
from pointsman_wire.lane_messages import (
    CancelJob,
    JobRefused,
    LaneReport,
    NodeResult,
    NodeResultAck,
)

EPOCH = 5  # of the worker at which the harness joins


def acknowledge(h: AgentHarness, number: int) -> None:
    h.say(h.lanes[0], NodeResultAck(number=number))


def cancel(h: AgentHarness, job_id: str) -> list[str]:
    """Cancel a job; which results the worker hears of."""
    commands = h.say(h.lanes[0], CancelJob(job_id=job_id, epoch=EPOCH, dispatch=1, reason="test"))
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


@pytest.mark.parametrize(
    "said",
    [
        {"meta": {"words": ["x" * 999, {"more": "x" * 999}]}},
        {"content_type": "text/" + "x" * 1_999},
        {"status": "failed", "code": "INTERNAL_ERROR", "message": "x" * 1_999},
    ],
)
def test_i9_what_results_say_beside_their_payload_takes_room_as_well(said: dict[str, Any]) -> None:
    h = AgentHarness(max_concurrency=2, limits=AgentLimits(held_bytes_max=2_000))
    h.join()
    h.assign("j1")
    h.end(1, **said)
    assert sent(h.assign("j2"), JobRefused)[0].code == "NODE_OVERLOADED"
    acknowledge(h, 1)
    assert h.core.jobs.held_bytes == 0


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


def test_i9_nothing_is_kept_of_what_another_service_gave() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    h.assign("j2")
    runs = [run.key for run in h.core.jobs.running.values()]
    h.end(2)
    h.lose(h.control)
    h.dial(h.advance(1))
    h.register(uid="uid-2")
    h.accept_lane(0, uid="uid-2", epoch=1)
    h.end(1)
    jobs = h.core.jobs
    assert (jobs.running, jobs.held, jobs.held_bytes) == ({}, {}, 0)
    assert [jobs.find(key) for key in runs] == [None, None]


def test_i9_a_report_fits_a_frame_whatever_runs_and_is_held() -> None:
    """What is left out is dispatched anew; what is held comes all the same."""
    count = 2_000
    h = AgentHarness(max_concurrency=count)
    h.join()
    names: dict[str, Any] = {"tenant": "t" * 100, "session_id": "s" * 128, "request_id": "r" * 128}
    for number in range(2 * count):
        h.assign(f"{number:0128}", **names)
        if number < count:
            h.end(number + 1)
    h.lose(h.lanes[0])
    h.dial(h.advance(1))
    commands = h.accept_lane(0)
    [report] = sent(commands, LaneReport)
    assert 500 < len(report.running) < count
    assert 500 < len(report.held) < count
    assert len(encode(report.running)) < 500 * 1024 > len(encode(report.held))
    assert len(sent(commands, NodeResult)) == count

"""A node and its lone jobs: nothing of a serial session runs without its worker's word (I5)."""

from typing import Any

from agent_harness import AgentHarness, S, of, sent, started, stopped

from pointsman.node_core.events import EndJob
from pointsman_wire.lane_messages import (
    AssignAck,
    CancelJob,
    LanePing,
    LaneReport,
    NodeResult,
    TurnAsk,
    TurnGranted,
)
from pointsman_wire.link import LoopWasLate, Received


def joined(**more: Any) -> AgentHarness:
    h = AgentHarness(max_concurrency=4, **more)
    h.join()
    return h


def grant(ask: TurnAsk, asked: int | None = None) -> TurnGranted:
    return TurnGranted(
        job_id=ask.job_id,
        epoch=ask.epoch,
        dispatch=ask.dispatch,
        asked=ask.asked if asked is None else asked,
    )


def begun(h: AgentHarness, job_id: str = "lone") -> None:
    """Bring a lone job to work."""
    (ask,) = sent(h.assign(job_id, silence_ms=3_000), TurnAsk)
    assert started(h.say(h.lanes[0], grant(ask))) == [job_id]


def advance_granted(h: AgentHarness, seconds: float) -> list[Any]:
    """Let time pass while the worker answers whatever it is asked."""
    commands = []
    for _ in range(int(seconds * 10)):
        commands += h.advance(0.1)
        for ask in sent(commands[-10:], TurnAsk):
            commands += h.say(h.lanes[0], grant(ask))
    return commands


def test_i5_a_lone_job_starts_when_its_worker_has_confirmed_it_and_not_before() -> None:
    h = joined()
    commands = h.assign("lone", silence_ms=3_000)
    (ask,) = sent(commands, TurnAsk)
    assert (ask.job_id, ask.epoch, ask.dispatch) == ("lone", 5, 1)
    assert sent(commands, AssignAck) == [AssignAck(number=1)], "it is here"
    assert started(commands) == []
    assert started(h.advance(0.5)) == []
    assert len(h.core.jobs.running) == 1, "its slot is taken"
    assert started(h.say(h.lanes[0], grant(ask))) == ["lone"]
    assert started(h.say(h.lanes[0], grant(ask))) == [], "once"


def test_i5_an_assignment_that_nobody_confirms_any_more_never_starts() -> None:
    """It lay in a broken network: its worker has long given the turn to somebody else."""
    h = joined()
    h.assign("lone", silence_ms=3_000)
    h.say(h.lanes[0], LanePing(number=1))  # whatever else arrives was sent as long ago
    commands = h.advance(3.1)
    assert started(commands) == []
    assert stopped(commands) == []
    (result,) = sent(commands, NodeResult)
    assert (result.job_id, result.status) == ("lone", "cancelled")
    assert not h.core.jobs.running
    assert h.core.next_deadline_ns() != h.now_ns


def test_i5_a_grant_counts_from_when_it_was_asked_for_and_not_from_its_arrival() -> None:
    h = joined()
    (ask,) = sent(h.assign("lone", silence_ms=3_000), TurnAsk)
    h.advance(2.0)
    assert started(h.say(h.lanes[0], grant(ask))) == ["lone"]
    again = sent(h.advance(0.9), TurnAsk)[0]
    assert stopped(h.advance(0.2)) == [1], "3 s after the first question"
    assert stopped(h.say(h.lanes[0], grant(again))) == []
    h = joined()
    (ask,) = sent(h.assign("lone", silence_ms=3_000), TurnAsk)
    h.now_ns += 4 * S
    late = Received(h.lanes[0], [(grant(ask), b"")])
    assert started(h.feed(LoopWasLate(4 * S), late)) == [], "read by a process that stood still"


def test_a_grant_of_the_future_is_worth_no_more_than_one_of_now() -> None:
    h = joined()
    (ask,) = sent(h.assign("lone", silence_ms=3_000), TurnAsk)
    h.say(h.lanes[0], grant(ask, asked=ask.asked + 10**12))
    assert stopped(h.advance(2.9)) == []
    assert stopped(h.advance(0.2)) == [1]


def test_a_lone_job_goes_on_for_as_long_as_its_own_worker_says_so() -> None:
    h = AgentHarness(max_concurrency=4)
    h.join(worker_count=2)
    begun(h)
    commands = advance_granted(h, 8.0)
    assert stopped(commands) == []
    asked = len(sent(commands, TurnAsk))
    assert 9 <= asked <= 12, "four times in the time for which an answer is good"
    (ask, *_) = sent(h.advance(1.0), TurnAsk)
    h.say(h.lanes[1], grant(ask))  # another worker's word is none
    assert stopped(h.advance(2.5)) == [1]


def test_other_jobs_go_on_in_silence() -> None:
    h = joined()
    assert started(h.assign("usual")) == ["usual"]
    assert stopped(h.advance(20.0)) == []


def test_a_broken_lane_is_silence_and_a_lane_that_is_back_in_time_is_none() -> None:
    h = joined()
    begun(h)
    h.lose(h.lanes[0])
    h.dial(h.advance(1.0))
    commands = h.accept_lane()
    (ask,) = sent(commands, TurnAsk)
    kinds = [type(send.message) for send in commands if hasattr(send, "message")]
    assert kinds.index(LaneReport) < kinds.index(TurnAsk), "its worker must know it to say yes"
    h.say(h.lanes[0], grant(ask))
    assert stopped(h.advance(2.5)) == []
    h.lose(h.lanes[0])
    assert stopped(h.advance(0.6)) == [1]


def test_a_job_that_has_not_started_is_stopped_by_giving_it_back() -> None:
    h = joined()
    (ask,) = sent(h.assign("lone", silence_ms=3_000), TurnAsk)
    commands = h.say(h.lanes[0], CancelJob(job_id="lone", epoch=5, dispatch=1))
    assert [result.status for result in sent(commands, NodeResult)] == ["cancelled"]
    assert started(h.say(h.lanes[0], grant(ask))) == []
    (ask,) = sent(h.assign("lone", 2, silence_ms=3_000), TurnAsk)
    commands = h.assign("lone", 3, silence_ms=3_000)
    (newer,) = sent(commands, TurnAsk)
    assert [result.dispatch for result in sent(commands, NodeResult)] == [2]
    assert started(h.say(h.lanes[0], grant(ask), grant(newer))) == ["lone"]


def test_a_lone_job_that_waits_is_forgotten_with_its_service() -> None:
    h = joined()
    h.assign("lone", silence_ms=3_000)
    h.lose(h.control)
    h.dial(h.advance(1.0))
    h.register(epoch=2, uid="another service")
    assert not h.core.jobs.running
    assert not h.core.jobs.held


def test_i3_a_job_that_waits_does_not_start_for_a_successor_of_its_worker() -> None:
    """The successor sees that the node does not have it, and gives it anew under its own epoch."""
    h = joined()
    (ask,) = sent(h.assign("lone", silence_ms=3_000), TurnAsk)
    h.lose(h.lanes[0])
    h.dial(h.advance(0.5))
    commands = h.accept_lane(epoch=6)
    (report,) = sent(commands, LaneReport)
    assert (report.running, report.held) == ([], [])
    assert sent(commands, TurnAsk) == []
    assert started(h.say(h.lanes[0], grant(ask))) == []


def test_i5_a_process_that_stood_still_stops_its_lone_jobs_first_of_all() -> None:
    h = joined()
    begun(h)
    h.assign("usual")
    h.now_ns += 4 * S
    assert stopped(h.feed(LoopWasLate(4 * S))) == [1]


def test_i5_what_does_not_stop_is_ended_by_force_and_only_where_no_worker_is_heard() -> None:
    h = joined()
    begun(h)
    h.say(h.lanes[0], CancelJob(job_id="lone", epoch=5, dispatch=1))
    commands = advance_granted(h, 10.0)
    assert of(commands, EndJob) == [], "its worker hears that it still runs, and waits"
    assert of(h.advance(2.7), EndJob) == []
    assert [end.run for end in of(h.advance(0.9), EndJob)] == [1]
    assert of(h.advance(5.0), EndJob) == [], "once"


def test_a_stopped_lone_job_is_told_as_cancelled_and_leaves_nothing_behind() -> None:
    h = joined()
    begun(h)
    h.advance(3.1)
    (result,) = sent(h.end(1, status="failed"), NodeResult)
    assert result.status == "cancelled"
    commands = h.advance(10.0)
    assert stopped(commands) == []
    assert of(commands, EndJob) == []

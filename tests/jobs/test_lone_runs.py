"""A node and the jobs that end in silence: what a serial session's next job relies on (I5)."""

from agent_harness import AgentHarness, sent, started, stopped

from pointsman_wire.lane_messages import JobRefused, LanePing, NodeResult
from pointsman_wire.link import LoopWasLate

S = 1_000_000_000


def joined() -> AgentHarness:
    h = AgentHarness(max_concurrency=4)
    h.join()
    return h


def test_a_lone_job_is_stopped_when_nothing_is_heard_of_its_worker() -> None:
    h = joined()
    assert started(h.assign("lone", silence_ms=3_000))
    assert stopped(h.advance(2.9)) == []
    assert stopped(h.advance(0.2)) == [1]
    assert stopped(h.advance(5.0)) == [], "once"


def test_pings_keep_it_going_and_only_those_of_its_own_worker() -> None:
    h = AgentHarness()
    h.join(worker_count=2)
    h.assign("lone", silence_ms=3_000)
    for number in range(1, 6):
        assert stopped(h.advance(1.0)) == []
        h.say(h.lanes[0], LanePing(number=number))
    for number in range(1, 3):
        assert stopped(h.advance(1.0)) == []
        h.say(h.lanes[1], LanePing(number=number))
    assert stopped(h.advance(1.1)) == [1]


def test_other_jobs_go_on_in_silence() -> None:
    h = joined()
    h.assign("usual")
    assert stopped(h.advance(20.0)) == []


def test_a_broken_lane_is_silence_and_a_lane_that_is_back_in_time_is_none() -> None:
    h = joined()
    h.assign("lone", silence_ms=3_000)
    h.lose(h.lanes[0])
    h.dial(h.advance(1.0))
    h.accept_lane()
    assert stopped(h.advance(2.5)) == []
    h.lose(h.lanes[0])
    assert stopped(h.advance(3.0)) == [1]


def test_a_process_that_stood_still_stops_its_lone_jobs_and_starts_none_that_it_finds() -> None:
    h = joined()
    h.assign("lone", silence_ms=3_000)
    h.assign("usual", silence_ms=0)
    h.now_ns += 4 * S
    late = h.assignment("stale", silence_ms=3_000)
    commands = h.feed(LoopWasLate(4 * S), late)
    assert stopped(commands) == [1]
    assert started(commands) == []
    assert sent(commands, JobRefused)[0].code == "NODE_UNAVAILABLE"
    assert started(h.assign("fresh", silence_ms=3_000))


def test_a_stopped_lone_job_is_told_as_cancelled_and_leaves_nothing_behind() -> None:
    h = joined()
    h.assign("lone", silence_ms=1_000)
    h.advance(1.1)
    (result,) = sent(h.end(1, status="failed"), NodeResult)
    assert result.status == "cancelled"
    assert stopped(h.advance(10.0)) == []

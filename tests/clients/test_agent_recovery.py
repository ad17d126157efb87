"""Stories of the node's core on a virtual clock: its lease, dialling again, draining."""

import pytest
from agent_harness import UID, AgentHarness, closed, of, sent, started, stopped

from pointsman.node_core.events import (
    DrainWished,
    JobEnded,
    ServicesChanged,
    StartJob,
    Stopped,
)
from pointsman_wire.control_messages import (
    Drain,
    Heartbeat,
    LanesReady,
    Leave,
    Register,
    Service,
)
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import (
    JobRefused,
    LaneAccepted,
    LaneOpen,
    LaneReport,
    NodeResult,
    NodeResultAck,
)
from pointsman_wire.link import Connection, Dial, LoopWasLate
from pointsman_wire.messages import Error, error_info
from pointsman_wire.preamble import Preamble, Role

# ---- the node's lease


def test_a_node_that_cannot_reach_its_server_for_five_intervals_starts_nothing() -> None:
    """N2: it must think that the server has given its jobs to others."""
    h = AgentHarness()
    h.join()
    commands = h.lose(h.control)
    lane = h.lanes[0]
    dropped: list[Connection] = []
    for _ in range(60):
        commands = h.refuse_dials(commands) + h.advance(0.1)
        dropped += closed(commands)
    assert dropped == [lane], "with all that lies unread in it"
    assert not started(h.assign("j1"))


def test_a_dead_manager_is_no_reason_to_stop_while_its_host_answers() -> None:
    h = AgentHarness(max_concurrency=100)
    h.join()
    h.lose(h.control)
    for second in range(60):
        h.dial(h.advance(1))
        assert started(h.assign(f"j{second}")) == [f"j{second}"]


def test_a_server_that_went_silent_is_left_and_dialled_again() -> None:
    h = AgentHarness()
    h.join()
    silent = h.control
    assert silent in closed(h.advance(4.1))
    assert len(of(h.advance(0.5), Dial)) == 1


def test_a_node_that_slept_starts_nothing_until_it_has_registered_again() -> None:
    """T10: what lies in its sockets is old; one clean registration, and lanes of their own."""
    h = AgentHarness()
    h.join()
    old = {h.control, h.lanes[0]}
    h.now_ns += 1800 * 1_000_000_000
    late = h.assignment("j1")
    commands = h.feed(LoopWasLate(1800 * 1_000_000_000), late)
    assert set(closed(commands)) == old
    assert not started(commands)
    h.refuse_dials(commands)
    commands = h.advance(0.5)
    assert len([dial for dial in of(commands, Dial) if dial.preamble.role is Role.CONTROL]) == 1
    h.dial(commands)
    h.register(epoch=2)
    h.accept_lane()
    assert started(h.assign("j2")) == ["j2"]


# ---- dialling again


def test_waits_grow_to_their_cap_and_are_drawn_from_entropy() -> None:
    """N9: full jitter, 0.5 s doubling to at most 30 s."""
    draws = iter([b"\xff\xff\xff\xff"] * 20)
    h = AgentHarness(entropy=lambda _: next(draws))
    commands = h.feed()
    waits = []
    for _ in range(9):
        h.refuse_dials(commands)
        due = h.core.next_deadline_ns()
        assert due is not None
        waits.append(round((due - h.now_ns) / 1e9, 3))
        h.now_ns = due
        commands = h.feed()
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    lowest = AgentHarness(entropy=bytes)
    assert of(lowest.refuse_dials(lowest.feed()), Dial), "a wait may be nothing at all"


def test_lanes_are_dialled_again_from_a_tenth_of_a_second() -> None:
    h = AgentHarness(entropy=lambda n: b"\xff" * n)
    h.join()
    h.lose(h.lanes[0])
    assert not of(h.advance(0.09), Dial)
    assert len(of(h.advance(0.02), Dial)) == 1


def test_a_registration_that_is_not_answered_is_tried_again() -> None:
    h = AgentHarness()
    h.dial(h.feed())
    commands = h.advance(10)
    assert closed(commands) == [h.control]
    assert len(of(h.advance(1), Dial)) == 1


def test_n9_who_was_not_answered_is_more_patient_with_the_next_try() -> None:
    """Else a slow server serves none but those who have given up."""
    h = AgentHarness()
    h.dial(h.feed())
    for patience_s in (10, 20, 40, 60, 60):
        assert not closed(h.advance(patience_s - 0.1))
        assert closed(h.advance(0.1)) == [h.control]
        while not (dials := of(h.advance(1), Dial)):
            pass
        h.dial(dials)
    h.register()
    h.lose(h.control)
    while not (dials := of(h.advance(1), Dial)):
        pass
    h.dial(dials)
    assert h.control in closed(h.advance(10)), "an answer makes it as it was"


def test_a_worker_that_refuses_the_ticket_makes_the_node_register_anew() -> None:
    h = AgentHarness()
    h.dial(h.feed())
    h.register()
    commands = h.say(h.lanes[0], Error(error_info(Code.UNAUTHORIZED, "the ticket is old")))
    assert set(closed(commands)) == {h.lanes[0], h.control}
    assert Preamble(Role.CONTROL, None) in [d.preamble for d in of(h.advance(1), Dial)]


def test_a_lane_accepted_for_another_shard_is_dropped() -> None:
    h = AgentHarness()
    h.dial(h.feed())
    h.register(worker_count=2)
    commands = h.say(h.lanes[0], LaneAccepted(instance_uid=UID, shard=1, epoch=1))
    assert closed(commands) == [h.lanes[0]]


# ---- draining


def test_a_drain_lets_running_jobs_end_and_results_be_taken_and_then_leaves() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    commands = h.feed(DrainWished(30.0, "SIGTERM"))
    assert [(d.deadline_s, d.reason) for d in sent(commands, Drain)] == [(30.0, "SIGTERM")]
    h.advance_answered(3)
    assert sent(h.assign("j2"), JobRefused)[0].code == "NODE_UNAVAILABLE"
    commands = h.end(1)
    assert not of(commands, Stopped), "the result is not taken yet"
    commands = h.say(h.lanes[0], NodeResultAck(number=1))
    assert sent(commands, Leave)
    assert set(closed(commands)) == {h.control, h.lanes[0]}
    assert of(commands, Stopped)


def test_an_idle_node_leaves_after_the_moment_in_which_jobs_may_be_on_their_way() -> None:
    h = AgentHarness()
    h.join()
    assert not of(h.feed(DrainWished()), Stopped)
    assert started(h.assign("j1")) == ["j1"]
    h.end(1)
    h.say(h.lanes[0], NodeResultAck(number=1))
    assert of(h.advance(0.3), Stopped)


def test_at_its_deadline_a_draining_node_stops_what_runs_and_leaves() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    h.feed(DrainWished(2.0))
    commands = h.advance(2.1)
    assert stopped(commands) == [1]
    assert sent(commands, Leave)
    assert of(commands, Stopped)
    assert not h.feed(JobEnded(run=1))


def test_a_node_that_drains_without_a_server_stops_at_once() -> None:
    h = AgentHarness()
    h.refuse_dials(h.feed())
    assert of(h.feed(DrainWished()), Stopped)


@pytest.mark.parametrize("deadline_s", [30.0, 0.0], ids=["drained", "interrupted"])
def test_a_node_that_goes_while_its_manager_restarts_says_so_when_that_is_back(
    deadline_s: float,
) -> None:
    """It went without a word, and without its key nobody could have its id again."""
    h = AgentHarness()
    h.join()
    commands = h.lose(h.control)
    assert not of(h.feed(DrainWished(deadline_s, "SIGTERM")), Stopped)
    assert started(h.assign("j1")) == ["j1"], "its lane is there, and jobs are on their way"
    h.end(1)
    h.say(h.lanes[0], NodeResultAck(number=1))
    commands = h.advance(0.5)
    h.dial(commands)
    commands = h.register(epoch=2, lanes_stay=True) + h.advance(0.3)
    assert [leave.reason for leave in sent(commands, Leave)] == ["SIGTERM"]
    assert of(commands, Stopped)


def test_a_node_that_lost_its_server_for_good_goes_all_the_same() -> None:
    h = AgentHarness()
    h.join()
    commands = h.lose(h.control) + h.feed(DrainWished())
    for _ in range(19):
        commands = h.refuse_dials(commands) + h.advance(0.1)
        assert not of(commands, Stopped)
    assert of(h.refuse_dials(commands) + h.advance(0.2), Stopped)


def test_a_manager_that_ends_while_a_node_drains_hears_that_it_leaves() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    h.feed(DrainWished(30.0, "SIGTERM"))
    h.advance_answered(3)
    commands = h.lose(h.control) + h.end(1)
    commands += h.say(h.lanes[0], NodeResultAck(number=1))
    assert not of(commands, Stopped)
    h.dial(h.advance(0.5))
    assert sent(h.register(epoch=2, lanes_stay=True), Leave)


def test_asked_a_second_time_a_node_waits_for_nobody() -> None:
    h = AgentHarness()
    h.join()
    h.lose(h.control)
    h.feed(DrainWished())
    assert of(h.feed(DrainWished(0.0)), Stopped)


def test_a_started_job_carries_its_body() -> None:
    h = AgentHarness()
    h.join()
    start = of(h.assign("j1", src_lang="en", attempt=2), StartJob)[0]
    assert (start.payload, start.assign.src_lang, start.assign.attempt) == (b"body", "en", 2)


def test_a_service_that_starts_while_the_node_registers_is_told_with_a_heartbeat() -> None:
    h = AgentHarness()
    off = [Service(id="nmt", kind="nmt", status="stopped")]
    dialling = h.feed(ServicesChanged(off))
    assert sent(h.dial(dialling), Register)[0].services == off
    running = [Service(id="nmt", kind="nmt")]
    h.feed(ServicesChanged(running))
    commands = h.register() + h.advance(2.2)
    told = [beat.services for beat in sent(commands, Heartbeat)]
    assert told == [running, None]


def test_a_lane_that_was_refused_waits_for_a_new_registration() -> None:
    """Each refusal put the registration off, and each lane dialled again before it came."""
    h = AgentHarness()
    h.dial(h.feed())
    h.register(worker_count=2)
    words = error_info(Code.UNAUTHORIZED, "register again")
    commands = [c for lane in (0, 1) for c in h.say(h.lanes[lane], Error(words))]
    commands += h.refuse_dials(commands)
    dials: list[Dial] = []
    for _ in range(100):
        commands = h.advance(0.1)
        dials += of(commands, Dial)
        h.refuse_dials(commands)
    assert len(dials) > 2
    assert {dial.preamble.role for dial in dials} == {Role.CONTROL}
    h.dial(h.advance(40))
    assert len(of(h.register(worker_count=2, epoch=2), Dial)) == 2


# ---- lanes that outlive their registration


def test_n9_lanes_stay_when_the_node_registers_anew_and_jobs_go_on() -> None:
    h = AgentHarness()
    h.join(worker_count=2)
    h.assign("j1")
    (run,) = h.core.jobs.running
    commands = h.come_back(epoch=2)
    assert not of(commands, Dial)
    assert not closed(commands)
    assert [o.epoch for o in sent(commands, LaneOpen)] == [2, 2]
    assert not sent(commands, LanesReady), "the workers have not said that they know"
    assert [m.number for m in sent(h.end(run), NodeResult)] == [1], "and jobs go on meanwhile"
    assert not sent(h.accept_lane(0), LanesReady)
    commands = h.accept_lane(1)
    assert len(sent(commands, LanesReady)) == 1
    assert not sent(commands, LaneReport), "what runs here the worker knows"


def test_a_lane_on_which_the_newer_ticket_is_not_answered_is_dialled_again() -> None:
    """N1: it may be half open."""
    h = AgentHarness()
    h.join(worker_count=2)
    h.come_back(epoch=2)
    h.accept_lane(0)
    half_open = h.lanes[1]
    assert not closed(h.advance(2))
    h.beat()
    commands = h.advance(3.1)
    assert closed(commands) == [half_open]
    assert [o.epoch for o in sent(h.dial(commands), LaneOpen)] == [2]
    commands = h.accept_lane(1)
    assert (len(sent(commands, LaneReport)), len(sent(commands, LanesReady))) == (1, 1)


@pytest.mark.parametrize("other", [{"row": 4}, {"generation": 2}, {"lanes_stay": False}])
def test_at_another_place_or_with_an_older_server_lanes_are_opened_anew(
    other: dict[str, int],
) -> None:
    h = AgentHarness()
    h.join()
    old = h.lanes[0]
    commands = h.come_back(epoch=2, **other)
    assert closed(commands) == [old]
    assert [d.preamble for d in of(commands, Dial)] == [Preamble(Role.LANE, 0)]

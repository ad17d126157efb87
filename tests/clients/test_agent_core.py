"""Stories of the node's core on a virtual clock: joining, jobs, results."""

from agent_harness import UID, AgentHarness, closed, first_frames, of, sent, started, stopped

from pointsman.node_core.events import (
    GiveUp,
    MeasureResources,
    PartialMade,
    PauseWished,
    ProgressMade,
    ResourcesMeasured,
    ServicesChanged,
    StateChanged,
    StoreEpoch,
    StoreIdentity,
)
from pointsman_wire.control_messages import (
    Heartbeat,
    HeartbeatAck,
    LanesReady,
    Register,
    Registered,
    Service,
)
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.lane_messages import (
    AssignAck,
    CancelJob,
    JobRefused,
    LanePing,
    LanePong,
    LaneReport,
    NodePartial,
    NodeProgress,
    NodeResult,
    NodeResultAck,
)
from pointsman_wire.link import Dial, Received, Send
from pointsman_wire.messages import Error, error_info
from pointsman_wire.preamble import Preamble, Role

# ---- joining


def test_a_node_registers_dials_every_lane_reports_and_then_says_that_it_is_ready() -> None:
    h = AgentHarness()
    commands = h.feed()
    assert of(commands, Dial) == [Dial(1, Preamble(Role.CONTROL, None))]
    assert of(commands, MeasureResources)
    assert [type(m) for m in sent(h.dial(commands), Register)] == [Register]

    commands = h.register(worker_count=2)
    assert [d.preamble for d in of(commands, Dial)] == [
        Preamble(Role.LANE, 0),
        Preamble(Role.LANE, 1),
    ]
    assert [o.ticket for o in first_frames(commands)] == [b"t", b"t"]

    commands = h.accept_lane(0, epoch=7)
    stored = commands.index(StoreEpoch(UID, 0, 7))
    reported = commands.index(Send(h.lanes[0], LaneReport()))
    assert stored < reported, "the epoch is on the disk before the report leaves"
    assert not sent(commands, LanesReady)
    commands = h.accept_lane(1, epoch=9)
    assert len(sent(commands, LanesReady)) == 1
    assert len(sent(commands, Heartbeat)) == 1


def test_a_new_key_is_stored_and_proves_the_id_at_the_next_registration() -> None:
    h = AgentHarness()
    h.dial(h.feed())
    commands = h.say(h.control, Registered(node_id="n1", key="secret", instance_uid=UID))
    assert StoreIdentity("n1", "secret") in commands
    h.lose(h.control)
    register = sent(h.dial(h.advance(1)), Register)[0]
    assert (register.node_id, register.key) == ("n1", "secret")


def test_a_known_epoch_is_not_stored_again() -> None:
    h = AgentHarness(epochs={(UID, 0): 5})
    h.dial(h.feed())
    h.register()
    assert not of(h.accept_lane(0, epoch=5), StoreEpoch)


def test_a_refusal_for_good_ends_the_node_with_the_servers_words() -> None:
    h = AgentHarness()
    h.dial(h.feed())
    info = error_info(Code.NODE_ID_CONFLICT, "the id has another key")
    commands = h.say(h.control, Error(info))
    assert of(commands, GiveUp) == [GiveUp(info)]
    assert closed(commands) == [h.control]
    assert h.core.next_deadline_ns() is None


def test_a_refusal_for_now_is_tried_again_after_the_time_that_the_server_names() -> None:
    h = AgentHarness()
    h.dial(h.feed())
    info = error_info(Code.SHUTTING_DOWN, "stopping", retry_after_ms=7000)
    commands = h.say(h.control, Error(info))
    assert closed(commands) == [h.control]
    assert not of(h.advance(6.9), Dial)
    assert len(of(h.advance(1.0), Dial)) == 1


def test_an_error_that_answers_one_message_does_not_end_a_known_node() -> None:
    h = AgentHarness()
    h.join()
    info = error_info(Code.INVALID_MESSAGE, "leave is not known here")
    commands = h.say(h.control, Error(info))
    assert not of(commands, GiveUp)
    assert not closed(commands)


def test_a_message_that_nobody_knows_is_answered_and_disturbs_nothing() -> None:
    h = AgentHarness()
    h.join()
    odd = Unreadable("hologram", "is not known here")
    for connection in (h.control, h.lanes[0]):
        commands = h.feed(Received(connection, [(odd, b"")]))
        assert sent(commands, Error)[0].error.code == "INVALID_MESSAGE"
        assert not closed(commands)
    assert started(h.assign("j1")) == ["j1"]


# ---- heartbeats


def test_heartbeats_come_at_the_interval_that_the_server_assigns() -> None:
    h = AgentHarness()
    h.join()
    h.feed(ResourcesMeasured(cpu_percent=12.5))
    first = sent(h.advance(1.01), Heartbeat)
    assert [b.cpu_percent for b in first] == [12.5]
    h.say(h.control, HeartbeatAck(number=1, heartbeat_interval_s=4.0))
    assert len(sent(h.advance(8), Heartbeat)) == 2


def test_a_heartbeat_tells_what_runs_and_once_what_changed() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    services = [Service(id="nmt", kind="nmt", status="error", reason="no model")]
    h.feed(ServicesChanged(services), ServicesChanged(services))
    beats = sent(h.advance(2.2), Heartbeat)
    assert [(b.running, b.services) for b in beats] == [(1, services), (1, None)]
    h.lose(h.control)
    assert sent(h.dial(h.advance(1)), Register)[0].services == services


def test_a_pause_is_told_at_once() -> None:
    h = AgentHarness()
    h.join()
    assert [b.pause for b in sent(h.feed(PauseWished(True)), Heartbeat)] == [True]
    assert not sent(h.feed(PauseWished(True)), Heartbeat)


def test_the_servers_view_of_the_state_is_told_when_it_changes() -> None:
    h = AgentHarness()
    h.join()
    assert of(h.beat(), StateChanged) == [StateChanged("ready")]
    assert not of(h.beat(), StateChanged)


# ---- jobs


def test_assignments_of_one_read_are_acknowledged_once() -> None:
    h = AgentHarness()
    h.join()
    commands = h.feed(h.assignment("j1"), h.assignment("j2"))
    assert started(commands) == ["j1", "j2"]
    assert sent(commands, AssignAck) == [AssignAck(number=2)]
    assert not sent(h.feed(), AssignAck)


def test_a_job_above_the_capacity_is_refused_with_node_overloaded() -> None:
    """I4: capacity is measured at the node."""
    h = AgentHarness(max_concurrency=2)
    h.join()
    commands = h.feed(h.assignment("j1"), h.assignment("j2"), h.assignment("j3", 9))
    refused = sent(commands, JobRefused)
    assert [(r.job_id, r.epoch, r.dispatch, r.code) for r in refused] == [
        ("j3", 5, 9, "NODE_OVERLOADED")
    ]
    assert started(commands) == ["j1", "j2"]
    h.end(1)
    assert started(h.assign("j4")) == ["j4"]


def test_a_stopping_job_keeps_its_slot_until_it_has_ended() -> None:
    h = AgentHarness(max_concurrency=1)
    h.join()
    h.assign("j1")
    commands = h.say(h.lanes[0], CancelJob(job_id="j1", epoch=5, dispatch=1))
    assert stopped(commands) == [1]
    assert not started(h.assign("j2"))
    result = sent(h.end(1, "failed"), NodeResult)[0]
    assert result.status == "cancelled"
    assert started(h.assign("j3")) == ["j3"]


def test_a_job_that_was_faster_than_its_cancellation_is_told_as_it_ended() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    h.say(h.lanes[0], CancelJob(job_id="j1", epoch=5, dispatch=1))
    assert sent(h.end(1), NodeResult)[0].status == "completed"


def test_cancelling_an_unknown_job_is_confirmed_and_keeps_it_from_starting() -> None:
    """I3: the order may have been on its way on a lane that broke, and what it ends comes later."""
    h = AgentHarness()
    h.join()
    commands = h.say(h.lanes[0], CancelJob(job_id="j9", epoch=5, dispatch=4))
    assert [(r.job_id, r.status) for r in sent(commands, NodeResult)] == [("j9", "cancelled")]
    assert not started(h.assign("j9", 4))


def test_the_same_fence_twice_starts_once() -> None:
    h = AgentHarness(max_concurrency=4)
    h.join()
    h.assign("j1")
    commands = h.assign("j1")
    assert not started(commands)
    assert not sent(commands, JobRefused)
    assert sent(commands, AssignAck) == [AssignAck(number=2)]
    h.end(1)
    h.say(h.lanes[0], NodeResultAck(number=1))
    assert not started(h.assign("j1"))


def test_an_older_fence_than_one_seen_is_refused() -> None:
    """I3: no older attempt starts after a newer one was seen here."""
    h = AgentHarness(max_concurrency=4)
    h.join()
    h.assign("j1", 7)
    refused = sent(h.assign("j1", 6), JobRefused)
    assert [(r.job_id, r.dispatch, r.code) for r in refused] == [("j1", 6, "STALE")]


def test_a_newer_fence_stops_the_older_run_and_starts_beside_it() -> None:
    h = AgentHarness(max_concurrency=2)
    h.join()
    h.assign("j1", 1)
    commands = h.assign("j1", 2)
    assert stopped(commands) == [1]
    assert started(commands) == ["j1"]
    assert [r.dispatch for r in sent(h.end(1, "failed"), NodeResult)] == [1]


def test_a_lane_with_an_older_epoch_than_one_seen_is_dropped() -> None:
    """I3: a worker that hung and was replaced gets no word in."""
    h = AgentHarness(epochs={(UID, 0): 5})
    h.dial(h.feed())
    h.register()
    commands = h.accept_lane(0, epoch=4)
    assert closed(commands) == [h.lanes[0]]
    assert not sent(commands, LaneReport)
    assert len(of(h.advance(0.2), Dial)) == 1


def test_a_gap_in_the_numbers_of_assignments_breaks_the_lane() -> None:
    h = AgentHarness()
    h.join()
    lost = h.assignment("j1")
    assert lost.frames
    commands = h.assign("j2")
    assert not started(commands)
    assert closed(commands) == [h.lanes[0]]


def test_an_assignment_that_cannot_be_read_breaks_the_lane_so_that_the_report_shows_it() -> None:
    h = AgentHarness()
    h.join()
    commands = h.feed(Received(h.lanes[0], [(Unreadable("assign", "odd"), b"")]))
    assert closed(commands) == [h.lanes[0]]


def test_a_ping_is_answered_with_the_last_assignment_read() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    commands = h.say(h.lanes[0], LanePing(number=3, last_assigned=2))
    assert sent(commands, LanePong) == [LanePong(number=3, last_read=1)]


def test_jobs_before_the_lane_is_accepted_are_answered_and_not_started() -> None:
    h = AgentHarness()
    h.dial(h.feed())
    h.register()
    commands = h.assign("j1")
    assert not started(commands)
    assert sent(commands, Error)


def test_partials_travel_numbered_to_those_who_listen_and_progress_always() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1", stream=True)
    h.assign("j2")
    commands = h.feed(
        PartialMade(1, b"a"), PartialMade(1, b"b"), PartialMade(2, b"c"), ProgressMade(2, 50.0)
    )
    assert [(p.job_id, p.seq) for p in sent(commands, NodePartial)] == [("j1", 0), ("j1", 1)]
    assert [(p.job_id, p.percent) for p in sent(commands, NodeProgress)] == [("j2", 50.0)]
    h.end(1)
    assert not sent(h.feed(PartialMade(1, b"late")), NodePartial)


# ---- results


def test_results_are_numbered_and_kept_until_they_are_acknowledged() -> None:
    h = AgentHarness()
    h.join()
    h.feed(h.assignment("j1"), h.assignment("j2"))
    assert [r.number for r in sent(h.end(2), NodeResult)] == [1]
    assert [r.number for r in sent(h.end(1), NodeResult)] == [2]
    assert len(h.core.jobs.held) == 2
    h.say(h.lanes[0], NodeResultAck(number=1))
    assert [held.run.fence.job_id for held in h.core.jobs.held.values()] == ["j1"]
    h.say(h.lanes[0], NodeResultAck(number=2))
    assert not h.core.jobs.held
    assert h.core.jobs.held_bytes == 0


def test_a_broken_lane_is_dialled_again_and_told_what_runs_and_what_is_held() -> None:
    h = AgentHarness(max_concurrency=3)
    h.join()
    h.assign("j1", tenant="t", session_id="s", request_id="r")
    h.assign("j2")
    h.lose(h.lanes[0])
    assert not sent(h.end(2), NodeResult), "held while there is no lane"
    assert first_frames(h.dial(h.advance(0.2)))
    commands = h.accept_lane(0, epoch=6)
    report = sent(commands, LaneReport)[0]
    assert [(f.job_id, f.epoch, f.request_id) for f in report.running] == [("j1", 5, "r")]
    assert [(f.job_id, f.epoch) for f in report.held] == [("j2", 5)]
    assert [(r.number, r.job_id, r.epoch) for r in sent(commands, NodeResult)] == [(1, "j2", 5)]
    assert not sent(commands, LanesReady), "told again only after a new registration"


def test_frames_of_a_connection_that_was_replaced_are_not_heard() -> None:
    h = AgentHarness()
    h.join()
    old = h.lanes[0]
    late = h.assignment("j1")
    h.lose(h.control)
    h.dial(h.advance(1))
    h.register(epoch=2)
    assert h.lanes[0] != old
    assert not started(h.feed(late))


def test_a_node_that_lost_its_control_connection_keeps_its_jobs_and_reports_them() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    h.lose(h.control)
    assert started(h.assign("j2")) == ["j2"], "the lane stands, the lease is young"
    h.dial(h.advance(1))
    commands = h.register(epoch=2)
    assert [o.epoch for o in first_frames(commands)] == [2]
    assert not stopped(commands)
    report = sent(h.accept_lane(0), LaneReport)[0]
    assert {f.job_id for f in report.running} == {"j1", "j2"}


def test_another_service_at_the_same_address_gets_none_of_the_old_ones_results() -> None:
    h = AgentHarness()
    h.join()
    h.feed(h.assignment("j1"), h.assignment("j2"))
    h.end(2)
    h.lose(h.control)
    h.dial(h.advance(1))
    commands = h.register(uid="uid-2")
    assert stopped(commands) == [1]
    report = sent(h.accept_lane(0, uid="uid-2", epoch=1), LaneReport)[0]
    assert report == LaneReport()
    assert not sent(h.end(1), NodeResult)
    assert not h.core.jobs.running

"""The node's lease: it comes to the server's conclusion about itself, and not later."""

from agent_harness import AgentHarness, S, closed, of, sent, started, stopped

from pointsman.node_core.events import DrainWished, Notice
from pointsman.node_core.lease import Lease
from pointsman_wire.control_messages import HeartbeatAck, Registered
from pointsman_wire.lane_messages import LanePing, LaneReport
from pointsman_wire.link import Dial, LoopWasLate
from pointsman_wire.preamble import Role

MS = 1_000_000


def standing() -> Lease:
    lease = Lease()
    lease.stand(0, 5 * S)
    return lease


def test_n2_an_answer_renews_from_when_its_heartbeat_was_sent_not_from_when_it_came() -> None:
    """The answer may have been under way for long; the server counts from the heartbeat."""
    lease = standing()
    lease.sent(1 * S, 1)
    lease.sent(2 * S, 2)
    lease.answered(1)
    assert lease.deadline_ns() == 6 * S
    lease.answered(1)
    assert lease.deadline_ns() == 6 * S, "said twice"
    lease.answered(2)
    assert lease.deadline_ns() == 7 * S
    assert not lease.is_over(7 * S - 1)
    assert lease.is_over(7 * S)


def test_n2_without_a_registration_a_host_that_answers_keeps_it() -> None:
    lease = standing()
    lease.fall()
    assert lease.deadline_ns() is None
    lease.host_is_silent()
    assert lease.deadline_ns() == 5 * S
    lease.host_answers(4 * S)
    assert not lease.is_over(100 * S)
    lease.host_is_silent()
    assert lease.deadline_ns() == 9 * S


def test_a_lease_that_lapsed_is_over_once_and_returns_with_a_registration() -> None:
    lease = standing()
    assert not Lease().is_over(100 * S), "it never had one"
    lease.lapse()
    assert not lease.is_over(100 * S)
    lease.answered(1)
    assert lease.deadline_ns() is None
    lease.stand(100 * S, 5 * S)
    assert lease.is_over(105 * S)


def test_n2_one_way_loss_what_arrives_when_the_way_is_free_again_is_not_started() -> None:
    """The node is heard and hears nothing; its lane brings old assignments when that ends."""
    h = AgentHarness()
    h.join()
    lane = h.lanes[0]
    commands = h.advance(4.6)
    assert h.control in closed(commands), "a silent server is left an interval before"
    h.refuse_dials(commands)
    late = [h.assignment("j1"), h.assignment("j2")]
    h.now_ns += S
    commands = h.feed(*late)
    assert lane in closed(commands)
    assert not started(commands)
    assert [notice.text for notice in of(commands, Notice)]


def test_n2_what_runs_goes_on_and_is_reported_on_the_lane_that_is_opened_anew() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    commands = h.lose(h.control)
    for _ in range(60):
        dials = of(commands, Dial)
        lanes = [dial for dial in dials if dial.preamble.role is Role.LANE]
        if lanes:
            break
        commands = h.refuse_dials(commands) + h.advance(0.1)
    assert not stopped(commands)
    h.dial(lanes)
    (report,) = sent(h.accept_lane(), LaneReport)
    assert [fence.job_id for fence in report.running] == ["j1"]
    assert started(h.assign("j2")) == ["j2"], "worker and node agree again on what runs"


def test_a_node_whose_dials_fail_goes_on_while_a_worker_is_heard() -> None:
    """N9: in a storm of reconnects a dial may time out; the pings of busy lanes tell better."""
    h = AgentHarness(max_concurrency=100)
    h.join()
    commands = h.lose(h.control)
    for second in range(30):
        commands = h.refuse_dials(commands) + h.advance(1.0)
        commands += h.say(h.lanes[0], LanePing(number=second + 1))
        assert started(h.assign(f"j{second}")) == [f"j{second}"]


def test_the_span_is_the_servers_and_follows_its_interval() -> None:
    h = AgentHarness()
    h.dial(h.feed())
    registered = Registered(
        node_id="n1", worker_count=1, heartbeat_interval_s=1.0, offline_intervals=3
    )
    h.dial(h.say(h.control, registered))
    h.accept_lane()
    h.advance(1.0)
    h.say(h.control, HeartbeatAck(number=h.heartbeats, heartbeat_interval_s=2.0))
    lane = h.lanes[0]
    commands = h.advance(2.0)
    assert lane not in closed(commands), "three intervals of two seconds"
    dropped = []
    for _ in range(50):
        commands = h.refuse_dials(commands) + h.advance(0.1)
        dropped += closed(commands)
    assert lane in dropped


def test_t28_a_server_that_names_no_span_is_believed_for_five_intervals() -> None:
    assert Registered().offline_intervals == 5


def test_c2_the_deadline_of_a_drain_moves_by_what_the_machine_slept() -> None:
    h = AgentHarness()
    h.join()
    h.assign("j1")
    h.feed(DrainWished(10.0))
    h.now_ns += 60 * S
    assert not stopped(h.feed(LoopWasLate(60 * S)))
    assert not stopped(h.advance(9.0))
    assert stopped(h.advance(1.5)) == [1]

"""What clients and nodes do when their service stops: its own place first, then another one."""

from typing import Any

import pytest
from agent_harness import AgentHarness
from agent_harness import started as jobs_started
from client_harness import ClientHarness

from pointsman.node_core.events import GiveUp
from pointsman.secure.elsewhere import ALTERNATIVES_MAX, ELSEWHERE_MAX_S, sound
from pointsman.session_core.events import SessionEnded
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import LaneGoingAway, LaneReport
from pointsman_wire.link import Dial, Send
from pointsman_wire.messages import Error, error_info
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import GoingAway, Moved, Submit

ELSEWHERE_S = GoingAway().elsewhere_after_ms / 1e3
OTHERS = ["b.example:7400", "c.example:7400"]
NO = Error(error_info(Code.UNAUTHORIZED, "not here"), ref=1)


def dials(commands: list[Any], role: Role) -> list[Dial]:
    return [c for c in commands if isinstance(c, Dial) and c.preamble.role is role]


def next_dials(h: ClientHarness | AgentHarness, role: Role) -> list[Dial]:
    """Let time pass until that is dialled; who waits longer than the back-off's cap never does."""
    for _ in range(400):
        if found := dials(h.advance(0.1), role):
            return found
    raise AssertionError(f"no {role} was dialled")


def refused(h: ClientHarness | AgentHarness, seconds: float, role: Role) -> list[str]:
    """Let everything that is dialled in this time be refused; return where that was."""
    places = []
    for _ in range(int(seconds * 10)):
        commands = h.advance(0.1)
        h.refuse_dials(commands)
        places += [dial.address for dial in dials(commands, role)]
    return places


def gone_client(*others: str, after_ms: int = 10_000) -> ClientHarness:
    """Return a client whose worker named others and is gone."""
    h = ClientHarness()
    h.open()
    going = GoingAway(reconnect_after_ms=500, alternatives=[*others], elsewhere_after_ms=after_ms)
    h.say(going)
    h.lose()
    return h


def test_a_session_dials_its_own_place_alone_until_the_wait_is_over_and_then_the_others_too() -> (
    None
):
    """P13: a rolling restart moves nobody; a service that stays away does."""
    h = gone_client(*OTHERS)
    first = refused(h, ELSEWHERE_S, Role.SESSION)
    assert len(first) > 2
    assert set(first) == {""}
    assert set(refused(h, 120, Role.SESSION)) == {"", *OTHERS}


def test_from_a_service_that_is_drained_a_session_goes_elsewhere_at_once() -> None:
    assert next_dials(gone_client(*OTHERS, after_ms=0), Role.SESSION)[0].address == OTHERS[0]


def test_a_worker_cannot_have_a_session_wait_for_ever_for_its_own_place() -> None:
    h = gone_client(*OTHERS, after_ms=2**62)
    assert set(refused(h, ELSEWHERE_MAX_S, Role.SESSION)) == {""}
    assert set(refused(h, 120, Role.SESSION)) == {"", *OTHERS}


def test_without_alternatives_a_session_goes_nowhere_else() -> None:
    assert set(refused(gone_client(), 120, Role.SESSION)) == {""}


def test_a_session_stays_where_it_was_let_in_and_brings_its_requests_along() -> None:
    """I1: what was not answered is submitted again under the same id; the rest follows it."""
    h = gone_client(OTHERS[0])
    h.submit("r-1")
    refused(h, ELSEWHERE_S, Role.SESSION)
    (there,) = next_dials(h, Role.SESSION)
    assert there.address == OTHERS[0]
    h.dial([there])
    commands = h.accept(resumed=False)
    ids = [
        c.message.request_id
        for c in commands
        if isinstance(c, Send) and c.message.__class__ is Submit
    ]
    assert ids == ["r-1"]
    h.lose()
    assert next_dials(h, Role.SESSION)[0].address == OTHERS[0]


def test_a_worker_of_the_other_instance_may_send_the_session_to_its_neighbour() -> None:
    h = gone_client(OTHERS[0])
    refused(h, ELSEWHERE_S, Role.SESSION)
    h.dial(next_dials(h, Role.SESSION))
    (dial,) = dials(h.say(Moved(ref=1, shard=1, worker_count=2, session_id="s-1")), Role.SESSION)
    assert dial.address == OTHERS[0]


def test_the_no_of_an_alternative_does_not_end_a_session() -> None:
    h = gone_client(OTHERS[0])
    refused(h, ELSEWHERE_S, Role.SESSION)
    h.dial(next_dials(h, Role.SESSION))
    commands = h.say(NO)
    assert not [c for c in commands if isinstance(c, SessionEnded)]
    (own,) = next_dials(h, Role.SESSION)
    assert own.address == ""
    h.dial([own])
    assert [c for c in h.say(NO) if isinstance(c, SessionEnded)]


def node_at_work(after_ms: int = 10_000) -> AgentHarness:
    """Return a node that runs job-1 and was told that its worker is stopping."""
    h = AgentHarness()
    h.join()
    assert jobs_started(h.assign("job-1")) == ["job-1"]
    going = LaneGoingAway(reconnect_after_ms=500, alternatives=OTHERS, elsewhere_after_ms=after_ms)
    h.say(h.lanes[0], going)
    return h


def test_a_node_that_was_told_goes_on_with_its_jobs_and_dials_the_worker_again_calmly() -> None:
    """I2, P13: the lane carries until it ends; what runs is in the report to the successor."""
    h = node_at_work()
    assert jobs_started(h.assign("job-2")) == ["job-2"], "the lane still stands"
    h.lose(h.lanes[0])
    assert not dials(h.advance(0.5), Role.LANE)
    (dial,) = dials(h.advance(0.1), Role.LANE)
    assert dial.address == ""
    h.dial([dial])
    commands = h.accept_lane(epoch=6)
    (report,) = [
        c.message for c in commands if isinstance(c, Send) and isinstance(c.message, LaneReport)
    ]
    assert {fence.job_id for fence in report.running} == {"job-1", "job-2"}


def test_an_end_that_was_told_counts_as_no_failure_of_a_lane() -> None:
    """P13: it is dialled as after a first loss, though others came before."""
    h = AgentHarness()
    h.join()
    for _ in range(8):
        h.lose(h.lanes[0])
        h.dial(next_dials(h, Role.LANE))
        h.accept_lane()
    h.say(h.lanes[0], LaneGoingAway(reconnect_after_ms=500))
    h.lose(h.lanes[0])
    assert dials(h.advance(0.6), Role.LANE)


def test_a_node_whose_whole_service_stops_registers_at_another_one_after_the_wait() -> None:
    h = node_at_work()
    h.lose(h.lanes[0])
    h.lose(h.control)
    assert set(refused(h, ELSEWHERE_S, Role.CONTROL)) == {""}
    (there,) = next_dials(h, Role.CONTROL)
    assert there.address == OTHERS[0]
    h.dial([there])
    (lane,) = dials(h.register(uid="uid-b"), Role.LANE)
    assert lane.address == OTHERS[0]


def test_a_node_of_a_drained_service_that_stops_goes_elsewhere_at_once() -> None:
    h = node_at_work(after_ms=0)
    h.lose(h.lanes[0])
    h.lose(h.control)
    assert next_dials(h, Role.CONTROL)[0].address == OTHERS[0]


def test_the_no_of_an_alternative_does_not_end_a_node() -> None:
    h = node_at_work()
    h.lose(h.lanes[0])
    h.lose(h.control)
    refused(h, ELSEWHERE_S, Role.CONTROL)
    h.dial(next_dials(h, Role.CONTROL))
    no = Error(error_info(Code.UNAUTHORIZED, "not here"))
    assert not [c for c in h.say(h.control, no) if isinstance(c, GiveUp)]
    assert next_dials(h, Role.CONTROL)[0].address == OTHERS[1]


def test_a_worker_that_is_back_makes_what_it_had_named_forgotten() -> None:
    """P13: one worker after another; a later loss has nothing to do with that."""
    h = node_at_work()
    h.lose(h.lanes[0])
    h.dial(next_dials(h, Role.LANE))
    h.accept_lane(epoch=6)
    h.lose(h.control)
    assert set(refused(h, 60, Role.CONTROL)) == {""}


@pytest.mark.parametrize(
    "place",
    ["", "b", "b:", "b:0", "b:65536", "b:7 ", "tls://b:1", "b/x:1", "u@b:1", "[b]:1", "b\n:1"],
)
def test_what_is_no_host_and_port_is_not_dialled(place: str) -> None:
    assert sound([place]) == ()


def test_alternatives_are_bounded_and_each_is_named_once() -> None:
    many = [f"10.0.0.{n}:7400" for n in range(1, 100)]
    assert sound([many[0], *many]) == (*many[:ALTERNATIVES_MAX],)
    assert sound(["[::1]:7400", "host-1.example:1"]) == ("[::1]:7400", "host-1.example:1")

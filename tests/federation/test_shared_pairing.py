"""Pairing codes of a fleet: issued at one instance, good at any, for one session (E3)."""

from federation.many_instances import Core, Instances
from manager_harness import SECOND, registration

from pointsman_sched.core.events import Answer, PairOrdered, TellWorker, WorkerSaid
from pointsman_sched.core.federation.shared_pairing import PENDING_MAX
from pointsman_shm.uplink import PairingAnswered, PairingAsked
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import PairingCode


def fleet_with_a_node() -> Instances:
    """Two instances, a node at the first."""
    fleet = Instances("a", "b")
    fleet["a"].make_ready(registration("n1"))
    fleet.advance(3 * SECOND)
    return fleet


def ordered(fleet: Instances, name: str, node_id: str = "n1") -> PairingCode | Error:
    """What an operator is told who orders a code there."""
    core = fleet[name]
    core.feed(PairOrdered(ticket=1, node_id=node_id))
    while not (told := [c.message for c in core.commands if isinstance(c, Answer)]):
        assert core.meet(fleet.store)
    (answer,) = told
    assert isinstance(answer, PairingCode | Error)
    return answer


def issued(fleet: Instances, name: str) -> str:
    answer = ordered(fleet, name)
    assert isinstance(answer, PairingCode), answer
    return answer.code


def shown(fleet: Instances, name: str, code: str, session: str = "s-1") -> PairingAnswered:
    """What a worker of an instance is told about a session that comes with a code."""
    core = fleet[name]
    asked = PairingAsked(number=7, code=code, tenant="", session_id=session, address="10.0.0.1")
    core.feed(WorkerSaid(1, asked))
    while not (told := answers(core)):
        assert core.meet(fleet.store)
    (answer,) = told
    assert answer.number == 7
    return answer


def answers(core: Core) -> list[PairingAnswered]:
    told = [c.message for c in core.commands if isinstance(c, TellWorker)]
    return [message for message in told if isinstance(message, PairingAnswered)]


def test_a_code_that_one_instance_issued_pairs_a_session_of_another() -> None:
    fleet = fleet_with_a_node()
    code = issued(fleet, "a")
    assert shown(fleet, "b", code.lower()).node_id == "n1"
    assert shown(fleet, "a", code).node_id == "n1", "its client has moved"
    for name in ("a", "b"):
        assert shown(fleet, name, code, "s-2").code == Code.INVALID_PAIRING_CODE


def test_a_code_can_be_ordered_for_a_node_of_another_instance() -> None:
    fleet = fleet_with_a_node()
    assert shown(fleet, "a", issued(fleet, "b")).node_id == "n1"
    answer = ordered_unknown(fleet)
    assert answer.error.code == Code.NOT_FOUND


def ordered_unknown(fleet: Instances) -> Error:
    answer = ordered(fleet, "b", "nobody")
    assert isinstance(answer, Error)
    return answer


def test_while_the_store_is_away_who_asks_is_told_to_try_again() -> None:
    fleet = fleet_with_a_node()
    code, other = issued(fleet, "a"), issued(fleet, "a")
    assert shown(fleet, "a", code).node_id == "n1"
    fleet.store.down.add("a")
    answer = shown(fleet, "a", other, "s-2")
    assert (answer.code, bool(answer.retry_after_ms)) == (Code.STALE, True)
    refusal = ordered(fleet, "a")
    assert isinstance(refusal, Error)
    assert refusal.error.code == Code.SCHEDULER_DEPENDENCY_DOWN
    assert shown(fleet, "a", code).node_id == "n1", "its own sessions are known without it"
    fleet.store.down.clear()
    assert shown(fleet, "a", other, "s-2").node_id == "n1"


def test_what_the_store_never_answers_is_bounded() -> None:
    fleet = fleet_with_a_node()
    core = fleet["b"]
    for number in range(PENDING_MAX + 10):
        asked = PairingAsked(number=number, code="7K3M-9QX2", tenant="", session_id=f"s-{number}")
        core.feed(WorkerSaid(0, asked))
    assert core.core.state.federation is not None
    assert len(core.core.state.federation.pairing._asked) == PENDING_MAX

"""Stories of slots that a home offers: each is used once, or given to the next."""

from several import MILLISECOND_NS, Instance, Several
from worker_harness import Node

from pointsman_shm.memory.rows import NodeState
from pointsman_wire.coordination.instance_messages import ForNode, Offer, OfferDeclined
from pointsman_wire.lane_messages import Assign
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import SendInstance

LONG_S = 3_600.0
WAY_MS = 30


def busy_at_a(slots: int, *, workers: int = 1) -> tuple[Several, Node, list[Assign]]:
    """A's node has its slots full of A's own jobs; what instances tell each other takes a while."""
    instances = Several("A", "B", workers=workers)
    if workers > 1:
        instances.second("A")
    instances.node(3, "A", slots=slots)
    own = instances["A"].open_session()
    for number in range(slots):
        own.submit(f"a-{number}", timeout_s=LONG_S)
    node = instances["A"].node(3)
    running = node.assignments()
    assert len(running) == slots
    instances.way_ns = WAY_MS * MILLISECOND_NS
    return instances, node, running


def said(instance: Instance, kind: type) -> list[object]:
    """What it has told other instances, of one type."""
    told = [c.message for c in instance.commands if isinstance(c, SendInstance)]
    return [message for message in told if isinstance(message, kind)]


def asked(instance: Instance) -> list[str]:
    """The jobs that it has sent to nodes of others, as often as it has."""
    told = [message for message in said(instance, ForNode) if isinstance(message, ForNode)]
    return [message.frame.request_id for message in told if isinstance(message.frame, Assign)]


def until_asked(instances: Several, count: int) -> None:
    """Let B ask so many times."""
    for _ in range(500):
        if len(asked(instances["B"])) >= count:
            return
        instances.run(0.01)
    raise AssertionError(asked(instances["B"]))


def test_an_assignment_under_way_takes_the_offer_that_it_meets_and_no_other_is_sent() -> None:
    """The offer has crossed the assignment: each believes that it spoke first."""
    instances, node, running = busy_at_a(2)
    there = instances["B"].open_session()
    there.submit("b-0", wait_busy_s=LONG_S)
    instances.run(1.0)
    until_asked(instances, len(asked(instances["B"])) + 1)
    node.end(running.pop())
    instances.carry()
    assert len(said(instances["A"], Offer)) == 1
    before = asked(instances["B"])
    instances.run(0.005 * WAY_MS)
    assert [job.request_id for job in node.assignments()] == ["b-0"]
    assert asked(instances["B"]) == before, "none was sent for the offer"
    assert not said(instances["B"], OfferDeclined)
    assert instances["A"].held(3) == 2


def test_all_slots_that_one_step_frees_are_offered_and_those_without_use_come_back() -> None:
    """B has one job left when it hears of three slots: it uses one, and A's own jobs have two."""
    instances, node, running = busy_at_a(3)
    there = instances["B"].open_session()
    for number in range(3):
        there.submit(f"b-{number}", wait_busy_s=LONG_S)
    instances.run(0.3)
    node.end_together(running)
    assert len(said(instances["A"], Offer)) == 3
    own = instances["A"].open_session()
    for number in range(3, 6):
        own.submit(f"a-{number}", wait_busy_s=LONG_S, timeout_s=LONG_S)
    there.cancel("b-0")
    there.cancel("b-2")
    instances.run(0.005 * WAY_MS)
    given = node.assignments()
    assert sorted(job.request_id for job in given) == ["a-3", "a-4", "b-1"]
    assert len(said(instances["B"], OfferDeclined)) == 2
    assert instances["A"].held(3) == 3
    node.end_together(given)
    instances.run(0.3)
    assert [job.request_id for job in node.assignments()] == ["a-5"]
    assert [result.status for result in there.all(Result)].count("completed") == 1


def takes_jobs(instances: Several, home: str, *, is_so: bool) -> None:
    """Drain the node of that home, or not any more: others hear of it later."""
    state = NodeState.READY if is_so else NodeState.DRAINING
    instances.hosts[home].stand(3, state=state)


def test_i8_a_drained_node_gets_nothing_of_others_on_a_slot_that_they_were_offered_before() -> None:
    """Who was offered a slot does not know yet that the node is to get nothing any more."""
    instances, node, running = busy_at_a(1)
    there = instances["B"].open_session()
    there.submit("b-0", wait_busy_s=LONG_S)
    instances.run(0.3)
    node.end(running.pop())
    instances.carry()
    assert len(said(instances["A"], Offer)) == 1
    takes_jobs(instances, "A", is_so=False)
    instances.run(5.0)
    assert not node.assignments()
    assert instances["A"].held(3) == 0
    takes_jobs(instances, "A", is_so=True)
    instances.run(5.0)
    assert node.assignment().request_id == "b-0"


def test_i8_slots_of_a_drained_node_are_offered_to_nobody() -> None:
    instances, node, running = busy_at_a(1)
    there = instances["B"].open_session()
    there.submit("b-0", wait_busy_s=LONG_S)
    instances.run(0.3)
    takes_jobs(instances, "A", is_so=False)
    node.end(running.pop())
    instances.run(5.0)
    assert not said(instances["A"], Offer)
    assert not node.assignments()


def test_who_stands_behind_others_at_the_borrower_has_its_turn_at_the_home() -> None:
    """Others have all that B asks, and stand before it there; the home's order is another one."""
    instances, node, running = busy_at_a(2)
    first, own = instances["B"].open_session(tenant="first"), instances["A"].open_session()
    for number in range(100):
        first.submit(f"first-{number}", wait_busy_s=LONG_S)
        own.submit(f"a-{10 + number}", wait_busy_s=LONG_S)
    instances.run(1.0)
    instances["B"].open_session(tenant="late").submit("late", wait_busy_s=LONG_S)
    served: list[str] = []
    while "late" not in served:
        assert len(served) < 30, served
        node.end_together(running)
        instances.run(0.2)
        running = node.assignments()
        served += [job.request_id for job in running]
    assert any(name.startswith("first") for name in served), served


def test_an_offer_that_was_not_heard_of_is_the_nodes_again_when_the_link_is_opened_anew() -> None:
    """R12: what stands in the ledger for nobody would be lost for good."""
    instances, node, running = busy_at_a(1)
    there = instances["B"].open_session()
    there.submit("b-0", wait_busy_s=LONG_S)
    instances.run(0.3)
    instances.kill("B")
    node.end_together(running)
    assert instances["A"].held(3) == 1
    instances.start("B", epoch=2)
    instances.run(0.2)
    assert instances["A"].held(3) == 0


def test_a_slot_that_nobody_takes_in_his_turn_is_offered_to_who_can_use_it() -> None:
    """A job of A's second worker stands before all others, and must not go to this node."""
    instances, node, running = busy_at_a(1, workers=2)
    instances.seconds["A"].open_session().submit(
        "a-9", wait_busy_s=LONG_S, exclude=["node-3"], priority="interactive"
    )
    there = instances["B"].open_session()
    there.submit("b-0", wait_busy_s=LONG_S)
    instances.run(0.5)
    node.end_together(running)
    instances.run(1.0)
    assert [job.request_id for job in node.assignments()] == ["b-0"]

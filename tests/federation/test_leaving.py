"""A service that stops says so: others react at once, and its name is free."""

import msgspec
from federation.many_instances import Core, Instances, others, shown
from manager_harness import MS, SECOND, registration

from pointsman_sched.core.events import Stopped, StopWished, WorkerGone
from pointsman_shm.memory.rows import NodeState
from pointsman_shm.snapshot.records import InstanceRecord
from pointsman_shm.uplink import Alternatives, NameHeld
from pointsman_wire.coordination.fleet_requests import FleetAsk, FleetLeave


def ends(core: Core, within_ns: int = 2 * SECOND) -> bool:
    """Let time pass for one core alone, whose store does not answer; does it end?"""
    end_ns = core.now_ns + within_ns
    while core.now_ns < end_ns:
        if any(isinstance(command, Stopped) for command in core.feed()):
            return True
        core.now_ns += 100 * MS
    return False


def test_the_nodes_of_a_service_that_stops_are_offline_at_the_others_at_once() -> None:
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    fleet.beat(("a", node), seconds=3)
    assert fleet.store.leader == "a"
    fleet["a"].feed(StopWished())
    while fleet["a"].meet(fleet.store):
        pass
    assert any(isinstance(command, Stopped) for command in fleet["a"].commands)
    fleet.frozen.add("a")
    fleet.advance(2 * SECOND)
    assert shown(fleet["b"], "n1") is NodeState.OFFLINE
    assert others(fleet["b"]) == (InstanceRecord("a", "uid-a", 2, False),)
    assert "instance a has stopped: its 1 nodes are Offline here" in fleet["b"].alarms
    assert fleet.store.leader == "b"
    assert fleet["b"].core.state.federation is not None
    assert fleet["b"].core.state.federation.living_count == 1


def test_a_service_that_comes_back_is_met_anew() -> None:
    fleet = Instances("a", "b")
    fleet.advance(2 * SECOND)
    fleet["a"].feed(StopWished())
    while fleet["a"].meet(fleet.store):
        pass
    fleet["a"].start()
    node = fleet["a"].make_ready(registration("n2"))
    fleet.beat(("a", node), seconds=4)
    assert shown(fleet["b"], "n2") is NodeState.READY
    assert others(fleet["b"])[0].alive
    fleet.join("c")
    fleet.advance(2 * SECOND)
    assert [record.alive for record in others(fleet["c"])] == [True, True]


def test_a_manager_that_ends_without_its_workers_says_nothing() -> None:
    """A successor follows: nobody is to take its nodes for gone meanwhile."""
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    fleet["a"].worker_arrives(0)
    fleet.beat(("a", node), seconds=3)
    fleet["a"].feed(StopWished())
    assert ends(fleet["a"])
    assert not any(isinstance(wish, FleetLeave) for wish in fleet["a"].wishes)
    fleet.frozen.add("a")
    fleet.advance(3 * SECOND)
    assert shown(fleet["b"], "n1") is NodeState.READY


def test_the_end_of_the_last_worker_may_come_after_the_order_to_stop() -> None:
    core = Core(None, "a")
    core.worker_arrives(1)
    core.feed()
    (ask,) = core.wishes
    assert isinstance(ask, FleetAsk)
    core.feed(StopWished())
    core.now_ns += 50 * MS
    core.feed(WorkerGone(1))
    assert core.wishes == [ask], "what is under way is answered first"
    store = Instances().store
    while core.meet(store):
        pass
    assert any(isinstance(command, Stopped) for command in core.commands)
    assert "a" not in store.holders


def test_a_store_that_does_not_answer_holds_no_manager_up() -> None:
    core = Core(None, "a")
    core.feed()
    core.feed(StopWished())
    assert ends(core)


def test_no_last_word_is_taken_of_who_has_been_replaced() -> None:
    fleet = Instances("a", "b")
    fleet.advance(2 * SECOND)
    fleet["a"].feed(StopWished())
    (word,) = [wish for wish in fleet["a"].wishes if isinstance(wish, FleetLeave)]
    fleet["b"].core.state.federation.neighbours.by_name["a"].uid = "successor"  # type: ignore[union-attr]
    fleet["b"].core.state.federation.neighbours.heard(  # type: ignore[union-attr]
        fleet["b"].core.state, {"a": word.presence}, {}
    )
    assert others(fleet["b"])[0].alive


def test_workers_are_told_whose_the_name_is_whenever_that_changes() -> None:
    """P8: who has lost it reads nothing that is sent to it, until the other one is gone."""
    fleet = Instances("a", "b")
    core, store = fleet["a"], fleet.store
    said: list[bool] = []
    feed = core.feed

    def watched(*events: object) -> list[object]:
        commands = feed(*events)
        messages = [getattr(command, "message", None) for command in commands]
        said.extend(m.is_ours for m in messages if isinstance(m, NameHeld))
        return commands

    core.feed = watched  # type: ignore[method-assign]
    core.worker_arrives(0)
    fleet.advance(3 * SECOND)
    assert said in ([True], [False, True])
    said.clear()
    for holder, is_ours in (("another", False), ("uid-a", True)):
        store.holders["a"] = holder
        fleet.advance(3 * SECOND)
        assert said == [is_ours]
        core.worker_arrives(1)
        assert said == [is_ours, is_ours], "a worker that comes later knows it, too"
        said.clear()
    assert len([words for words in core.alarms if "give one of them another name" in words]) == 2


def told(core: Core) -> Alternatives:
    """What is a worker told that comes now?"""
    messages = [c.message for c in core.worker_arrives(0) if hasattr(c, "message")]
    (message,) = [message for message in messages if isinstance(message, Alternatives)]
    return message


def test_workers_know_where_the_other_living_instances_let_in() -> None:
    """P13: as presence says it; alone there is nobody to name, and who has stopped is not named."""
    fleet = Instances("a", "b", "c")
    for name, core in fleet.cores.items():
        setup = core.core.state.setup
        core.core.state.setup = msgspec.structs.replace(setup, advertised=f"{name}.example:7400")
    assert told(fleet["a"]) == Alternatives()
    fleet.advance(3 * SECOND)
    assert told(fleet["a"]).plain == ("b.example:7400", "c.example:7400")
    assert told(fleet["b"]).plain == ("c.example:7400", "a.example:7400")
    fleet["c"].feed(StopWished())
    while fleet["c"].meet(fleet.store):
        pass
    fleet.frozen.add("c")
    fleet["a"].commands.clear()
    fleet.advance(2 * SECOND)
    assert told(fleet["a"]).plain == ("b.example:7400",)

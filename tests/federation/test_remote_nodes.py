"""Nodes of one instance in the catalog of another: taken, changed, moved, lost."""

from manager_harness import SECOND, config_with, registration
from many_instances import Core, Instances, others, record, shown

from pointsman_shm.memory.rows import NodeState, RowFlag, unpack_load, unpack_standing
from pointsman_shm.snapshot.records import InstanceRecord
from pointsman_wire.control_messages import Drain


def test_a_node_of_one_instance_is_ready_in_the_catalog_of_the_other() -> None:
    fleet = Instances("a", "b")
    fleet["a"].make_ready(registration("n1", max_concurrency=7))
    fleet.advance(3 * SECOND)
    found = record(fleet["b"], "n1")
    assert found is not None
    assert (found.instance, found.slots_max) == ("a", 7)
    standing = unpack_standing(fleet["b"].memory.rows.standing[found.row])
    assert standing.state is NodeState.READY
    assert standing.flags & RowFlag.REMOTE
    assert standing.slots_max == 7
    assert others(fleet["b"]) == (InstanceRecord("a", "uid-a", 2, True),)
    own = record(fleet["a"], "n1")
    assert own is not None
    assert own.instance == ""


def test_states_and_loads_of_a_remote_node_are_shown_as_they_are_told() -> None:
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    fleet.advance(2 * SECOND)
    fleet["a"].beat(node, cpu_percent=33.0, running=3)
    fleet.advance(2 * SECOND)
    found = record(fleet["b"], "n1")
    assert found is not None
    load = unpack_load(fleet["b"].memory.rows.load[found.row])
    assert (load.cpu, load.foreign) == (33, 3)
    fleet["a"].say(node, Drain(deadline_s=60.0))
    fleet.advance(2 * SECOND)
    assert shown(fleet["b"], "n1") is NodeState.DRAINING


def test_a_node_that_ends_at_its_instance_is_offline_at_the_others() -> None:
    fleet = Instances("a", "b")
    fleet["a"].make_ready(registration("n1"))
    fleet.advance(2 * SECOND)
    fleet.advance(8 * SECOND)  # it never beats again
    assert shown(fleet["a"], "n1") is NodeState.OFFLINE
    assert shown(fleet["b"], "n1") is NodeState.OFFLINE


def test_an_instance_that_falls_silent_lapses_after_its_presence() -> None:
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    fleet.beat(("a", node), seconds=3)
    fleet.frozen.add("a")
    fleet.advance(25 * SECOND)
    assert shown(fleet["b"], "n1") is NodeState.READY
    fleet.advance(8 * SECOND)
    assert shown(fleet["b"], "n1") is NodeState.OFFLINE
    assert others(fleet["b"]) == (InstanceRecord("a", "uid-a", 2, False),)
    assert any("not heard for 30 s" in words for words in fleet["b"].alarms)


def test_own_nodes_are_taken_where_remote_ones_fill_the_catalog() -> None:
    fleet = Instances("a", "b")
    fleet.cores["b"] = Core(config_with(max_nodes=10), "b")
    for number in range(20):
        fleet["a"].make_ready(registration(f"n{number:02}"))
    fleet.advance(3 * SECOND)
    remote = fleet["b"].core.state.nodes.remote
    assert len(remote) == 9, "a tenth of the rows stays free"
    assert any("11 nodes of other instances" in words for words in fleet["b"].alarms)
    fleet["b"].make_ready(registration("own-1"))
    fleet["b"].join(registration("own-2"))
    assert fleet["b"].refusal()[0] == "FLEET_FULL"
    fleet.advance(SECOND)
    fleet["b"].make_ready(registration("own-2"))
    assert fleet["b"].state("own-2") is NodeState.READY

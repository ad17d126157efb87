"""Nodes of one instance in the catalog of another: taken, changed, moved, lost."""

from federation.many_instances import Core, Instances, others, record, shown
from manager_harness import SECOND, config_with, registration

from pointsman_sched.core.events import Answer, OrderGiven
from pointsman_sched.core.federation.neighbours import INSTANCES_MAX
from pointsman_sched.core.federation.told import Presence, encode
from pointsman_shm.config import PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag, unpack_load, unpack_standing
from pointsman_shm.snapshot.records import InstanceRecord
from pointsman_wire.control_messages import Drain, Leave, Translation
from pointsman_wire.messages import Message
from pointsman_wire.queries.operating_messages import OrderDone, PauseOrder, ResumeOrder


def done(h: Core, wish: Message) -> None:
    """Give an order that must be carried out."""
    [answer] = [c for c in h.feed(OrderGiven(7, wish)) if isinstance(c, Answer)]
    assert isinstance(answer.message, OrderDone), answer


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


def test_a_store_that_forgets_everything_kills_nobody_and_is_told_again() -> None:
    """R3: the lives of keys only clean up; who counts on lives."""
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    fleet.beat(("a", node), seconds=3)
    fleet.store.flush()
    fleet.beat(("a", node), seconds=3)
    assert shown(fleet["b"], "n1") is NodeState.READY
    assert fleet.store.parts, "all is told again"
    fleet.join("c")
    fleet.beat(("a", node), seconds=3)
    assert shown(fleet["c"], "n1") is NodeState.READY


def test_a_failover_to_a_copy_that_is_behind_loses_no_node() -> None:
    """R5: what the store has of an instance is older than what it told: it tells all again."""
    fleet = Instances("a", "b")
    first = fleet["a"].make_ready(registration("n1"))
    fleet.beat(("a", first), seconds=2)
    behind = dict(fleet.store.presences), dict(fleet.store.parts)
    second = fleet["a"].make_ready(registration("n2"))
    fleet.beat(("a", first), ("a", second), seconds=2)
    fleet.store.presences, fleet.store.parts = behind
    fleet.join("c")
    fleet.beat(("a", first), ("a", second), seconds=4)
    for name in ("b", "c"):
        assert shown(fleet[name], "n1") is NodeState.READY
        assert shown(fleet[name], "n2") is NodeState.READY


def test_who_cannot_reach_the_store_keeps_its_view_marked_until_presences_lapse() -> None:
    """R7: a cut for one side: both sides lose the other's nodes, and nothing of their own."""
    fleet = Instances("a", "b")
    here = fleet["a"].make_ready(registration("n1"))
    there = fleet["b"].make_ready(registration("n2"))
    nodes = (("a", here), ("b", there))
    fleet.beat(*nodes, seconds=3)
    fleet.store.down.add("b")
    fleet.beat(*nodes, seconds=10)
    found = record(fleet["b"], "n1")
    assert found is not None
    standing = unpack_standing(fleet["b"].memory.rows.standing[found.row])
    assert (standing.state, bool(standing.flags & RowFlag.STALE)) == (NodeState.READY, True)
    fleet.beat(*nodes, seconds=23)
    assert shown(fleet["b"], "n1") is NodeState.OFFLINE
    assert shown(fleet["a"], "n2") is NodeState.OFFLINE
    assert shown(fleet["a"], "n1") is shown(fleet["b"], "n2") is NodeState.READY
    fleet.store.down.clear()
    fleet.beat(*nodes, seconds=4)
    assert shown(fleet["a"], "n2") is shown(fleet["b"], "n1") is NodeState.READY


def test_a_node_that_moves_to_another_instance_is_only_there() -> None:
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    key = fleet["a"].keys["n1"]
    fleet.beat(("a", node), seconds=3)
    fleet["a"].lose(node)
    moved = fleet["b"].make_ready(registration("n1", key=key))
    fleet.beat(("b", moved), seconds=4)
    at_a, at_b = record(fleet["a"], "n1"), record(fleet["b"], "n1")
    assert at_a is not None
    assert at_b is not None
    assert (at_a.instance, at_b.instance) == ("b", "")
    assert shown(fleet["a"], "n1") is shown(fleet["b"], "n1") is NodeState.READY


def test_an_id_of_another_instances_node_needs_that_nodes_key() -> None:
    """I12: a node id is owned by one key, over all instances."""
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    fleet.beat(("a", node), seconds=3)
    fleet["b"].join(registration("n1", key="k" * 64))
    assert fleet["b"].refusal()[0] == "NODE_ID_CONFLICT"
    assert record(fleet["b"], "n1") is not None


def test_the_own_view_wins_for_an_own_node() -> None:
    fleet = Instances("a", "b")
    here = fleet["a"].make_ready(registration("n1", key="k" * 64))
    there = fleet["b"].make_ready(registration("n1", key="k" * 64))
    fleet.beat(("a", here), ("b", there), seconds=4)
    for name in ("a", "b"):
        found = record(fleet[name], "n1")
        assert found is not None
        assert found.instance == ""
        assert shown(fleet[name], "n1") is NodeState.READY


def test_remote_rows_survive_a_restart_of_the_manager() -> None:
    fleet = Instances("a", "b")
    first = fleet["a"].make_ready(registration("n1"))
    gone = fleet["a"].make_ready(registration("n2"))
    fleet.beat(("a", first), ("a", gone), seconds=3)
    before = record(fleet["b"], "n1")
    fleet["a"].say(gone, Leave())
    fleet["b"].start()
    assert shown(fleet["b"], "n1") is NodeState.READY
    fleet.beat(("a", first), seconds=4)
    assert record(fleet["b"], "n1") == before
    assert shown(fleet["b"], "n2") is NodeState.OFFLINE
    fleet["a"].start()
    fleet.beat(seconds=2)
    assert shown(fleet["b"], "n1") is NodeState.READY, "its instance is back in time"


def test_a_manager_that_is_on_its_own_now_drops_remote_rows() -> None:
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    fleet.beat(("a", node), seconds=3)
    core = fleet["b"]
    core.instance = ""
    core.start()
    core.advance(SECOND)
    assert shown(core, "n1") is NodeState.OFFLINE


def test_automatic_language_pools_are_the_same_on_every_instance() -> None:
    config = config_with(PoolsConfig())
    fleet = Instances("a", "b", config=config)
    german = Translation(rule="any_to_any", languages=["de", "en"])
    korean = Translation(rule="any_to_any", languages=["ko", "en"])
    here = fleet["a"].make_ready(registration("n1", nmt=german))
    there = fleet["b"].make_ready(registration("n2", nmt=korean))
    fleet.beat(("a", here), ("b", there), seconds=4)
    for name in ("a", "b"):
        pools = fleet[name].read().pools.pools
        assert {pool.name: pool.classes[0][1:] for pool in pools} == {
            "de-en": (1, 1),
            "en-ko": (1, 1),
        }


def test_remote_nodes_that_fall_silent_are_no_mass_loss_of_ours() -> None:
    fleet = Instances("a", "b")
    own = fleet["b"].make_ready(registration("own"))
    for number in range(8):
        fleet["a"].make_ready(registration(f"n{number}"))
    fleet.beat(("b", own), seconds=3)
    fleet.frozen.add("a")
    fleet.beat(("b", own), seconds=32)
    assert fleet["b"].core.state.silent_count == 0
    assert not any("silent" in words for words in fleet["b"].alarms)
    assert shown(fleet["b"], "own") is NodeState.READY


def test_what_an_instance_tells_falsely_is_not_taken_and_told_once() -> None:
    """D2: a page that cannot be changes nothing of what was taken before."""
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    fleet.beat(("a", node), seconds=3)
    for part in fleet.store.parts:
        fleet.store.parts[part] = b"\xc1"
    fleet["a"].say(node, Drain(deadline_s=60.0))
    fleet.join("c")
    fleet.beat(("a", node), seconds=1)
    fleet.store.presences["x"] = b"\xc1"
    fleet.store.holders["x"] = "uid-x"
    fleet.beat(("a", node), seconds=4)
    told = [words for words in fleet["b"].alarms if "tells is not taken" in words]
    assert len(told) == 1
    assert shown(fleet["b"], "n1") in (NodeState.READY, NodeState.DRAINING)


def test_a_thousand_nodes_are_told_in_pages_and_taken_in_slices() -> None:
    """A turn takes two pages at most, so that a newcomer's reading stalls nobody."""
    config = config_with(max_nodes=4_096)
    fleet = Instances("a", config=config)
    fleet["a"].is_checked = False
    for number in range(1_000):
        fleet["a"].make_ready(registration(f"n{number:04}"))
    fleet.join("b", config)
    fleet["b"].is_checked = False
    fleet.advance(4 * SECOND)
    assert len(fleet["b"].core.state.nodes.remote) == 1_000


def test_a_living_instance_is_met_although_many_others_have_died_lately() -> None:
    """I9: hosts that come each time under a new name fill the list for an hour."""
    fleet = Instances("a")
    fleet.advance(2 * SECOND)
    for number in range(INSTANCES_MAX):
        name = f"h{number:02}"
        fleet.store.holders[name] = f"uid-{name}"
        fleet.store.presences[name] = encode(presence(name))
    fleet.advance(3 * SECOND)
    assert len(others(fleet["a"])) == INSTANCES_MAX
    for number in range(INSTANCES_MAX):
        del fleet.store.presences[f"h{number:02}"]
    fleet.advance(40 * SECOND)
    fleet.join("z")
    fleet.advance(5 * SECOND)
    found = others(fleet["a"])
    assert {other.name for other in found if other.alive} == {"z"}
    assert len(found) == INSTANCES_MAX


def presence(name: str) -> Presence:
    """What an instance without nodes tells of itself."""
    return Presence(
        name=name,
        uid=f"uid-{name}",
        count=1,
        worker_count=1,
        software="",
        addresses=(),
        node_count=0,
        settings_version=0,
        pages=(),
        shares=(),
    )


def test_a_pool_is_paused_and_resumed_with_the_nodes_of_other_instances_that_are_in_it() -> None:
    """Their load may stay as it is for long: nothing but the order says so in their rows."""
    fleet = Instances("a", "b")
    node = fleet["a"].make_ready(registration("n1"))
    own = fleet["b"].make_ready(registration("n2"))
    fleet.beat(("a", node), ("b", own), seconds=3)
    state = fleet["b"].core.state
    (pool,) = state.planner.pools_of("n1")

    def is_paused() -> bool:
        found = record(fleet["b"], "n1")
        assert found is not None
        word = fleet["b"].memory.rows.standing[found.row]
        return RowFlag.PAUSED in unpack_standing(word).flags

    done(fleet["b"], PauseOrder(pool=pool))
    assert is_paused()
    fleet["a"].beat(node, cpu_percent=77.0)
    fleet.beat(("b", own), seconds=2)
    assert is_paused()
    done(fleet["b"], ResumeOrder(pool=pool))
    assert not is_paused()

"""A new manager over the memory of a dead one: the fleet goes on and nobody is declared dead."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from manager_harness import MS, SECOND, Harness, config_with, registration

from pointsman_sched.core.events import OrderGiven, WorkerSaid
from pointsman_shm.config import PoolsConfig
from pointsman_shm.memory.rows import GENERATION_SHIFT, NodeState, RowFlag, unpack_standing
from pointsman_shm.uplink import ModelUnavailable
from pointsman_wire.control_messages import (
    Drain,
    Heartbeat,
    LanesReady,
    Leave,
    Register,
    Registered,
    Service,
)
from pointsman_wire.queries.operating_messages import PauseOrder


def test_the_fleet_is_recovered_ready_nodes_stay_choosable_and_a_new_version_shows_it() -> None:
    h = Harness()
    for count in range(5):
        h.make_ready(registration(f"n{count}", labels={"rack": str(count % 2)}))
    h.feed(WorkerSaid(0, ModelUnavailable(0, 1, "nmt", "v1")))
    h.settle()
    before = h.read()
    words = list(h.memory.rows.standing)
    version = h.memory.catalog.version

    h.now_ns += 300 * MS
    h.start()
    h.feed()

    assert list(h.memory.rows.standing) == words
    assert h.memory.catalog.version == version + 1
    after = h.read()
    assert (after.nodes, after.pools, after.marks) == (before.nodes, before.pools, before.marks)
    assert after.class_pages == before.class_pages
    assert {h.state(f"n{n}") for n in range(5)} == {NodeState.READY}
    h.settle()


def test_nobody_is_declared_dead_or_even_suspect_for_five_intervals() -> None:
    """P1: false deaths after a restart."""
    h = Harness()
    h.make_ready()
    h.settle()
    h.now_ns += 30 * SECOND
    h.start()
    h.advance(4_900 * MS)
    assert h.state() == NodeState.READY
    h.advance(200 * MS)
    assert h.state() == NodeState.SUSPECT
    h.advance(2 * SECOND)
    assert h.state() == NodeState.OFFLINE


def test_a_node_that_returns_to_the_new_manager_keeps_row_generation_and_a_higher_epoch() -> None:
    h = Harness()
    h.make_ready()
    h.settle()
    h.start()
    h.advance(SECOND)
    h.make_ready()
    assert (h.node().row, h.node().generation, h.node().epoch) == (0, 1, 2)
    assert h.state() == NodeState.READY


def test_epochs_go_on_when_the_memory_is_lost_and_only_the_registry_file_is_left() -> None:
    """C8: a reboot."""
    h = Harness()
    h.make_ready()
    h.make_ready()
    reborn = Harness()
    reborn.registry = h.registry
    reborn.start()
    reborn.keys = h.keys
    reborn.join()
    (answer,) = reborn.sent(Registered)
    assert answer.epoch == 3


def test_every_state_is_recovered_as_it_was() -> None:
    h = Harness(config_with(mass_loss_nodes_min=100))
    h.join(registration("registering"))
    h.feed()
    h.make_ready(registration("ready"))
    h.lose(h.make_ready(registration("suspect")))
    degraded = h.make_ready(registration("degraded"))
    for _ in range(3):
        h.beat(degraded, cpu_percent=500.0)
    h.say(h.make_ready(registration("draining")), Drain(deadline_s=100.0))
    h.say(h.make_ready(registration("offline")), Leave())
    h.settle()
    names = list(h.core.state.nodes.by_id)
    h.start()
    h.feed()
    assert {name: h.state(name).name.lower() for name in names} == {name: name for name in names}
    h.advance(20 * SECOND)
    assert {h.state(name) for name in names if name != "draining"} == {NodeState.OFFLINE}
    h.advance(11 * SECOND)
    assert h.state("draining") == NodeState.OFFLINE
    h.advance(620 * SECOND)
    assert not h.core.state.nodes.by_id


def test_a_row_without_a_record_is_freed_and_its_node_comes_again() -> None:
    h = Harness()
    h.settle()
    h.join(registration("published"))
    h.advance(5 * MS)
    h.join(registration("unpublished"))
    assert h.core.state.dirty
    row = h.node("unpublished").row
    h.start()
    h.feed()
    assert "unpublished" not in h.core.state.nodes.by_id
    shown = unpack_standing(h.memory.rows.standing[row])
    assert (shown.state, shown.generation) == (NodeState.FREE, 1)
    h.join(registration("unpublished"))
    assert (h.node("unpublished").generation, h.node("unpublished").epoch) == (2, 2)


def test_a_freed_row_of_which_a_worker_holds_slots_waits_for_them_also_after_a_restart() -> None:
    """I8, I10: whoever got it sooner would begin with the slots of somebody else."""
    h = Harness(config_with(max_nodes=2, remember_offline_s=1.0))
    connection = h.make_ready(registration("gone"))
    row = h.node("gone").row
    h.hold(0, row, 1)
    h.say(connection, Leave())
    h.advance(2 * SECOND)
    h.settle()
    assert not h.core.state.nodes.by_id
    h.start()
    h.worker_applies(h.memory.catalog.version)
    h.advance(SECOND)
    h.join(registration("n1"))
    assert h.node("n1").row != row
    h.say(h.dial(), registration("n2"))
    assert "becomes free in a moment" in h.refusal()[1]
    h.hold(0, row, 0)
    h.join(registration("n2"))
    assert (h.node("n2").row, h.node("n2").generation) == (row, 2)


def test_slots_of_rows_of_a_catalog_that_is_lost_keep_nobody_out() -> None:
    """S8: workers begin anew with the new one, and their nodes must come back for that."""
    h = Harness(config_with(max_nodes=1))
    h.hold(0, 0, 1)
    h.catalog_bytes = bytearray(h.layout.size)
    h.rows_bytes = bytearray(len(h.rows_bytes))
    h.start(create=True)
    h.join()
    assert (h.node().row, h.node().generation) == (0, 1)


def test_a_class_that_was_never_published_is_forgotten() -> None:
    h = Harness()
    connection = h.make_ready()
    h.settle()
    h.advance(SECOND)
    h.make_ready(registration("other"))
    h.advance(5 * MS)
    h.beat(connection, services=[Service(id="a", kind="asr")])
    assert h.core.state.dirty
    assert unpack_standing(h.memory.rows.standing[0]).class_number == 1
    h.start()
    h.feed()
    assert h.node().class_number == 0
    assert unpack_standing(h.memory.rows.standing[0]).class_number == 0
    h.settle()


def test_a_row_of_nonsense_is_not_believed() -> None:
    h = Harness()
    h.make_ready()
    h.settle()
    h.memory.rows.standing[0] = 1 << GENERATION_SHIFT | 0xF << 24
    h.memory.rows.standing[5] = 3 << GENERATION_SHIFT | 0xE << 24
    h.start()
    h.feed()
    assert not h.core.state.nodes.by_id
    h.settle()


def test_language_pools_keep_their_ids() -> None:
    h = Harness(config_with(pools=PoolsConfig(auto_language_pools=True)))
    h.make_ready(registration("n1", asr=["en"], tts=["es"]))
    h.make_ready(registration("n2", asr=["de"], tts=["fr"]))
    h.settle()
    pools = {pool.name: pool.id for pool in h.read().pools.pools}
    assert pools.keys() == {"en-es", "de-fr"}
    h.start()
    h.feed()
    assert {pool.name: pool.id for pool in h.read().pools.pools} == pools
    h.settle()


def test_a_changed_configuration_is_published_by_the_new_manager() -> None:
    h = Harness()
    h.make_ready()
    h.settle()
    h.config = config_with(pools=PoolsConfig(auto_language_pools=False, pool_count=3))
    h.start()
    h.settle()
    assert len(h.read().pools.pools) == 3


class Killed(BaseException):
    """The process died at a crash point."""


@contextmanager
def killed() -> Iterator[None]:
    with pytest.raises(Killed):
        yield


class CrashAt:
    """Kills at the k-th passing of a point."""

    def __init__(self) -> None:
        self.point = ""
        self.left = 0

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                raise Killed(point)


POINTS = (
    "manager-mid-registration",
    "manager-before-registered",
    "catalog-before-slot",
    "catalog-mid-payload",
    "catalog-before-crc",
    "catalog-before-directory",
    "catalog-mid-directory",
    "catalog-before-version",
    "catalog-after-version",
)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_of_a_registration_the_next_manager_has_a_whole_fleet(
    point: str,
) -> None:
    """P1."""
    crash = CrashAt()
    h = Harness(crash=crash)
    h.make_ready(registration("old"))
    h.settle()
    h.advance(SECOND)
    crash.point, crash.left = point, 1
    with killed():
        h.join(registration("new"))
    h.start()
    h.feed()
    assert h.state("old") == NodeState.READY
    h.make_ready(registration("newer"))
    assert h.state("newer") == NodeState.READY
    h.settle()


def test_killed_in_the_middle_of_a_sweep_the_next_manager_finishes_it() -> None:
    """P1: mid sweep."""
    crash = CrashAt()
    h = Harness(crash=crash)
    for count in range(2):
        h.say(h.join(registration(f"n{count}")), LanesReady(), Heartbeat())
    h.settle()
    crash.point, crash.left = "manager-mid-sweep", 1
    with killed():
        h.advance(4 * SECOND)
    h.start()
    h.feed()
    assert sorted(h.state(f"n{n}").name for n in range(2)) == ["READY", "SUSPECT"]
    h.advance(10 * SECOND)
    assert {h.state(f"n{n}") for n in range(2)} == {NodeState.OFFLINE}


def speaks(node_id: str, language: str) -> Register:
    """A node whose pool is that of its language."""
    return registration(node_id, services=[Service(id="asr-1", kind="asr")], asr=[language])


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_paused_pool_whose_nodes_are_away_is_paused_when_they_are_back(restarts: int) -> None:
    """Its number is its set's own also when no page of pools has it any more."""
    h = Harness(config_with(PoolsConfig()))
    h.make_ready(speaks("b", "fr"))
    away = h.make_ready(speaks("a", "en"))
    h.feed(OrderGiven(1, PauseOrder(pool=h.core.state.planner.pools_of("a")[0])))
    h.say(away, Leave())
    h.advance(1 * SECOND)
    assert h.state("a") is NodeState.OFFLINE
    for _ in range(restarts):
        h.settle()
        h.start()
        h.make_ready(speaks("b", "fr"))
    h.make_ready(speaks("c", "de"))
    h.make_ready(speaks("a", "en"))
    standing = {name: h.memory.rows.standing[h.node(name).row] for name in "abc"}
    paused = [name for name in "abc" if RowFlag.PAUSED in unpack_standing(standing[name]).flags]
    assert paused == ["a"]

"""What operators order of nodes and pools, on a virtual clock: drain, pause, quarantine."""

import msgspec
from manager_harness import (
    MS,
    SECOND,
    Harness,
    away,
    config_with,
    done,
    order,
    refused,
    registration,
)

from pointsman_sched.core.events import Answer, ConfigOffered, OrderGiven
from pointsman_sched.core.fleet.quarantine import ASK_AGAIN_NS
from pointsman_sched.core.orders.standing import ORDERS_MAX, orders_record
from pointsman_shm.config import PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag, unpack_standing
from pointsman_shm.snapshot.config_pages import ORDERS_BYTES_MAX
from pointsman_shm.snapshot.records import PolicyPage
from pointsman_wire.control_messages import Register, Service
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error
from pointsman_wire.queries.fleet_messages import Pools, PoolsQuery
from pointsman_wire.queries.operating_messages import (
    DrainOrder,
    PauseOrder,
    QuarantineOrder,
    ReleaseOrder,
    ResumeOrder,
    UndrainOrder,
)


def flags(h: Harness, node_id: str = "n1") -> RowFlag:
    """The flags that workers see."""
    return unpack_standing(h.memory.rows.standing[h.node(node_id).row]).flags


def pool_of(h: Harness, node_id: str = "n1") -> int:
    return h.core.state.planner.pools_of(node_id)[0]


def pools(h: Harness) -> Pools:
    answer = h.core.answer(PoolsQuery())
    assert isinstance(answer, Pools)
    return answer


def test_a_drained_node_takes_no_new_jobs_and_is_offline_at_the_deadline() -> None:
    h = Harness()
    connection = h.make_ready()
    h.hold(0, h.node().row, 2)
    told = done(h, DrainOrder(node_id="n1", deadline_s=5.0, reason="new disk"))
    assert (told.nodes, told.jobs, told.left_s) == (1, 2, 5.0)
    assert h.state() is NodeState.DRAINING
    assert h.node().reason == "new disk"
    for _ in range(4):
        h.advance(1 * SECOND)
        h.beat(connection)
    assert h.state() is NodeState.DRAINING
    h.advance(1_200_000_000)
    assert h.state() is NodeState.OFFLINE


def test_a_drain_without_a_deadline_has_the_configured_one_and_is_taken_back() -> None:
    h = Harness(config_with(drain_s=77.0))
    h.make_ready()
    assert done(h, DrainOrder(node_id="n1")).left_s == 77.0
    assert done(h, UndrainOrder(node_id="n1")).nodes == 1
    assert h.state() is NodeState.READY
    assert RowFlag.DRAINED not in flags(h)
    assert refused(h, UndrainOrder(node_id="n1")) == Code.CONFLICT


def test_an_operators_drain_outlives_the_manager_and_the_registration_after_it() -> None:
    h = Harness()
    h.make_ready()
    done(h, DrainOrder(node_id="n1", deadline_s=500.0))
    h.settle()
    h.start()
    assert h.state() is NodeState.DRAINING
    h.make_ready()
    assert h.state() is NodeState.DRAINING
    done(h, UndrainOrder(node_id="n1"))
    assert h.state() is NodeState.READY


def test_a_pool_is_drained_with_all_that_are_in_it_and_no_other() -> None:
    h = Harness()
    for number in range(12):
        h.make_ready(registration(f"n{number}"))
    pool = pool_of(h, "n0")
    members = [f"n{n}" for n in range(12) if pool_of(h, f"n{n}") == pool]
    others = [f"n{n}" for n in range(12) if pool_of(h, f"n{n}") != pool]
    assert others, "the nodes are in several pools"
    assert done(h, DrainOrder(pool=pool)).nodes == len(members)
    assert {h.state(name) for name in members} == {NodeState.DRAINING}
    assert {h.state(name) for name in others} == {NodeState.READY}
    assert done(h, UndrainOrder(pool=pool)).nodes == len(members)


def test_orders_for_what_is_not_there_change_nothing() -> None:
    h = Harness()
    h.make_ready()
    assert refused(h, DrainOrder(node_id="x")) == Code.NOT_FOUND
    assert refused(h, DrainOrder(pool=65_535)) == Code.NOT_FOUND
    assert refused(h, DrainOrder()) == Code.INVALID_MESSAGE
    assert refused(h, DrainOrder(node_id="n1", pool=1)) == Code.INVALID_MESSAGE
    assert refused(h, PauseOrder(pool=65_535)) == Code.NOT_FOUND
    assert refused(h, ResumeOrder()) == Code.CONFLICT
    assert refused(h, ResumeOrder(pool=1)) == Code.NOT_FOUND
    assert refused(h, QuarantineOrder(node_id="x")) == Code.NOT_FOUND
    assert refused(h, ReleaseOrder(node_id="n1")) == Code.NOT_FOUND
    assert h.state() is NodeState.READY


def test_nodes_of_a_paused_pool_are_shown_as_paused_and_so_are_those_that_come() -> None:
    h = Harness()
    connection = h.make_ready()
    pool = pool_of(h)
    assert done(h, PauseOrder(pool=pool)).nodes == 1
    assert RowFlag.PAUSED in flags(h)
    h.beat(connection)
    assert RowFlag.PAUSED in flags(h), "a heartbeat of a node that is not paused changes nothing"
    assert [line.id for line in pools(h).pools if line.paused] == [pool]
    late = next(f"m{n}" for n in range(100) if joins_pool(h, f"m{n}", pool))
    assert RowFlag.PAUSED in flags(h, late)
    done(h, ResumeOrder(pool=pool))
    assert RowFlag.PAUSED not in flags(h) | flags(h, late)


def joins_pool(h: Harness, node_id: str, pool: int) -> bool:
    h.make_ready(registration(node_id))
    return pool_of(h, node_id) == pool


def test_an_owners_pause_is_not_lifted_by_an_operators_resume() -> None:
    h = Harness()
    connection = h.make_ready()
    h.beat(connection, pause=True, pause_reason="I play")
    done(h, PauseOrder(pool=pool_of(h)))
    done(h, ResumeOrder(pool=pool_of(h)))
    assert RowFlag.PAUSED in flags(h)


def test_a_pause_of_the_service_is_published_and_outlives_the_manager() -> None:
    h = Harness()
    h.make_ready()
    done(h, PauseOrder())
    done(h, PauseOrder(pool=pool_of(h)))
    h.settle()
    page = msgspec.msgpack.decode(h.read().pages[h.layout.policy], type=PolicyPage)
    assert (page.orders.is_paused, page.orders.paused_pools) == (True, (pool_of(h),))
    h.start()
    assert pools(h).paused
    assert RowFlag.PAUSED in flags(h)
    done(h, ResumeOrder())
    h.settle()
    page = msgspec.msgpack.decode(h.read().pages[h.layout.policy], type=PolicyPage)
    assert not page.orders.is_paused


def test_a_quarantined_node_is_offline_at_once_and_refused_until_its_time_is_up() -> None:
    h = Harness()
    h.make_ready()
    told = done(h, QuarantineOrder(node_id="n1", lasts_s=60.0, reason="odd results"))
    assert (told.nodes, told.left_s) == (1, 60.0)
    assert h.state() is NodeState.OFFLINE
    h.join()
    code, words = h.refusal()
    assert code == Code.RATE_LIMITED
    assert "quarantined by an operator: odd results" in words
    h.advance(61 * SECOND)
    h.make_ready()
    assert h.state() is NodeState.READY


def test_who_is_quarantined_for_long_asks_again_soon_as_it_may_be_released() -> None:
    h = Harness()
    h.make_ready()
    done(h, QuarantineOrder(node_id="n1", lasts_s=3_600.0))
    h.join()
    (error,) = h.sent(Error)
    assert error.error.retry_after_ms == ASK_AGAIN_NS // 1_000_000 + 1


def test_what_is_not_drained_is_named_when_its_drain_is_taken_back() -> None:
    h = Harness()
    h.make_ready()
    for wish, words in (
        (UndrainOrder(node_id="n1"), "node n1 is not drained by an operator"),
        (UndrainOrder(pool=pool_of(h)), f"no node of pool {pool_of(h)} is drained"),
    ):
        answer = order(h, wish)
        assert isinstance(answer, Error)
        assert words in answer.error.message


def test_a_quarantine_outlives_the_manager_and_is_taken_back_by_a_release() -> None:
    h = Harness()
    h.make_ready()
    done(h, QuarantineOrder(node_id="n1", lasts_s=600.0))
    h.settle()
    h.start()
    h.join()
    assert h.refusal()[0] == Code.RATE_LIMITED
    done(h, ReleaseOrder(node_id="n1"))
    h.make_ready()
    assert h.state() is NodeState.READY


def test_quarantines_have_a_bound_and_fit_their_page() -> None:
    count = ORDERS_MAX
    h = Harness(config_with(max_nodes=128))
    for number in range(count + 1):
        h.make_ready(registration(f"{number:03}" + "n" * 61))
    for number in range(count):
        name = f"{number:03}" + "n" * 61
        done(h, QuarantineOrder(node_id=name, reason="\U0001f600" * 500))
    last = f"{count:03}" + "n" * 61
    assert refused(h, QuarantineOrder(node_id=last)) == Code.RATE_LIMITED
    assert len(msgspec.msgpack.encode(orders_record(h.core.state))) <= ORDERS_BYTES_MAX
    h.settle()


def test_a_paused_pool_and_a_configuration_that_moves_its_nodes_agree() -> None:
    h = Harness()
    names = [f"n{number}" for number in range(24)]
    for name in names:
        h.make_ready(registration(name))
    paused = 2
    done(h, PauseOrder(pool=paused))
    others = PoolsConfig(auto_language_pools=False, pool_count=5, hash_seed=3)
    h.feed(ConfigOffered(1, "file", config_with(others)))
    h.advance(1 * SECOND)
    h.settle()
    after = {name: pool_of(h, name) for name in names}
    shown = {name for name in names if RowFlag.PAUSED in flags(h, name)}
    assert shown == {name for name in names if after[name] == paused}
    done(h, ResumeOrder(pool=paused))
    assert not [name for name in names if RowFlag.PAUSED in flags(h, name)]


def speaks(node_id: str, language: str) -> Register:
    """A node whose pool is that of its language."""
    return registration(node_id, services=[Service(id="asr-1", kind="asr")], asr=[language])


def test_a_pool_whose_nodes_were_all_away_is_still_paused_when_they_are_back() -> None:
    h = Harness(config_with(PoolsConfig()))
    h.make_ready(speaks("a", "en"))
    other = h.make_ready(speaks("b", "fr"))
    pool = pool_of(h, "a")
    done(h, PauseOrder(pool=pool))
    away(h, "a", other)
    assert [record.id for record in h.core.state.planner.page().pools] != [pool]
    h.make_ready(speaks("a", "en"))
    assert RowFlag.PAUSED in flags(h, "a")
    done(h, ResumeOrder(pool=pool))
    assert RowFlag.PAUSED not in flags(h, "a")


def test_a_paused_pool_without_nodes_gives_its_number_to_no_other_after_a_restart() -> None:
    h = Harness(config_with(PoolsConfig()))
    other = h.make_ready(speaks("b", "fr"))
    h.make_ready(speaks("a", "en"))
    done(h, PauseOrder(pool=pool_of(h, "a")))
    away(h, "a", other)
    h.settle()
    h.start()
    h.make_ready(speaks("c", "de"))
    assert RowFlag.PAUSED not in flags(h, "c")


def test_an_order_that_was_answered_stands_when_the_manager_dies_with_the_next_breath() -> None:
    """P1: two versions of the snapshot are 20 ms apart, and a successor knows what is published."""
    h = Harness()
    h.make_ready()
    h.settle()
    done(h, PauseOrder())
    commands = h.feed(OrderGiven(8, ResumeOrder()))
    while not any(isinstance(command, Answer) for command in commands):
        h.now_ns += MS
        commands = h.feed()
    h.start()
    h.feed()
    assert not h.core.state.pauses.is_paused

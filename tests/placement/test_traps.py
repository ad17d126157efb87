"""Traps that caught other dispatchers, each by its number."""

from collections import Counter

import pytest
from fleet_samples import speech_class
from msgspec.structs import replace
from placement.yard import EN_ES, Yard
from worker_harness import Host, WorkerHarness

from pointsman_shm.config import Config, PoolConfig, PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_shm.rules.hashing import stable_index
from pointsman_wire.lane_messages import Assign
from pointsman_wire.link import Received
from pointsman_wire.session_messages import Submit


def burst(yard: Yard, count: int) -> Counter[int]:
    """So many submits in one read of a socket, one step; how many jobs each row got."""
    client = yard.own_client()
    submits = [
        Submit(
            request_id=f"b-{yard.harness.now_ns}-{n}",
            services=["nmt"],
            src_lang="en",
            tgt_lang="es",
        )
        for n in range(count)
    ]
    yard.harness.feed(Received(client.connection, [(submit, b"x") for submit in submits]))
    got: Counter[int] = Counter()
    for row, node in yard.nodes.items():
        got[row] = len(yard.harness.take(node.connection, Assign))
    return got


@pytest.mark.parametrize("batch", [1, 50, 1_000])
def test_t2_a_burst_of_1000_jobs_spreads_over_20_equal_nodes_to_within_2(batch: int) -> None:
    yard = Yard()
    yard.add(*[EN_ES] * 20, slots=64)
    shares: Counter[int] = Counter()
    for _ in range(1_000 // batch):
        shares += burst(yard, batch) if batch > 1 else yard.rows(1)
        yard.harness.now_ns += 5_000_000 * batch // 1_000
    assert sum(shares.values()) == 1_000
    assert max(shares.values()) - min(shares.values()) <= 2
    assert all(yard.harness.held(row) == shares[row] <= 64 for row in range(20))


def test_t2_a_burst_beyond_capacity_fills_every_slot_and_not_one_more() -> None:
    yard = Yard()
    yard.add(*[EN_ES] * 20, slots=10)
    assert burst(yard, 1_000) == dict.fromkeys(range(20), 10)
    assert yard.harness.core.shard.waiting.count == 800


def test_t3_a_large_node_with_nothing_free_loses_to_a_small_one_with_room() -> None:
    yard = Yard()
    yard.add(EN_ES, slots=8)
    yard.add(EN_ES, slots=1)
    for _ in range(9):
        yard.rows(1)
    assert (yard.harness.held(0), yard.harness.held(1)) == (8, 1)


def test_t3_what_is_free_decides_and_not_how_large_a_node_is() -> None:
    """Of two that both have room, the large one has less of it free, by our count or its own."""
    yard = Yard()
    yard.add(EN_ES, slots=8)
    yard.rows(6)
    yard.add(EN_ES, slots=4)
    assert yard.rows(2) == {1: 2}, "half of the small one is in use now, six eighths of the other"

    yard = Yard()
    yard.add(EN_ES, slots=8)
    yard.add(EN_ES, slots=2)
    yard.host.burden(0, foreign=8)
    assert yard.rows(2) == {1: 2}, "the large one is busy with what others gave it"


@pytest.mark.parametrize("state", [NodeState.SUSPECT, NodeState.OFFLINE, NodeState.DRAINING])
@pytest.mark.parametrize("mode", ["two_level", "single_level"])
def test_t6_a_node_that_may_not_be_chosen_changes_nothing_by_its_empty_load(
    state: NodeState, mode: str
) -> None:
    yard = Yard(PoolsConfig(mode=mode))  # type: ignore[arg-type]
    yard.add(*[EN_ES] * 5, slots=10)
    for row, foreign in ((1, 3), (2, 1), (3, 1), (4, 3)):
        yard.host.burden(row, foreign=foreign)
    yard.host.stand(0, state=state)  # no load at all
    shares = yard.rows(12)
    assert shares[0] == 0
    assert {
        row: shares[row] + foreign for row, foreign in ((1, 3), (2, 1), (3, 1), (4, 3))
    } == dict.fromkeys(range(1, 5), 5)


def test_t6_nor_does_one_of_the_wrong_kind() -> None:
    yard = Yard()
    yard.add(EN_ES, replace(EN_ES, types_ready=("asr",)), EN_ES, slots=4)
    assert yard.rows(8) == {0: 4, 2: 4}


def test_t7_within_a_pool_share_follows_capacity() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES, slots=4)
    yard.add(EN_ES, slots=8)
    assert yard.rows(8) == {0: 2, 1: 2, 2: 4}


def test_t7_between_pools_share_follows_capacity_with_pool_choice_weighted() -> None:
    small, large = speech_class("en", "es"), speech_class("en", "es", "fr")
    shares: Counter[int] = Counter()
    for seed in range(3):
        yard = Yard(PoolsConfig(pool_choice="weighted"))
        yard.harness.core.shard.fleet.draws.seed = seed
        yard.add(small, small, slots=50)
        yard.add(large, slots=300)
        for _ in range(200):  # every session chooses a pool once
            shares += yard.rows(1, client=yard.harness.open_session())
    assert sum(shares.values()) == 600
    assert shares[0] + shares[1] == pytest.approx(150, abs=30), "a quarter of the slots"
    assert shares[2] == pytest.approx(450, abs=30)


KINDS = {"words": ("nmt",), "small": ("asr", "nmt"), "large": ("asr", "nmt", "tts")}
LISTED = tuple(
    PoolConfig(id=number, name=name, required_services=types)
    for number, (name, types) in enumerate(KINDS.items(), 1)
)


def listed_pools(config: PoolsConfig) -> Yard:
    """A node in each of the pools: one for words alone, and two that hear as well."""
    yard = Yard(config)
    for types, slots in zip(KINDS.values(), (100, 100, 300), strict=True):
        yard.add(speech_class("en", "es", types=types), slots=slots)
    return yard


def test_t7_jobs_that_pass_over_their_sessions_pool_choose_by_room_each_time() -> None:
    """One choice was kept for all of them, until there was another snapshot."""
    overrides = (("acme", 1),)
    yard = listed_pools(
        PoolsConfig(pool_choice="weighted", pools=LISTED, tenant_overrides=overrides)
    )
    client = yard.harness.open_session(tenant="acme")
    assert yard.rows(1, client=client, services=["nmt"]) == {0: 1}
    shares = yard.rows(200, client=client, services=["asr", "nmt"])
    assert shares[1] == pytest.approx(50, abs=25), "a quarter of the slots"


def test_jobs_that_pass_over_their_sessions_pool_go_where_their_own_hash_says() -> None:
    yard = listed_pools(PoolsConfig(session_affinity=True, pools=LISTED))
    names = [name for name in map("s-{}".format, range(60)) if not stable_index(name, 0, 3)]
    for name in names:
        client = yard.harness.open_session(session_id=name)
        assert yard.rows(1, client=client, services=["nmt"]) == {0: 1}
        row = 1 + stable_index(name, 0, 2)
        assert yard.rows(1, client=client, services=["asr", "nmt"]) == {row: 1}, name


def test_t7_a_pool_that_has_filled_up_is_chosen_no_more() -> None:
    yard = Yard(PoolsConfig(pool_choice="weighted"))
    yard.add(speech_class("en", "es"), slots=100)
    yard.add(speech_class("en", "es", "fr"), slots=100)
    for _ in range(200):
        yard.place(yard.harness.open_session())
    room = yard.harness.core.shard.fleet.free_slots()
    assert set(room.values()) == {0}
    yard.advance(1)
    assert yard.harness.core.shard.fleet.free_slots() == room, "counted anew, the same"


def test_t14_a_service_that_nobody_knows_is_refused_at_once() -> None:
    yard = Yard()
    yard.add(EN_ES)
    error = yard.refuse(services=["transmute"])
    assert error.code == "UNSUPPORTED_FEATURE"
    assert "transmute" in error.message


def test_t14_a_capability_that_nobody_has_never_hangs_silently() -> None:
    yard = Yard()
    yard.add(EN_ES)
    yard.submit(services=["tone"], src_lang="", tgt_lang="")
    yard.advance(2.5)
    (result,) = yard.results()
    assert result.error is not None
    assert result.error.code == "NO_AVAILABLE_NODE"
    assert result.error.breakdown is not None
    assert result.error.breakdown.counts == {"model_not_available": 1}
    assert result.error.breakdown.fix == "start tone on one node"


def test_t25_when_the_manager_is_silent_own_counts_decide_and_it_is_told() -> None:
    """Its last word on loads was that all are overloaded: nobody would ever get a job again."""
    yard = Yard()
    yard.add(EN_ES, EN_ES, slots=4)
    for row in (0, 1):
        yard.host.stand(row, flags=RowFlag.PUBLIC | RowFlag.OVERLOADED)
    yard.host.burden(0, foreign=3)
    error = yard.refuse()
    assert error.breakdown is not None
    assert error.breakdown.counts == {"resource_threshold_exceeded": 2}
    yard.harness.advance(6)  # no beat of the manager in all that time
    shares: Counter[int] = Counter()
    placements = []
    for _ in range(4):
        row, job = yard.place(explain=True)
        shares[row] += 1
        placements.append((row, job))
    assert shares == {0: 2, 1: 2}, "what the manager said of foreign load is left out as well"
    for row, job in placements:
        yard.nodes[row].end(job)
    told = [result.placement for result in yard.results() if result.placement]
    assert len(told) == 4
    assert all(placement.stale and placement.snapshot_age_ms > 5_000 for placement in told)


def test_t25_when_the_manager_is_back_its_word_counts_again() -> None:
    yard = Yard()
    yard.add(EN_ES)
    yard.host.stand(0, flags=RowFlag.PUBLIC | RowFlag.OVERLOADED)
    yard.harness.advance(6)
    assert yard.run() == 0
    yard.advance(0.2)
    assert yard.refuse().code == "QUEUE_TIMEOUT"


def test_two_workers_share_nodes_by_the_same_sums() -> None:
    """The effective load counts the slots of all workers, so each sees what the other took."""
    host = Host(Config(), worker_count=2)
    for row in range(4):
        host.node(row, EN_ES, slots=8)
    host.publish(1_000_000_000)
    workers = [WorkerHarness(host, worker_index=index) for index in (0, 1)]
    for worker in workers:
        worker.feed()
        for row in range(4):
            worker.open_lane(row)
    clients = [worker.open_session() for worker in workers]
    for number in range(16):
        clients[number % 2].submit(f"r-{number}")
    assert [host.ledger.held(row) for row in range(4)] == [4] * 4

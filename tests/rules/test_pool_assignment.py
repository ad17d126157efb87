"""Which pools nodes join, in all three modes, and the planner that follows a fleet."""

import pytest
from fleet_samples import SPEECH, speech_class
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman_shm.config import PoolConfig, PoolsConfig
from pointsman_shm.rules.hashing import stable_index
from pointsman_shm.rules.pool_planner import PoolPlanner
from pointsman_shm.rules.pools import (
    PoolMode,
    capability_pools,
    hash_pool,
    pool_languages,
    pool_mode,
    satisfied_pools,
    winning_sets,
)
from pointsman_shm.snapshot.records import CapabilityClass, PoolsPage

POOLS = (
    PoolConfig(id=1, name="any", required_services=()),
    PoolConfig(id=2, name="text", required_services=("nmt",)),
    PoolConfig(id=3, name="speech", required_services=SPEECH),
    PoolConfig(id=4, name="speech too", required_services=("tts", "asr", "nmt")),
)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (PoolsConfig(), PoolMode.LANGUAGE),
        (PoolsConfig(auto_language_pools=False), PoolMode.HASH),
        (PoolsConfig(pools=POOLS), PoolMode.CAPABILITY),
        (PoolsConfig(pools=POOLS, auto_language_pools=False), PoolMode.CAPABILITY),
    ],
)
def test_the_mode_follows_from_the_config(config: PoolsConfig, expected: PoolMode) -> None:
    assert pool_mode(config) is expected


def test_a_hash_bucket_is_the_hash_of_the_node_id() -> None:
    assert hash_pool("abc", PoolsConfig()) == 11
    assert hash_pool("abc", PoolsConfig(pool_count=7)) == 1
    assert hash_pool("abc", PoolsConfig(pool_count=7, hash_seed=1)) == 4


@pytest.mark.parametrize(
    ("types", "multi_pool", "expected"),
    [
        (SPEECH, False, (3, 4)),
        (SPEECH, True, (1, 2, 3, 4)),
        (("nmt",), False, (2,)),
        (("nmt",), True, (1, 2)),
        (("asr",), False, (1,)),
        ((), True, (1,)),
    ],
)
def test_a_class_satisfies_the_pools_whose_types_it_has(
    types: tuple[str, ...], multi_pool: bool, expected: tuple[int, ...]
) -> None:
    capability = speech_class("en", types=types)
    assert satisfied_pools(capability, POOLS, multi_pool=multi_pool) == expected


def test_a_type_that_is_not_ready_does_not_make_a_member() -> None:
    capability = speech_class("en", types=SPEECH, ready=("nmt",))
    assert satisfied_pools(capability, POOLS, multi_pool=False) == (2,)


def test_a_tie_is_broken_by_the_hash_of_the_node_over_the_sorted_ids() -> None:
    config = PoolsConfig(pools=POOLS)
    for node_id in ("a", "b", "c", "d"):
        expected = (3, 4)[stable_index(node_id, 0, 2)]
        assert capability_pools(node_id, (3, 4), config) == (expected,)
    assert capability_pools("a", (), config) == (0,)
    assert capability_pools("a", (1, 3), PoolsConfig(pools=POOLS, multi_pool=True)) == (1, 3)


def test_semantic_may_be_demanded_for_a_language_pool() -> None:
    config = PoolsConfig(auto_require_semantic=True)
    assert pool_languages(speech_class("en", "zh"), config) == ()
    with_semantic = speech_class("en", "zh", types=(*SPEECH, "semantic"))
    assert pool_languages(with_semantic, config) == ("en", "zh")
    unready = speech_class("en", "zh", types=(*SPEECH, "semantic"), ready=SPEECH)
    assert pool_languages(unready, config) == ()
    assert pool_languages(speech_class("en", "zh"), PoolsConfig()) == ("en", "zh")


def test_the_largest_sets_win_and_ties_go_to_the_first_name() -> None:
    counts: dict[tuple[str, ...], int] = {("zh",): 2, ("de",): 1, ("en",): 1, ("es",): 3}
    assert set(winning_sets(counts, PoolsConfig(auto_max_pools=3))) == {("es",), ("zh",), ("de",)}
    assert winning_sets(counts, PoolsConfig(auto_min_nodes=2)) == [("es",), ("zh",)]
    assert winning_sets(counts, PoolsConfig(auto_min_nodes=9)) == []


EN_ES, EN_ZH, DUMB = speech_class("en", "es"), speech_class("en", "zh"), CapabilityClass()


def names(planner: PoolPlanner) -> dict[str, tuple[tuple[int, int, int], ...]]:
    return {pool.name: pool.classes for pool in planner.page().pools}


def test_language_pools_come_and_go_with_their_nodes() -> None:
    planner = PoolPlanner(PoolsConfig())
    assert planner.add("a", 1, EN_ES, is_ready=True) == {"a": (1,)}
    assert planner.add("b", 2, EN_ZH, is_ready=False) == {"b": (2,)}
    assert planner.add("c", 3, DUMB, is_ready=True) == {"c": (0,)}
    assert names(planner) == {"other": ((3, 1, 1),), "en-es": ((1, 1, 1),), "en-zh": ((2, 1, 0),)}
    assert planner.remove("a") == {}
    assert names(planner) == {"other": ((3, 1, 1),), "en-zh": ((2, 1, 0),)}
    assert planner.add("d", 4, speech_class("de"), is_ready=True) == {"d": (3,)}, "an id of its own"
    assert planner.add("a", 1, EN_ES, is_ready=True) == {"a": (1,)}, "what it was before"


def test_an_empty_result_never_wipes_the_pools_that_exist() -> None:
    planner = PoolPlanner(PoolsConfig())
    planner.add("a", 1, EN_ES, is_ready=True)
    planner.remove("a")
    assert names(planner) == {"en-es": ()}
    assert planner.add("b", 1, EN_ES, is_ready=True) == {"b": (1,)}


def test_a_set_below_the_minimum_waits_in_other_and_then_moves() -> None:
    planner = PoolPlanner(PoolsConfig(auto_min_nodes=2))
    assert planner.add("a", 1, EN_ES, is_ready=True) == {"a": (0,)}
    assert planner.add("b", 1, EN_ES, is_ready=True) == {"a": (1,), "b": (1,)}
    planner.add("c", 2, EN_ZH, is_ready=True)
    planner.add("d", 2, EN_ZH, is_ready=True)
    assert planner.remove("a") == {"b": (0,)}
    assert names(planner) == {"other": ((1, 1, 1),), "en-zh": ((2, 2, 2),)}


def test_a_changed_class_of_the_same_languages_keeps_the_pool() -> None:
    planner = PoolPlanner(PoolsConfig())
    planner.add("a", 1, EN_ES, is_ready=True)
    planner.add("b", 2, EN_ZH, is_ready=True)
    assert planner.add("a", 5, EN_ES, is_ready=False) == {"a": (1,)}
    assert names(planner) == {"en-es": ((5, 1, 0),), "en-zh": ((2, 1, 1),)}


def test_a_successor_keeps_the_ids_of_its_predecessor() -> None:
    first = PoolPlanner(PoolsConfig())
    for node_id, capability in (("a", EN_ES), ("b", EN_ZH), ("c", DUMB)):
        first.add(node_id, 0, capability, is_ready=True)
    second = PoolPlanner(PoolsConfig())
    second.restore(first.page())
    second.add("b", 0, EN_ZH, is_ready=True)
    second.add("c", 0, DUMB, is_ready=True)
    second.add("a", 0, EN_ES, is_ready=True)
    second.add("d", 0, speech_class("de"), is_ready=True)
    assert [second.pools_of(node_id) for node_id in "abcd"] == [(1,), (2,), (0,), (3,)]


def test_pools_of_another_mode_are_not_taken_over() -> None:
    planner = PoolPlanner(PoolsConfig())
    planner.restore(PoolsPage(mode="hash"))
    assert planner.add("a", 1, EN_ES, is_ready=True) == {"a": (1,)}


def test_configured_pools_stand_even_when_empty() -> None:
    planner = PoolPlanner(PoolsConfig(pools=POOLS[1:2]))
    assert names(planner) == {"text": ()}
    planner.add("a", 7, CapabilityClass(), is_ready=True)
    assert names(planner) == {"other": ((7, 1, 1),), "text": ()}


def test_hash_buckets_all_stand() -> None:
    planner = PoolPlanner(PoolsConfig(auto_language_pools=False, pool_count=3))
    planner.add("abc", 7, EN_ES, is_ready=True)
    assert [pool.id for pool in planner.page().pools] == [0, 1, 2]
    assert sum(len(pool.classes) for pool in planner.page().pools) == 1


def test_nobody_there_is_no_change() -> None:
    planner = PoolPlanner(PoolsConfig())
    assert planner.remove("nobody") == {}
    planner.set_ready("nobody", True)
    assert planner.pools_of("nobody") == ()


SETS = [speech_class(*codes) for codes in (("de",), ("en",), ("es",), ("en", "zh"))] + [DUMB]
CONFIGS = st.sampled_from(
    [
        PoolsConfig(),
        PoolsConfig(auto_min_nodes=2),
        PoolsConfig(auto_max_pools=2),
        PoolsConfig(auto_max_pools=1, auto_min_nodes=2),
        PoolsConfig(pools=POOLS[1:], multi_pool=True),
        PoolsConfig(pools=POOLS),
        PoolsConfig(auto_language_pools=False, pool_count=3),
    ]
)
VERBS = st.sampled_from(["add", "add", "remove", "ready"])
STEPS = st.lists(st.tuples(VERBS, st.integers(0, 6), st.integers(0, 4)), max_size=40)
Counts = dict[int, dict[int, list[int]]]


def recount(planner: PoolPlanner, fleet: dict[str, tuple[int, bool]]) -> Counts:
    """Members by pool and class, counted from scratch out of what each node was told."""
    counts: Counts = {}
    for node_id, (class_number, is_ready) in fleet.items():
        for pool_id in planner.pools_of(node_id):
            count = counts.setdefault(pool_id, {}).setdefault(class_number, [0, 0])
            count[0] += 1
            count[1] += is_ready
    return counts


@settings(max_examples=300, deadline=None)
@given(CONFIGS, STEPS)
def test_a_followed_fleet_equals_one_computed_from_scratch(
    config: PoolsConfig, steps: list[tuple[str, int, int]]
) -> None:
    planner = PoolPlanner(config)
    fleet: dict[str, tuple[int, bool]] = {}
    told: dict[str, tuple[int, ...]] = {}
    expected_sets: list[tuple[str, ...]] = []
    for verb, number, choice in steps:
        take_step(planner, fleet, told, (verb, f"node-{number}", choice))
        assert told == {node_id: planner.pools_of(node_id) for node_id in fleet}
        page = planner.page()
        ids = [pool.id for pool in page.pools]
        assert ids == sorted(set(ids))
        listed = {
            pool.id: {number: [online, ready] for number, online, ready in pool.classes}
            for pool in page.pools
            if pool.classes
        }
        assert listed == recount(planner, fleet)
        if planner.mode is PoolMode.LANGUAGE:
            expected_sets = sorted(sets_of(fleet, config)) or expected_sets
            assert sorted(pool.languages for pool in page.pools if pool.id) == expected_sets


def take_step(
    planner: PoolPlanner,
    fleet: dict[str, tuple[int, bool]],
    told: dict[str, tuple[int, ...]],
    step: tuple[str, str, int],
) -> None:
    """Do one thing to the planner, and keep what is so and what the nodes were told of it."""
    verb, node_id, choice = step
    is_ready = choice % 2 == 0
    if verb == "add":
        fleet[node_id] = (choice, is_ready)
        told.update(planner.add(node_id, choice, SETS[choice], is_ready=is_ready))
    elif verb == "remove":
        fleet.pop(node_id, None)
        told.update(planner.remove(node_id))
        told.pop(node_id, None)
    elif node_id in fleet:
        fleet[node_id] = (fleet[node_id][0], is_ready)
        planner.set_ready(node_id, is_ready)


def sets_of(fleet: dict[str, tuple[int, bool]], config: PoolsConfig) -> list[tuple[str, ...]]:
    """The language sets that should have a pool, from scratch."""
    sizes: dict[tuple[str, ...], int] = {}
    for class_number, _ in fleet.values():
        languages = pool_languages(SETS[class_number], config)
        if languages:
            sizes[languages] = sizes.get(languages, 0) + 1
    return winning_sets(sizes, config)


def test_a_joining_node_moves_nobody_else_and_rebuilds_only_its_pool() -> None:
    planner = PoolPlanner(PoolsConfig())
    for number in range(2_000):
        planner.add(f"node-{number}", number % 4, SETS[number % 4], is_ready=True)
    before = {pool.id: pool for pool in planner.page().pools}
    assert planner.add("late", 1, SETS[1], is_ready=True) == {"late": (2,)}
    after = {pool.id: pool for pool in planner.page().pools}
    assert [pool_id for pool_id in after if after[pool_id] is not before[pool_id]] == [2]

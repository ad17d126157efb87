"""Eligible pools, their order, and the session decision: one row per sentence of the behaviour."""

import pytest
from fleet_samples import SPEECH, pair, pool, speech_class
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.config import PoolsConfig
from pointsman_shm.rules.hashing import stable_index
from pointsman_shm.rules.pool_match import Fit, matches_types, needed_types, pool_order
from pointsman_shm.rules.pools import PoolMode
from pointsman_shm.rules.session_pool import (
    PoolOutcome,
    PoolQuestion,
    SessionBinding,
    decide_pool,
    weighted_pick,
)
from pointsman_shm.snapshot.pool_view import PairMemo, PoolView
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    ConfigPage,
    PoolRecord,
    PoolsPage,
    Requirement,
)

DE_EN_ZH, EN_ZH, EN_ES, TEXT, EARS, MODELS = range(6)
CLASSES = [
    speech_class("de", "en", "zh"),
    speech_class("en", "zh"),
    speech_class("en", "es"),
    speech_class("en", "es", types=("nmt",)),
    speech_class("ko", types=("asr",)),
    CapabilityClass(types_installed=("llm",), types_ready=("llm",)),
]

# Automatic language pools: the wildcard first, then from the widest set to the tightest.
BY_LANGUAGE = (
    pool(0, MODELS),
    pool(1, DE_EN_ZH, languages="de-en-zh"),
    pool(2, EN_ZH, languages="en-zh"),
    pool(3, EN_ES, languages="en-es"),
)


def class_of(number: int) -> CapabilityClass | None:
    return CLASSES[number] if number < len(CLASSES) else None


def view(
    *pools: PoolRecord, mode: PoolMode = PoolMode.LANGUAGE, config: PoolsConfig | None = None
) -> PoolView:
    page = PoolsPage(mode=mode, pools=pools)
    return PoolView(page, class_of, ConfigPage(pools=config or PoolsConfig()), PairMemo())


def ids(found: PoolView, requirement: Requirement) -> list[int]:
    return [record.id for record in found.eligible(requirement).records]


def asks(requirement: Requirement, key: str = "tenant-A", draw: int = 0) -> PoolQuestion:
    return PoolQuestion(requirement, key, draw)


ZH_EN, EN_TO_ES = pair("zh", "en"), pair("en", "es")


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (ZH_EN, [1, 2]),
        (pair("en", "zh"), [1, 2]),
        (pair("de", "zh"), [1]),
        (EN_TO_ES, [3]),
        (pair("es", "zh"), []),
        (pair("en", "ko", "asr"), [1, 2, 3]),
        (pair("auto", "es"), [3]),
        (pair("auto", "en"), [1, 2, 3]),
        (Requirement(types=SPEECH, src="auto", tgt="en", auto_langs=("de",)), [1]),
        (Requirement(types=SPEECH), [0, 1, 2, 3]),
        (Requirement(types=("llm",), src="xx", tgt="yy"), [0, 1, 2, 3]),
    ],
)
def test_the_language_index_names_every_pool_that_can_do_the_pair(
    requirement: Requirement, expected: list[int]
) -> None:
    assert ids(view(*BY_LANGUAGE), requirement) == expected


def test_a_pool_whose_only_capable_members_are_offline_does_not_have_the_pair() -> None:
    emptied = PoolRecord(id=4, name="en-es", languages=("en", "es"), classes=((EN_ES, 0, 0),))
    assert ids(view(emptied), EN_TO_ES) == []
    unready = PoolRecord(id=4, name="en-es", languages=("en", "es"), classes=((EN_ES, 1, 0),))
    assert ids(view(unready), EN_TO_ES) == [4], "not Ready is not Offline"


@pytest.mark.parametrize(
    ("scope", "types", "expected"),
    [
        ("core_only", ("asr", "llm", "semantic"), ("asr",)),
        ("all_required", ("asr", "llm", "semantic"), ("asr", "llm", "semantic")),
        ("core_only", ("llm",), ()),
    ],
)
def test_the_scope_says_which_types_are_matched(
    scope: str, types: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    config = PoolsConfig(match_scope=scope)  # type: ignore[arg-type]
    assert needed_types(types, SPEECH, config) == expected


@pytest.mark.parametrize(
    ("mode", "pool_types", "needed", "expected"),
    [
        ("contains", SPEECH, ("nmt",), True),
        ("contains", ("nmt",), SPEECH, False),
        ("contains", SPEECH, (), True),
        ("exact", SPEECH, ("nmt",), False),
        ("exact", SPEECH, ("tts", "asr", "nmt"), True),
        ("exact", SPEECH, (), False),
        ("exact", (), SPEECH, True),
        ("contains", (), SPEECH, True),
    ],
)
def test_needed_types_are_contained_or_equal_and_a_wildcard_takes_all(
    mode: str, pool_types: tuple[str, ...], needed: tuple[str, ...], expected: bool
) -> None:
    config = PoolsConfig(match_mode=mode)  # type: ignore[arg-type]
    assert matches_types(pool(1, types=pool_types), needed, config) is expected


WEIGHTED = PoolsConfig(pool_choice="weighted")


@pytest.mark.parametrize(
    ("mode", "config", "preferred", "expected"),
    [
        (PoolMode.LANGUAGE, PoolsConfig(), 2, (2, 3, 1, 0)),
        (PoolMode.LANGUAGE, PoolsConfig(), 1, (1, 2, 3, 0)),
        (PoolMode.LANGUAGE, WEIGHTED, 2, (2, 3, 0, 1)),
        (PoolMode.CAPABILITY, WEIGHTED, 3, (3, 0, 1, 2)),
        (PoolMode.HASH, PoolsConfig(), 2, (2, 3, 0, 1)),
    ],
)
def test_the_preferred_pool_comes_first_and_then_the_others(
    mode: PoolMode, config: PoolsConfig, preferred: int, expected: tuple[int, ...]
) -> None:
    assert pool_order(BY_LANGUAGE, preferred, mode, config) == expected


BOUND_EN_ZH = SessionBinding("zh", "en", 2)
BOUND_WIDE = SessionBinding("zh", "en", 1)


@pytest.mark.parametrize(
    ("binding", "requirement", "overrides", "outcome", "order"),
    [
        # nothing bound: the tightest pool that can do the pair
        (None, ZH_EN, {}, PoolOutcome.FIRST, (2, 1)),
        # bound and same pair: reuse, even where another would now come first
        (BOUND_WIDE, ZH_EN, {}, PoolOutcome.HIT, (1, 2)),
        # pair changed: forget the binding
        (BOUND_WIDE, pair("en", "zh"), {}, PoolOutcome.RESET, (2, 1)),
        (BOUND_WIDE, EN_TO_ES, {}, PoolOutcome.RESET, (3,)),
        # the tenant's override wins if it is eligible
        (None, ZH_EN, {"": 1}, PoolOutcome.OVERRIDE, (1, 2)),
        (None, ZH_EN, {"": 3}, PoolOutcome.FIRST, (2, 1)),
        (None, ZH_EN, {"somebody": 1}, PoolOutcome.FIRST, (2, 1)),
        # a bound pool that is gone is replaced
        (SessionBinding("zh", "en", 9), ZH_EN, {}, PoolOutcome.REPLACED, (2, 1)),
        # so is one that cannot do the pair any more
        (SessionBinding("zh", "en", 3), ZH_EN, {}, PoolOutcome.REPLACED, (2, 1)),
    ],
)
def test_the_session_decision(
    binding: SessionBinding | None,
    requirement: Requirement,
    overrides: dict[str, int],
    outcome: PoolOutcome,
    order: tuple[int, ...],
) -> None:
    decision = decide_pool(view(*BY_LANGUAGE), binding, asks(requirement), overrides)
    assert decision.outcome is outcome
    assert decision.binding == SessionBinding(requirement.src, requirement.tgt, order[0])
    assert decision.pools == order
    assert decision.eligible_count == len(order)


def test_no_pool_for_the_pair_binds_nothing_and_asks_everybody() -> None:
    nobody = pair("ko", "zh")
    decision = decide_pool(view(*BY_LANGUAGE), BOUND_EN_ZH, asks(nobody), {})
    assert (decision.outcome, decision.binding) == (PoolOutcome.NONE, None)
    assert decision.pools == (2, 3, 1, 0)
    assert not decision.strict_left_none


def test_strict_eligibility_asks_nobody() -> None:
    strict = view(*BY_LANGUAGE, config=PoolsConfig(strict_eligibility=True))
    decision = decide_pool(strict, None, asks(pair("ko", "zh")), {})
    assert (decision.outcome, decision.pools) == (PoolOutcome.NONE, ())
    assert decision.strict_left_none
    assert not decide_pool(strict, None, asks(ZH_EN), {}).strict_left_none


def test_no_pools_at_all_is_not_strictness() -> None:
    decision = decide_pool(view(), None, asks(ZH_EN), {})
    assert (decision.outcome, decision.pools) == (PoolOutcome.NONE, ())
    assert not decision.strict_left_none


def test_without_fallback_only_the_preferred_pool_is_asked() -> None:
    alone = view(*BY_LANGUAGE, config=PoolsConfig(fallback_scan_all_pools=False))
    assert decide_pool(alone, None, asks(ZH_EN), {}).pools == (2,)
    assert decide_pool(alone, BOUND_WIDE, asks(ZH_EN), {}).pools == (1,)
    assert decide_pool(alone, None, asks(pair("ko", "zh")), {}).pools == (2,)


def test_affinity_picks_by_hash_among_the_eligible() -> None:
    sticky = view(*BY_LANGUAGE, config=PoolsConfig(session_affinity=True))
    for key in ("tenant-A", "tenant-B", "c", "d"):
        decision = decide_pool(sticky, None, asks(ZH_EN, key), {})
        assert decision.outcome is PoolOutcome.AFFINITY
        assert decision.pools[0] == (1, 2)[stable_index(key, 0, 2)]
    assert decide_pool(sticky, None, asks(ZH_EN, "tenant-A"), {}).pools == (2, 1)
    assert decide_pool(sticky, None, asks(ZH_EN, "tenant-B"), {}).pools == (1, 2)
    assert decide_pool(sticky, None, asks(ZH_EN), {"": 1}).outcome is PoolOutcome.OVERRIDE
    assert decide_pool(sticky, BOUND_WIDE, asks(ZH_EN), {}).outcome is PoolOutcome.HIT


def test_a_bound_pool_that_lacks_this_jobs_types_is_kept_and_passed_over() -> None:
    by_type = view(
        pool(1, EN_ES, types=SPEECH), pool(2, TEXT, types=("nmt",)), mode=PoolMode.CAPABILITY
    )
    bound = SessionBinding("en", "es", 2)
    decision = decide_pool(by_type, bound, asks(EN_TO_ES), {})
    assert decision.outcome is PoolOutcome.HIT
    assert decision.binding == bound
    assert decision.pools == (1,)
    text = decide_pool(by_type, decision.binding, asks(pair("en", "es", "nmt")), {})
    assert (text.outcome, text.pools) == (PoolOutcome.HIT, (2, 1))


def test_a_kept_binding_survives_a_job_that_no_pool_can_do() -> None:
    only_text = view(pool(2, TEXT, types=("nmt",)), mode=PoolMode.CAPABILITY)
    bound = SessionBinding("en", "es", 2)
    decision = decide_pool(only_text, bound, asks(EN_TO_ES), {})
    assert (decision.outcome, decision.binding, decision.pools) == (PoolOutcome.HIT, bound, (2,))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ((EN_ES,), Fit.ELIGIBLE),
        ((TEXT,), Fit.LACKS_TYPES),
        ((EARS,), Fit.NO_PAIR),
        ((EARS, TEXT), Fit.LACKS_TYPES),
        ((EN_ZH,), Fit.NO_PAIR),
        ((EN_ZH, MODELS), Fit.NO_PAIR),
        ((MODELS,), Fit.LACKS_TYPES),
        ((), Fit.NO_PAIR),
        ((99,), Fit.LACKS_TYPES),
    ],
)
def test_how_a_pool_stands_to_a_request(classes: tuple[int, ...], expected: Fit) -> None:
    assert view(pool(1, *classes)).fit(1, EN_TO_ES) is expected


@pytest.mark.parametrize("binding", [None, BOUND_WIDE])
def test_a_request_without_languages_goes_by_type_and_binds_nothing(
    binding: SessionBinding | None,
) -> None:
    by_type = view(
        pool(1, EN_ES, types=SPEECH), pool(2, TEXT, types=("nmt",)), mode=PoolMode.CAPABILITY
    )
    decision = decide_pool(by_type, binding, asks(Requirement(types=SPEECH)), {})
    assert (decision.outcome, decision.pools) == (PoolOutcome.FIRST, (1,))
    assert decision.binding == binding


def test_hash_buckets_start_at_a_random_eligible_bucket_and_go_round_the_ring() -> None:
    buckets = view(*(pool(n, EN_ES) for n in range(4)), mode=PoolMode.HASH)
    assert decide_pool(buckets, None, asks(EN_TO_ES, draw=2), {}).pools == (2, 3, 0, 1)
    partly = view(pool(0), pool(1, EN_ES), pool(2), pool(3, EN_ES), mode=PoolMode.HASH)
    assert decide_pool(partly, None, asks(EN_TO_ES, draw=5), {}).pools == (3, 1)


def test_weighted_choice_follows_the_free_slots() -> None:
    weighted = view(*BY_LANGUAGE, config=WEIGHTED)
    free = {1: 1, 2: 3}
    found = [
        decide_pool(weighted, None, asks(ZH_EN, draw=n), {}, lambda p: free[p.id]).pools[0]
        for n in range(8)
    ]
    assert found == [1, 2, 2, 2, 1, 2, 2, 2]


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=6), st.integers(0, 2**64 - 1))
def test_a_weighted_pick_never_takes_a_full_pool_while_another_has_room(
    free: list[int], draw: int
) -> None:
    pools = [pool(n) for n in range(len(free))]
    picked = weighted_pick(pools, draw, lambda p: free[p.id])
    assert free[picked] > 0 or max(free) <= 0


def test_the_core_cache_counts_what_a_pool_has() -> None:
    classes = ((EN_ES, 3, 2), (TEXT, 2, 0), (99, 1, 1))
    found = view(PoolRecord(id=1, name="p", classes=classes))
    counts = found.counts(1)
    assert (counts.online, counts.ready) == (6, 3)
    assert counts.installed == {"asr": 3, "nmt": 5, "tts": 3}
    assert counts.types_ready == {"asr": 2, "nmt": 2, "tts": 2}
    assert counts.can_serve(("asr", "tts"))
    assert not counts.can_serve(("asr", "llm"))
    nobody_ready = view(PoolRecord(id=1, name="p", classes=((TEXT, 2, 0),)))
    assert not nobody_ready.counts(1).can_serve(("nmt",))


def test_semantic_is_present_when_a_node_that_is_not_offline_has_it() -> None:
    assert view(*BY_LANGUAGE).has_type_online("llm")
    assert not view(*BY_LANGUAGE).has_type_online("semantic")
    offline = PoolRecord(id=1, name="p", classes=((MODELS, 0, 0),))
    assert not view(offline).has_type_online("llm")


@pytest.mark.parametrize(
    ("config", "pools", "expected"),
    [
        (PoolsConfig(), BY_LANGUAGE, True),
        (PoolsConfig(enabled=False), BY_LANGUAGE, False),
        (PoolsConfig(mode="single_level"), BY_LANGUAGE, False),
        (PoolsConfig(), (pool(0), pool(1)), False),
    ],
)
def test_two_level_runs_when_enabled_and_somebody_is_there(
    config: PoolsConfig, pools: tuple[PoolRecord, ...], expected: bool
) -> None:
    assert view(*pools, config=config).is_two_level is expected


def test_what_was_learnt_about_classes_outlives_a_view() -> None:
    asked: list[int] = []

    def counting(number: int) -> CapabilityClass | None:
        asked.append(number)
        return class_of(number)

    memo = PairMemo()
    for _ in range(3):
        page = PoolsPage(mode="language", pools=BY_LANGUAGE)
        assert ids(PoolView(page, counting, ConfigPage(), memo), ZH_EN) == [1, 2]
    assert len(asked) == len(BY_LANGUAGE)

"""Class checks: their order, and their agreement with a slow reference that only knows sets."""

from itertools import product

import pytest
from fleet_samples import SPEECH, pair, speech_class
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pointsman_shm.rules.canonical import canonical_class
from pointsman_shm.rules.eligibility import all_failures, first_failure, uses_semantic
from pointsman_shm.rules.load import effective_load, foreign_load
from pointsman_shm.rules.reasons import REASON_COUNT, Reason, best_reason_label
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    LanguageAbility,
    NmtAbility,
    Requirement,
)

NOBODY = CapabilityClass(tenant="b", public=False)
ALL_WRONG = Requirement(
    types=SPEECH, src="en", tgt="es", features=("f",), labels=(("k", "v"),), tenant="a"
)


def test_the_checks_come_in_their_one_order() -> None:
    assert all_failures(NOBODY, ALL_WRONG, True) == (
        Reason.GPU_UNAVAILABLE,
        Reason.NOT_IN_PUBLIC_POOL,
        Reason.MODEL_NOT_AVAILABLE,
        Reason.FEATURE_UNSUPPORTED,
        Reason.LABEL_MISMATCH,
        Reason.LANG_PAIR_UNSUPPORTED,
    )


@pytest.mark.parametrize(
    ("node_tenant", "is_public", "tenant", "accept_public", "may"),
    [
        ("a", True, "b", True, True),
        ("a", True, "b", False, False),
        ("a", True, "a", False, True),
        ("a", False, "b", True, False),
        ("a", False, "a", True, True),
        ("", False, "", True, True),
        ("", False, "a", True, False),
    ],
)
def test_public_on_both_sides_or_one_tenant(
    node_tenant: str, is_public: bool, tenant: str, accept_public: bool, may: bool
) -> None:
    capability = CapabilityClass(tenant=node_tenant, public=is_public)
    asks = Requirement(types=(), tenant=tenant, accept_public=accept_public)
    expected = None if may else Reason.NOT_IN_PUBLIC_POOL
    assert first_failure(capability, asks, False) is expected


def test_a_type_counts_only_when_installed_and_ready() -> None:
    english = pair("en", "es")
    assert first_failure(speech_class("en", "es"), english, False) is None
    unready = speech_class("en", "es", ready=("asr", "nmt"))
    assert first_failure(unready, english, False) is Reason.MODEL_NOT_AVAILABLE
    absent = CapabilityClass(types_installed=("asr",), types_ready=SPEECH)
    assert first_failure(absent, english, False) is Reason.MODEL_NOT_AVAILABLE


def test_the_job_carries_semantic_only_where_it_is_ready_for_both_languages() -> None:
    capability = speech_class("en", "zh", types=(*SPEECH, "semantic"))
    assert uses_semantic(capability, pair("en", "zh"))
    assert not uses_semantic(capability, pair("en", "es"))
    unready = speech_class("en", "zh", types=(*SPEECH, "semantic"), ready=SPEECH)
    assert not uses_semantic(unready, pair("en", "zh"))


CODES = ("en", "es", "zh")
TYPES = ("asr", "llm", "nmt", "semantic", "tts")


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=len(values), unique=True).map(tuple)


PAIRS = st.lists(st.tuples(st.sampled_from(CODES), st.sampled_from(CODES)), max_size=3).map(tuple)
RULES = ("", "any_to_any", "any_to_en", "en_to_any", "specific_pairs")
LABELS = st.dictionaries(st.sampled_from("kl"), st.sampled_from("vw")).map(
    lambda labels: tuple(labels.items())
)

CLASSES = st.builds(
    CapabilityClass,
    tenant=st.sampled_from(["", "a"]),
    public=st.booleans(),
    gpu=st.booleans(),
    types_installed=some(TYPES),
    types_ready=some(TYPES),
    features=some(("f", "g")),
    labels=LABELS,
    languages=st.builds(
        LanguageAbility,
        asr=some(CODES),
        tts=some(CODES),
        semantic=some(CODES),
        nmt=st.builds(NmtAbility, st.sampled_from(RULES), some(CODES), PAIRS, PAIRS),
    ),
).map(canonical_class)


def in_one_form(asked: Requirement) -> Requirement:
    """As workers make it: sorted, each once, languages that a speaker may use only for auto."""
    auto_langs = sorted(set(asked.auto_langs)) if asked.src == "auto" else ()
    return replace(
        asked,
        types=tuple(sorted(set(asked.types))),
        auto_langs=tuple(auto_langs),
        features=tuple(sorted(set(asked.features))),
        labels=tuple(sorted(set(asked.labels))),
    )


REQUIREMENTS = st.builds(
    Requirement,
    types=some(TYPES),
    src=st.sampled_from(["", "auto", *CODES]),
    tgt=st.sampled_from(["", *CODES]),
    auto_langs=some(CODES),
    features=some(("f", "g")),
    labels=LABELS,
    tenant=st.sampled_from(["", "a"]),
    accept_public=st.booleans(),
).map(in_one_form)


def reference_pairs(nmt: NmtAbility) -> set[tuple[str, str]]:
    listed = set(nmt.languages)
    pairs = {
        "": set[tuple[str, str]](),
        "any_to_any": set(product(listed, listed)),
        "any_to_en": set(product(listed, ["en"])),
        "en_to_any": set(product(["en"], listed)),
        "specific_pairs": set(nmt.pairs),
    }[nmt.rule]
    return pairs - set(nmt.blocked)


def reference_serves(ability: LanguageAbility, types: set[str], src: str, tgt: str) -> bool:
    """One source, spelt out: every service that is asked for can do its side."""
    return (
        ("asr" not in types or src in ability.asr)
        and ("nmt" not in types or (src, tgt) in reference_pairs(ability.nmt))
        and ("tts" not in types or tgt in ability.tts)
        and ("semantic" not in types or {src, tgt} - {""} <= set(ability.semantic))
    )


def reference_can(capability: CapabilityClass, asks: Requirement, require_gpu: bool) -> bool:
    """What a class can do, from the words of the rules and without their order."""
    types, ability = set(asks.types), capability.languages
    if asks.src == "auto":
        # Without a service that listens to the source, any source will do.
        expected = [code for code in CODES if not asks.auto_langs or code in asks.auto_langs]
        listens = bool(types & {"asr", "nmt", "semantic"})
        sources = expected if listens else [""]
        speaks = any(reference_serves(ability, types, src, asks.tgt) for src in sources)
    else:
        speaks = not (asks.src or asks.tgt) or reference_serves(ability, types, asks.src, asks.tgt)
    return (
        speaks
        and (capability.gpu or not require_gpu)
        and (capability.tenant == asks.tenant or (capability.public and asks.accept_public))
        and types <= set(capability.types_installed) & set(capability.types_ready)
        and set(asks.features) <= set(capability.features)
        and set(asks.labels) <= set(capability.labels)
    )


@settings(max_examples=500, deadline=None)
@given(CLASSES, REQUIREMENTS, st.booleans())
def test_a_class_passes_exactly_when_the_reference_says_so(
    capability: CapabilityClass, asks: Requirement, require_gpu: bool
) -> None:
    first = first_failure(capability, asks, require_gpu)
    every = all_failures(capability, asks, require_gpu)
    assert (first is None) is reference_can(capability, asks, require_gpu)
    assert every[:1] == (() if first is None else (first,))
    assert len(set(every)) == len(every)


@given(CLASSES)
def test_equal_capability_is_one_class(capability: CapabilityClass) -> None:
    assert canonical_class(capability) == capability
    assert hash(canonical_class(capability)) == hash(capability)


def counts(**named: int) -> list[int]:
    found = [0] * REASON_COUNT
    for name, count in named.items():
        found[Reason[name]] = count
    return found


@pytest.mark.parametrize(
    ("counted", "total", "strict", "expected"),
    [
        (counts(), 0, False, "no_nodes"),
        (counts(), 0, True, "no_nodes"),
        (counts(OFFLINE=2), 2, True, "no_eligible_pool"),
        (counts(OFFLINE=2, EXCLUDED=1), 3, False, "offline"),
        (counts(CAPACITY_EXCEEDED=2, NO_LANE=2), 4, False, "capacity_exceeded"),
        (counts(NO_LANE=3, CAPACITY_EXCEEDED=2), 5, False, "no_lane"),
        (counts(), 4, False, "unknown"),
    ],
)
def test_the_best_reason_is_the_largest_and_on_ties_the_earliest(
    counted: list[int], total: int, strict: bool, expected: str
) -> None:
    assert best_reason_label(counted, total, strict_left_none=strict) == expected


def test_the_reasons_stand_in_their_published_order() -> None:
    assert [reason.label for reason in Reason] == [
        "offline",
        "status_not_ready",
        "not_in_public_pool",
        "gpu_unavailable",
        "model_not_available",
        "capacity_exceeded",
        "resource_threshold_exceeded",
        "lang_pair_unsupported",
        "asr_lang_unsupported",
        "tts_lang_unsupported",
        "src_auto_no_candidate",
        "feature_unsupported",
        "label_mismatch",
        "owner_paused",
        "excluded",
        "no_lane",
    ]


def test_load_is_what_is_held_and_foreign_over_the_slots() -> None:
    assert effective_load(2, 1, 4) == 0.75
    assert effective_load(0, 0, 0) > effective_load(4096, 4096, 1)
    assert foreign_load(5, 3) == 2
    assert foreign_load(1, 3) == 0

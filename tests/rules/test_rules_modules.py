"""Features to modules to service types, and the tables they come from."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.rules.catalogue import Catalogue, find_cycle
from pointsman_shm.rules.modules import (
    UnknownName,
    expand_modules,
    required_types,
    wants_semantic,
)

SPEECH = Catalogue()


@pytest.mark.parametrize(
    ("services", "features", "expected"),
    [
        ((), (), ("asr", "nmt", "tts")),
        ((), ("emotion_detection",), ("asr", "nmt", "tts")),
        ((), ("speaker_identification",), ("asr", "nmt", "tone", "tts")),
        ((), ("voice_cloning",), ("asr", "nmt", "tone", "tts")),
        ((), ("voice_style_detection",), ("asr", "nmt", "tone", "tts")),
        ((), ("speech_rate_control",), ("asr", "nmt", "tts")),
        (("nmt",), (), ("nmt",)),
        (("tts", "nmt", "nmt"), (), ("nmt", "tts")),
        (("nmt",), ("voice_cloning",), ("nmt",)),
        (("nmt",), ("whatever the node says",), ("nmt",)),
    ],
)
def test_a_request_gets_the_types_it_needs(
    services: tuple[str, ...], features: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert required_types(SPEECH, services=services, features=features) == expected


def test_modules_are_expanded_depth_first_through_the_table() -> None:
    assert expand_modules(SPEECH, ["speech_rate_control"]) == (
        "asr",
        "speech_rate_detection",
        "tts",
        "speech_rate_control",
    )
    assert expand_modules(SPEECH, ["voice_cloning", "voice_cloning"]) == (
        "speaker_identification",
        "voice_cloning",
    )


def test_an_unknown_name_is_refused_with_the_nearest_right_one() -> None:
    refused = required_types(SPEECH, services=("asrr",), features=())
    assert isinstance(refused, UnknownName)
    assert (refused.kind, refused.name, refused.nearest) == ("service", "asrr", "asr")
    refused = required_types(SPEECH, services=(), features=("voice_cloneing",))
    assert isinstance(refused, UnknownName)
    assert refused.hint == "unknown feature 'voice_cloneing': did you mean 'voice_cloning'?"


def test_an_unknown_name_that_is_near_to_none_is_refused_with_those_that_there_are() -> None:
    refused = required_types(SPEECH, services=("draw",), features=())
    assert isinstance(refused, UnknownName)
    assert refused.hint == "unknown service 'draw': there are asr, nmt, semantic, tone, tts"
    many = Catalogue(features={f"feature-{number:03}" + "x" * 80: () for number in range(500)})
    refused = required_types(many, services=(), features=("?" * 128,))
    assert isinstance(refused, UnknownName)
    assert refused.hint.endswith(f"feature-011{'x' * 53} and 488 more")
    assert len(refused.hint) < 1_000
    none = required_types(Catalogue(features={}), services=(), features=("loud",))
    assert isinstance(none, UnknownName)
    assert none.hint == "unknown feature 'loud': there are none"


@pytest.mark.parametrize(
    ("has_services", "is_two_level", "is_present", "expected"),
    [
        (False, True, True, True),
        (False, True, False, False),
        (False, False, True, False),
        (True, True, True, False),
    ],
)
def test_the_default_pipeline_adds_semantic_only_in_two_level_mode(
    has_services: bool, is_two_level: bool, is_present: bool, expected: bool
) -> None:
    wanted = wants_semantic(
        has_services=has_services, is_two_level=is_two_level, is_semantic_present=is_present
    )
    assert wanted is expected
    services = ("nmt",) if has_services else ()
    types = required_types(SPEECH, services=services, features=(), add_semantic=wanted)
    assert not isinstance(types, UnknownName)
    assert ("semantic" in types) is expected


def test_another_fleet_names_its_own_services() -> None:
    models = Catalogue(services=("llm", "embedding"), default_services=("llm",))
    assert required_types(models, services=(), features=()) == ("llm",)
    assert required_types(models, services=("embedding",), features=()) == ("embedding",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"default_services": ("asr", "mnt")}, "default_services names 'mnt'"),
        ({"core_types": ("llm",)}, "core_types names 'llm'"),
        ({"features": {"loud": ("shout",)}}, r"features\.loud names 'shout'"),
        ({"dependencies": {"a": ("b",)}, "features": {}}, r"dependencies\.a names 'b'"),
        ({"module_types": {"a": ("b",)}}, r"module_types\.a names 'b'"),
        ({"dependencies": {"a": ("a",)}, "features": {}}, "cycle: a -> a"),
        (
            {"dependencies": {"a": ("b",), "b": ("c",), "c": ("b",)}, "features": {}},
            "cycle: b -> c -> b",
        ),
    ],
)
def test_a_faulty_catalogue_is_an_error_when_it_is_made(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Catalogue(**fields)  # type: ignore[arg-type]


def reaches(table: dict[str, tuple[str, ...]], start: str, goal: str) -> bool:
    seen, frontier = set[str](), set(table.get(start, ()))
    while frontier:
        seen |= frontier
        frontier = {after for name in frontier for after in table.get(name, ())} - seen
    return goal in seen


@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3).map(tuple)
    )
)
def test_a_cycle_is_found_exactly_when_a_module_reaches_itself(
    table: dict[str, tuple[str, ...]],
) -> None:
    cycle = find_cycle(table)
    assert bool(cycle) is any(reaches(table, name, name) for name in table)
    if cycle:
        assert cycle[0] == cycle[-1]
        steps = itertools.pairwise(cycle)
        assert all(after in table[before] for before, after in steps)


def test_a_very_deep_table_is_no_trouble() -> None:
    deep = {f"m{i}": (f"m{i + 1}",) for i in range(5000)}
    catalogue = Catalogue(dependencies={**deep, "m5000": ("tone",)}, features={"deep": ("m0",)})
    types = required_types(catalogue, services=(), features=("deep",))
    assert types == ("asr", "nmt", "tone", "tts")

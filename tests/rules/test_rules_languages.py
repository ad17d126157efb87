"""Languages: normal forms, translation rules, and what "auto" stands for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.rules.canonical import canonical_nmt
from pointsman_shm.rules.languages import (
    AUTO,
    auto_sources,
    can_translate,
    describe_languages,
    is_semantic_for,
    language_failure,
    language_set,
    nmt_sources,
    normalise,
    normalise_all,
)
from pointsman_shm.rules.reasons import Reason
from pointsman_shm.snapshot.records import LanguageAbility, NmtAbility, Requirement

CODES = ("de", "en", "es", "zh")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("zh-CN", "zh"),
        ("zh-tw", "zh"),
        ("ZH-Hans", "zh"),
        ("zh-hant", "zh"),
        ("pt-BR", "pt"),
        ("pt-pt", "pt"),
        ("en-US", "en"),
        ("en-gb", "en"),
        ("in", "id"),
        ("IW", "he"),
        ("fr-ca", "fr-ca"),
        ("", ""),
    ],
)
def test_codes_are_normalised(code: str, expected: str) -> None:
    assert normalise(code) == expected
    assert normalise(normalise(code)) == expected


def test_a_list_is_sorted_and_without_repeats() -> None:
    assert normalise_all(["zh-TW", "en", "zh", "EN-us"]) == ("en", "zh")


@pytest.mark.parametrize(
    ("nmt", "src", "tgt", "expected"),
    [
        (NmtAbility("any_to_any", ("en", "zh")), "zh", "en", True),
        (NmtAbility("any_to_any", ("en", "zh")), "zh", "es", False),
        (NmtAbility("any_to_any", ("en", "zh")), "es", "zh", False),
        (NmtAbility("any_to_en", ("es", "zh")), "zh", "en", True),
        (NmtAbility("any_to_en", ("es", "zh")), "de", "en", False),
        (NmtAbility("any_to_en", ("en", "es", "zh")), "zh", "es", False),
        (NmtAbility("en_to_any", ("es", "zh")), "en", "zh", True),
        (NmtAbility("en_to_any", ("es", "zh")), "en", "de", False),
        (NmtAbility("en_to_any", ("es", "zh")), "es", "zh", False),
        (NmtAbility("specific_pairs", pairs=(("en", "es"),)), "en", "es", True),
        (NmtAbility("specific_pairs", pairs=(("en", "es"),)), "es", "en", False),
        (NmtAbility("any_to_any", ("en", "zh"), blocked=(("zh", "en"),)), "zh", "en", False),
        (NmtAbility("any_to_any", ("en", "zh"), blocked=(("zh", "en"),)), "en", "zh", True),
        (
            NmtAbility("specific_pairs", pairs=(("en", "es"),), blocked=(("en", "es"),)),
            "en",
            "es",
            False,
        ),
        (NmtAbility("", ("en", "zh")), "zh", "en", False),
        (NmtAbility("any_to_any", ("", "en")), "", "en", False),
    ],
)
def test_each_translation_rule_allows_its_pairs(
    nmt: NmtAbility, src: str, tgt: str, expected: bool
) -> None:
    assert can_translate(nmt, src, tgt) is expected


@st.composite
def abilities(draw: st.DrawFn) -> NmtAbility:
    codes = st.sampled_from(CODES)
    pairs = st.lists(st.tuples(codes, codes), max_size=4)
    return canonical_nmt(
        NmtAbility(
            draw(st.sampled_from(["", "any_to_any", "any_to_en", "en_to_any", "specific_pairs"])),
            tuple(draw(st.lists(codes, max_size=4))),
            tuple(draw(pairs)),
            tuple(draw(pairs)),
        )
    )


@given(abilities(), st.sampled_from(CODES))
def test_the_sources_are_exactly_those_that_translate(nmt: NmtAbility, tgt: str) -> None:
    assert nmt_sources(nmt, tgt) == tuple(src for src in CODES if can_translate(nmt, src, tgt))


def test_an_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="any_two_any"):
        canonical_nmt(NmtAbility("any_two_any"))


def test_the_language_set_is_the_union_over_the_services() -> None:
    ability = LanguageAbility(
        asr=("en",),
        tts=("es",),
        semantic=("fr",),
        nmt=NmtAbility("specific_pairs", (), (("de", "zh"),)),
    )
    assert language_set(ability) == ("de", "en", "es", "fr", "zh")
    assert language_set(LanguageAbility(nmt=NmtAbility("any_to_en", ("zh",)))) == ("en", "zh")
    assert language_set(LanguageAbility(nmt=NmtAbility("en_to_any", ("zh",)))) == ("en", "zh")
    assert language_set(LanguageAbility()) == ()


EARS = LanguageAbility(
    asr=("en", "zh"), tts=("es",), nmt=NmtAbility("specific_pairs", pairs=(("en", "es"),))
)


def asks(types: str, src: str, tgt: str, *auto_langs: str) -> Requirement:
    return Requirement(types=tuple(types.split()), src=src, tgt=tgt, auto_langs=auto_langs)


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (asks("asr nmt tts", "en", "es"), None),
        (asks("asr nmt tts", "zh", "es"), Reason.LANG_PAIR_UNSUPPORTED),
        (asks("asr", "zh", "ko"), None),
        (asks("asr", "ko", "es"), Reason.ASR_LANG_UNSUPPORTED),
        (asks("tts", "ko", "es"), None),
        (asks("tts", "", "en"), Reason.TTS_LANG_UNSUPPORTED),
        (asks("nmt", "en", ""), Reason.LANG_PAIR_UNSUPPORTED),
        (asks("asr nmt tts", "", ""), None),
        (asks("llm", "ko", "xx"), None),
        (asks("asr", AUTO, ""), None),
        (asks("asr nmt tts", AUTO, "es"), None),
        (asks("asr nmt", AUTO, "en"), Reason.SRC_AUTO_NO_CANDIDATE),
        (asks("asr nmt", AUTO, "es", "zh"), Reason.SRC_AUTO_NO_CANDIDATE),
        (asks("asr nmt", AUTO, "es", "en", "zh"), None),
        (asks("nmt", AUTO, "es"), None),
        (asks("tts", AUTO, "es"), None),
        (asks("tts", AUTO, "en"), Reason.TTS_LANG_UNSUPPORTED),
        (asks("semantic", "en", "es"), Reason.LANG_PAIR_UNSUPPORTED),
    ],
)
def test_the_first_language_that_is_missing_is_named(
    requirement: Requirement, expected: Reason | None
) -> None:
    assert language_failure(EARS, requirement) is expected


def test_auto_needs_some_recognition() -> None:
    deaf = LanguageAbility(tts=("es",), nmt=NmtAbility("any_to_any", ("en", "es")))
    assert language_failure(deaf, asks("asr nmt", AUTO, "es")) is Reason.ASR_LANG_UNSUPPORTED


def test_auto_means_every_source_that_is_recognised_into_the_target() -> None:
    ability = LanguageAbility(
        asr=("en", "ko", "zh"), nmt=NmtAbility("any_to_any", ("en", "es", "zh"))
    )
    assert auto_sources(ability, asks("asr nmt", AUTO, "es")) == ("en", "zh")
    assert auto_sources(ability, asks("asr nmt", AUTO, "es", "ko", "zh")) == ("zh",)
    assert auto_sources(ability, asks("asr", AUTO, "")) == ("en", "ko", "zh")


def test_semantic_serves_a_job_only_in_both_of_its_languages() -> None:
    ability = LanguageAbility(semantic=("en", "zh"))
    assert is_semantic_for(ability, "zh", "en")
    assert is_semantic_for(ability, AUTO, "en")
    assert not is_semantic_for(ability, "zh", "es")
    assert not is_semantic_for(ability, "es", "zh")
    assert not is_semantic_for(LanguageAbility(), AUTO, "en")


def test_languages_are_told_to_people_service_by_service() -> None:
    pairs = NmtAbility("specific_pairs", (), (("en", "es"), ("es", "en")))
    ability = LanguageAbility(asr=("en", "es"), semantic=("en",), nmt=pairs)
    assert describe_languages(ability) == "asr en es; nmt en>es es>en; semantic en"
    ruled = LanguageAbility(nmt=NmtAbility("any_to_en", ("de", "es")), tts=("de",))
    assert describe_languages(ruled) == "nmt any_to_en de es; tts de"
    assert describe_languages(LanguageAbility()) == ""

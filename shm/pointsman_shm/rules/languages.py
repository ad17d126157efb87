"""Languages: normal forms, translation rules, and what a source of "auto" means.

"auto" never means "do not check": it means every source that this one node can recognise into
the target, narrowed to the languages that the session expects, if it names any.
"""

from collections.abc import Iterable
from enum import StrEnum

from pointsman_shm.rules.reasons import Reason
from pointsman_shm.snapshot.records import LanguageAbility, NmtAbility, Requirement

AUTO = "auto"

ALIASES = {
    "zh-cn": "zh",
    "zh-tw": "zh",
    "zh-hans": "zh",
    "zh-hant": "zh",
    "pt-br": "pt",
    "pt-pt": "pt",
    "en-us": "en",
    "en-gb": "en",
    "in": "id",
    "iw": "he",
}


class NmtRule(StrEnum):
    """How the listed languages of a translation service combine into pairs."""

    ANY_TO_ANY = "any_to_any"
    ANY_TO_EN = "any_to_en"
    EN_TO_ANY = "en_to_any"
    SPECIFIC_PAIRS = "specific_pairs"


# Plain strings, because an enum's members cost as much to reach as the comparison itself.
ANY_TO_ANY = NmtRule.ANY_TO_ANY.value
ANY_TO_EN = NmtRule.ANY_TO_EN.value
EN_TO_ANY = NmtRule.EN_TO_ANY.value
SPECIFIC_PAIRS = NmtRule.SPECIFIC_PAIRS.value


def normalise(code: str) -> str:
    """Reduce a language code to the form in which codes are compared."""
    lowered = code.lower()
    return ALIASES.get(lowered, lowered)


def normalise_all(codes: Iterable[str]) -> tuple[str, ...]:
    """Normalise, sort, and drop repeats."""
    return tuple(sorted({normalise(code) for code in codes}))


def can_translate(nmt: NmtAbility, src: str, tgt: str) -> bool:
    """Say whether the service translates `src` into `tgt`; a blocked pair never."""
    if not src or not tgt or (src, tgt) in nmt.blocked:
        return False
    rule = nmt.rule
    if rule == SPECIFIC_PAIRS:
        return (src, tgt) in nmt.pairs
    if rule == ANY_TO_ANY:
        return src in nmt.languages and tgt in nmt.languages
    if rule == ANY_TO_EN:
        return tgt == "en" and src in nmt.languages
    return rule == EN_TO_ANY and src == "en" and tgt in nmt.languages


def nmt_sources(nmt: NmtAbility, tgt: str) -> tuple[str, ...]:
    """Every source that the service translates into `tgt`."""
    if nmt.rule == SPECIFIC_PAIRS:
        sources: Iterable[str] = (src for src, _ in nmt.pairs)
    elif nmt.rule == EN_TO_ANY:
        sources = ("en",)
    else:
        sources = nmt.languages
    return tuple(sorted({src for src in sources if can_translate(nmt, src, tgt)}))


def language_set(ability: LanguageAbility) -> tuple[str, ...]:
    """Every language of a node: the union over its services, sorted."""
    nmt = ability.nmt
    found = {*ability.asr, *ability.tts, *ability.semantic, *nmt.languages}
    found.update(language for pair in nmt.pairs for language in pair)
    if nmt.rule in (ANY_TO_EN, EN_TO_ANY):
        found.add("en")
    return tuple(sorted(found))


def auto_sources(ability: LanguageAbility, requirement: Requirement) -> tuple[str, ...]:
    """The sources that "auto" stands for on this node.

    Recognised languages when recognition is asked for, else those that can be translated from,
    else those of the semantic service; each must pass every further service that is asked for.
    """
    types, tgt = requirement.types, requirement.tgt
    if "asr" in types:
        sources = ability.asr
    elif "nmt" in types:
        sources = nmt_sources(ability.nmt, tgt)
    else:
        sources = ability.semantic
    return tuple(
        src
        for src in sources
        if (not requirement.auto_langs or src in requirement.auto_langs)
        and ("nmt" not in types or can_translate(ability.nmt, src, tgt))
        and ("semantic" not in types or src in ability.semantic)
    )


def language_failure(ability: LanguageAbility, requirement: Requirement) -> Reason | None:
    """The first language that this node lacks for the required types, or None.

    A requirement without languages passes. The order is that of the reasons: the pair, the
    recognised source, the spoken target, and for "auto" last whether any source is left.
    """
    src, tgt, types = requirement.src, requirement.tgt, requirement.types
    if not src and not tgt:
        return None
    is_auto = src == AUTO
    if _pair_fails(ability, requirement, is_auto=is_auto):
        return Reason.LANG_PAIR_UNSUPPORTED
    if "asr" in types and (not ability.asr if is_auto else src not in ability.asr):
        return Reason.ASR_LANG_UNSUPPORTED
    if "tts" in types and tgt not in ability.tts:
        return Reason.TTS_LANG_UNSUPPORTED
    needs_source = "asr" in types or "nmt" in types or "semantic" in types
    if is_auto and needs_source and not auto_sources(ability, requirement):
        return Reason.SRC_AUTO_NO_CANDIDATE
    return None


def _pair_fails(ability: LanguageAbility, requirement: Requirement, *, is_auto: bool) -> bool:
    """Check the pair for translation and for the semantic service, which needs both languages."""
    src, tgt, types = requirement.src, requirement.tgt, requirement.types
    if "semantic" in types:
        needed = [language for language in (src, tgt) if language and language != AUTO]
        if any(language not in ability.semantic for language in needed):
            return True
    return "nmt" in types and not is_auto and not can_translate(ability.nmt, src, tgt)


def is_semantic_for(ability: LanguageAbility, src: str, tgt: str) -> bool:
    """Say whether the semantic service covers both languages; "auto" is any of its own."""
    covers_src = bool(ability.semantic) if src == AUTO else src in ability.semantic
    return covers_src and tgt in ability.semantic


def describe_languages(ability: LanguageAbility) -> str:
    """Say them in a few words, for people: "asr en; nmt en>es; tts es"."""
    nmt = ability.nmt
    parts = [
        ("asr", ability.asr),
        ("nmt", [f"{src}>{tgt}" for src, tgt in nmt.pairs]),
        ("nmt", [nmt.rule, *nmt.languages] if nmt.languages else []),
        ("tts", ability.tts),
        ("semantic", ability.semantic),
    ]
    return "; ".join(f"{name} {' '.join(words)}" for name, words in parts if words)

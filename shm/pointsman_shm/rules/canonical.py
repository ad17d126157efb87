"""Brings what nodes and requests name into the one form in which it is compared and interned."""

from collections.abc import Iterable, Mapping

import msgspec

from pointsman_shm.rules.languages import AUTO, NmtRule, normalise, normalise_all
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    LanguageAbility,
    NmtAbility,
    Requirement,
)

Pairs = Iterable[tuple[str, str]]


def canonical_nmt(nmt: NmtAbility) -> NmtAbility:
    """Normalise the languages of a translation service; raises ValueError for an unknown rule."""
    if nmt.rule not in ("", *NmtRule):
        raise ValueError(f"unknown nmt rule {nmt.rule!r}: take one of {', '.join(NmtRule)}")
    return NmtAbility(
        rule=nmt.rule,
        languages=normalise_all(nmt.languages),
        pairs=_normalise_pairs(nmt.pairs),
        blocked=_normalise_pairs(nmt.blocked),
    )


def merge_nmt(abilities: Iterable[NmtAbility]) -> NmtAbility:
    """One ability for a node with several translation services.

    A single one keeps its rule; several become the specific pairs that at least one of them does.
    """
    found = sorted({canonical_nmt(nmt) for nmt in abilities if nmt.rule}, key=msgspec.to_builtins)
    if len(found) <= 1:
        return found[0] if found else NmtAbility()
    pairs = {pair for nmt in found for pair in _all_pairs(nmt)}
    return NmtAbility(rule=NmtRule.SPECIFIC_PAIRS, pairs=tuple(sorted(pairs)))


def canonical_class(capability: CapabilityClass) -> CapabilityClass:
    """Sort and normalise, so that equal capability is an equal struct and equal bytes."""
    languages = capability.languages
    return CapabilityClass(
        tenant=capability.tenant,
        public=capability.public,
        gpu=capability.gpu,
        types_installed=_names(capability.types_installed),
        types_ready=_names(capability.types_ready),
        versions=tuple(sorted(set(capability.versions))),
        features=_names(capability.features),
        labels=tuple(sorted(set(capability.labels))),
        languages=LanguageAbility(
            asr=normalise_all(languages.asr),
            tts=normalise_all(languages.tts),
            semantic=normalise_all(languages.semantic),
            nmt=canonical_nmt(languages.nmt),
        ),
    )


def canonical_requirement(
    requirement: Requirement, labels: Mapping[str, str] | None = None
) -> Requirement:
    """Sort and normalise a request's side; `labels` is added to those already there."""
    src = requirement.src.lower()
    return Requirement(
        types=_names(requirement.types),
        src=AUTO if src == AUTO else normalise(src),
        tgt=normalise(requirement.tgt),
        auto_langs=normalise_all(requirement.auto_langs) if src == AUTO else (),
        features=_names(requirement.features),
        labels=tuple(sorted({*requirement.labels, *(labels or {}).items()})),
        tenant=requirement.tenant,
        accept_public=requirement.accept_public,
    )


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _normalise_pairs(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({(normalise(src), normalise(tgt)) for src, tgt in pairs}))


def _all_pairs(nmt: NmtAbility) -> set[tuple[str, str]]:
    """Every pair that a canonical ability translates."""
    if nmt.rule == NmtRule.SPECIFIC_PAIRS:
        pairs = set(nmt.pairs)
    elif nmt.rule == NmtRule.ANY_TO_EN:
        pairs = {(src, "en") for src in nmt.languages}
    elif nmt.rule == NmtRule.EN_TO_ANY:
        pairs = {("en", tgt) for tgt in nmt.languages}
    else:
        pairs = {(src, tgt) for src in nmt.languages for tgt in nmt.languages}
    return pairs - set(nmt.blocked)

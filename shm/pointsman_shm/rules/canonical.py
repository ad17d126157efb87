"""Brings what nodes name into the one form in which it is compared and interned."""

from collections.abc import Iterable

from pointsman_shm.rules.languages import NmtRule, normalise, normalise_all
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    LanguageAbility,
    NmtAbility,
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


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _normalise_pairs(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({(normalise(src), normalise(tgt)) for src, tgt in pairs}))

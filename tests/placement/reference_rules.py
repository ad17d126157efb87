"""What a request needs and what a node offers, read slowly and plainly: half of the reference.

Written from the behaviour of the service, not from its code, and sharing none of it: no index, no
class table, no cache; every question is answered anew with loops over sets.
"""

from collections.abc import Iterable

import msgspec

from pointsman_shm.rules.catalogue import Catalogue
from pointsman_shm.snapshot.records import CapabilityClass, LanguageAbility, NmtAbility

SAME = {
    "zh": ("zh-cn", "zh-tw", "zh-hans", "zh-hant"),
    "pt": ("pt-br", "pt-pt"),
    "en": ("en-us", "en-gb"),
    "id": ("in",),
    "he": ("iw",),
}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A request as its client means it, with what its session adds."""

    services: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    src: str = ""
    tgt: str = ""
    auto_langs: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    labels_preferred: tuple[tuple[str, str], ...] = ()
    tenant: str = ""
    session_id: str = ""
    accept_public: bool = True
    preferred: str = ""
    exclude: tuple[str, ...] = ()


def plain(code: str) -> str:
    """The form in which languages are compared."""
    lowered = code.lower()
    for language, others in SAME.items():
        if lowered in others:
            return language
    return lowered


def plain_all(codes: Iterable[str]) -> set[str]:
    """The same for many."""
    return {plain(code) for code in codes}


def needed_services(wish: Wish, catalogue: Catalogue, *, with_semantic: bool) -> set[str]:
    """The service types of a request; `with_semantic`: two-level, and somebody online has it."""
    if wish.services:
        return set(wish.services)
    modules = set(catalogue.default_services) | ({"semantic"} if with_semantic else set())
    for feature in wish.features:
        modules |= set(catalogue.features[feature])
    while True:
        more = {name for module in modules for name in catalogue.dependencies.get(module, ())}
        if more <= modules:
            break
        modules |= more
    types = {name for module in modules for name in catalogue.module_types.get(module, ())}
    return types | (modules & set(catalogue.service_types()))


def translates(nmt: NmtAbility, src: str, tgt: str) -> bool:
    """Does a translation service do this pair?"""
    languages = plain_all(nmt.languages)
    pairs = {(plain(a), plain(b)) for a, b in nmt.pairs}
    if (src, tgt) in {(plain(a), plain(b)) for a, b in nmt.blocked}:
        return False
    return {
        "any_to_any": src in languages and tgt in languages,
        "any_to_en": src in languages and tgt == "en",
        "en_to_any": src == "en" and tgt in languages,
        "specific_pairs": (src, tgt) in pairs,
        "": False,
    }[nmt.rule]


def language_fault(offer: LanguageAbility, types: set[str], wish: Wish) -> str:
    """The language check: "" when it passes, else the name of its counter."""
    src, tgt = plain(wish.src), plain(wish.tgt)
    if not src and not tgt:
        return ""
    asr, tts, semantic = plain_all(offer.asr), plain_all(offer.tts), plain_all(offer.semantic)
    is_auto = src == "auto"
    both = {language for language in (src, tgt) if language and language != "auto"}
    if "semantic" in types and not both <= semantic:
        return "lang_pair_unsupported"
    if "nmt" in types and not is_auto and not translates(offer.nmt, src, tgt):
        return "lang_pair_unsupported"
    if "asr" in types and not (bool(asr) if is_auto else src in asr):
        return "asr_lang_unsupported"
    if "tts" in types and tgt not in tts:
        return "tts_lang_unsupported"
    if not is_auto or not types & {"asr", "nmt", "semantic"}:
        return ""
    anything = asr | semantic | plain_all(offer.nmt.languages) | {"en"}
    anything |= {plain(source) for source, _ in offer.nmt.pairs}
    narrowed = plain_all(wish.auto_langs) or anything
    for source in anything & narrowed:
        if (
            ("asr" not in types or source in asr)
            and ("nmt" not in types or translates(offer.nmt, source, tgt))
            and ("semantic" not in types or source in semantic)
        ):
            return ""
    return "src_auto_no_candidate"


def all_languages(offer: LanguageAbility) -> frozenset[str]:
    """A node's language set: the union over its services."""
    found = plain_all(offer.asr) | plain_all(offer.tts) | plain_all(offer.semantic)
    found |= plain_all(offer.nmt.languages)
    found |= plain_all(language for both in offer.nmt.pairs for language in both)
    if offer.nmt.rule in ("any_to_en", "en_to_any"):
        found.add("en")
    return frozenset(found)


def usable(capability: CapabilityClass) -> set[str]:
    """The types that count: installed and ready."""
    return set(capability.types_installed) & set(capability.types_ready)

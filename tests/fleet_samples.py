"""Small classes, pools and requirements for the tests of rules and snapshot."""

from pointsman_shm.rules.canonical import canonical_class
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    LanguageAbility,
    NmtAbility,
    NodeRecord,
    PoolRecord,
    Requirement,
)

SPEECH = ("asr", "nmt", "tts")


def speech_class(
    *languages: str, types: tuple[str, ...] = SPEECH, ready: tuple[str, ...] | None = None
) -> CapabilityClass:
    """A class that does all its types in these languages, every pair of them."""
    nmt = NmtAbility("any_to_any", languages) if "nmt" in types else NmtAbility()
    return canonical_class(
        CapabilityClass(
            types_installed=types,
            types_ready=types if ready is None else ready,
            languages=LanguageAbility(
                asr=languages if "asr" in types else (),
                tts=languages if "tts" in types else (),
                semantic=languages if "semantic" in types else (),
                nmt=nmt,
            ),
        )
    )


def pair(src: str, tgt: str, *types: str) -> Requirement:
    """A requirement for a pair, by default for the whole speech pipeline."""
    return Requirement(types=tuple(sorted(types or SPEECH)), src=src, tgt=tgt)


def pool(
    pool_id: int, *classes: int, types: tuple[str, ...] = (), languages: str = ""
) -> PoolRecord:
    """A pool with one online and ready member of each of these classes."""
    return PoolRecord(
        id=pool_id,
        name=f"pool-{pool_id}",
        required_types=types,
        languages=tuple(languages.split("-")) if languages else (),
        classes=tuple((number, 1, 1) for number in classes),
    )


def node(row: int, class_number: int, *pools: int, generation: int = 1) -> NodeRecord:
    """A node of a class in these pools."""
    return NodeRecord(
        row=row,
        generation=generation,
        epoch=1,
        class_number=class_number,
        node_id=f"node-{row}",
        pools=pools,
        slots_max=4,
    )


EN_ES_CLASS = speech_class("en", "es")

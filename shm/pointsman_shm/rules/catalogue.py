"""The catalogue: which service types exist and what each feature of a request needs.

features -> modules -> (dependencies) -> service types. The default is the speech pipeline; a
fleet of language models or image nodes names its own services and leaves the rest empty.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

# As long as a pool may name them.
Names = tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], ...]
NameTable = dict[str, Names]

BUILT_IN_SERVICES: Names = ("asr", "nmt", "tts", "tone", "semantic")
SPEECH: Names = ("asr", "nmt", "tts")

SPEECH_FEATURES: dict[str, Names] = {
    "emotion_detection": ("emotion_detection",),
    "persona_adaptation": ("persona_adaptation",),
    "speaker_identification": ("speaker_identification",),
    "speech_rate_control": ("speech_rate_control",),
    "speech_rate_detection": ("speech_rate_detection",),
    "voice_cloning": ("voice_cloning",),
    "voice_style_detection": ("voice_cloning",),
}

SPEECH_DEPENDENCIES: dict[str, Names] = {
    "emotion_detection": ("asr",),
    "speaker_identification": (),
    "voice_cloning": ("speaker_identification",),
    "speech_rate_detection": ("asr",),
    "speech_rate_control": ("speech_rate_detection", "tts"),
    "persona_adaptation": ("asr",),
}

SPEECH_MODULE_TYPES: dict[str, Names] = {"speaker_identification": ("tone",)}


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Service types and the feature tables; building one with a fault raises ValueError."""

    services: Names = BUILT_IN_SERVICES
    core_types: Names = SPEECH
    default_services: Names = SPEECH
    features: NameTable = msgspec.field(default_factory=SPEECH_FEATURES.copy)
    dependencies: NameTable = msgspec.field(default_factory=SPEECH_DEPENDENCIES.copy)
    # Service types that a module needs by itself; a service's own module needs that service.
    module_types: NameTable = msgspec.field(default_factory=SPEECH_MODULE_TYPES.copy)

    def __post_init__(self) -> None:
        known = self.service_types()
        _refuse_strangers("core_types", self.core_types, known)
        _refuse_strangers("default_services", self.default_services, known)
        for module, types in self.module_types.items():
            _refuse_strangers(f"module_types.{module}", types, known)
        modules = self.module_names()
        for feature, needed in self.features.items():
            _refuse_strangers(f"features.{feature}", needed, modules)
        for module, needed in self.dependencies.items():
            _refuse_strangers(f"dependencies.{module}", needed, modules)
        cycle = find_cycle(self.dependencies)
        if cycle:
            raise ValueError(f"dependencies form a cycle: {' -> '.join(cycle)}; remove one of them")

    def service_types(self) -> frozenset[str]:
        """Every service type that a request or a node may name."""
        return frozenset(self.services) | frozenset(BUILT_IN_SERVICES)

    def module_names(self) -> frozenset[str]:
        """Every module: the tables' own and one per service type."""
        return self.service_types() | frozenset(self.dependencies) | frozenset(self.module_types)


def _refuse_strangers(where: str, names: Iterable[str], known: frozenset[str]) -> None:
    for name in names:
        if name not in known:
            words = f"{where} names {name!r}, which is not known; known are "
            words += ", ".join(sorted(known))
            if "." in where:
                words += " (a table of the catalogue in the file stands instead of the default one)"
            raise ValueError(words)


def find_cycle(dependencies: Mapping[str, Names]) -> list[str]:
    """Return one cycle of the table as a closed path, or an empty list.

    Depth first with an explicit stack: a table from a file may be deeper than the recursion limit.
    """
    finished: set[str] = set()
    for start in dependencies:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            module, is_leaving = stack.pop()
            if is_leaving:
                path.pop()
                on_path.discard(module)
                finished.add(module)
                continue
            if module in on_path:
                return [*path[path.index(module) :], module]
            if module in finished:
                continue
            path.append(module)
            on_path.add(module)
            stack.append((module, True))
            stack.extend((needed, False) for needed in dependencies.get(module, ()))
    return []

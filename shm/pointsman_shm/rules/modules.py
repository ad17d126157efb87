"""From what a request names to the service types that its node must have.

A request that names services gets exactly those. Otherwise the pipeline (by default asr, nmt, tts)
and the modules of its features are expanded depth first through the dependency table, and the
types of all modules met are required.
"""

import difflib
from collections.abc import Iterable

import msgspec

from pointsman_shm.rules.catalogue import Catalogue

NAMES_SHOWN_MAX = 12


class UnknownName(msgspec.Struct, frozen=True):
    """A refusal: the request names a service or feature that the catalogue does not know."""

    kind: str
    name: str
    nearest: str  # "" when nothing is near
    known: str = ""  # those that there are, as far as they fit

    @property
    def hint(self) -> str:
        """One sentence that says what to do."""
        there_are = f"there are {self.known}" if self.known else "there are none"
        advice = f"did you mean {self.nearest!r}?" if self.nearest else there_are
        return f"unknown {self.kind} {self.name!r}: {advice}"


def expand_modules(catalogue: Catalogue, modules: Iterable[str]) -> tuple[str, ...]:
    """All modules that `modules` lead to, depth first, dependencies before what needs them.

    The catalogue has no cycles and names only known modules; both are checked when it is built.
    """
    expanded: dict[str, None] = {}
    stack = [(module, False) for module in reversed(list(modules))]
    while stack:
        module, is_leaving = stack.pop()
        if module in expanded:
            continue
        if is_leaving:
            expanded[module] = None
            continue
        stack.append((module, True))
        needed = catalogue.dependencies.get(module, ())
        stack.extend((name, False) for name in reversed(needed))
    return tuple(expanded)


def module_types(catalogue: Catalogue, modules: Iterable[str]) -> tuple[str, ...]:
    """The service types that these (expanded) modules need, sorted."""
    services = catalogue.service_types()
    types: set[str] = set()
    for module in modules:
        types.update(catalogue.module_types.get(module, ()))
        if module in services:
            types.add(module)
    return tuple(sorted(types))


def required_types(
    catalogue: Catalogue,
    *,
    services: Iterable[str],
    features: Iterable[str],
    add_semantic: bool = False,
) -> tuple[str, ...] | UnknownName:
    """Sorted service types of a request, or the name that nobody knows.

    `services` empty means the default pipeline plus the modules of `features`; named services are
    taken as they are, and features then only have to be supported by the node. `add_semantic` adds
    the semantic service to the default pipeline (see `wants_semantic`).
    """
    known = catalogue.service_types()
    named = tuple(services)
    for service in named:
        if service not in known:
            return _unknown("service", service, known)
    if named:
        return tuple(sorted(set(named)))
    modules = list(catalogue.default_services)
    if add_semantic:
        modules.append("semantic")
    for feature in features:
        if feature not in catalogue.features:
            return _unknown("feature", feature, catalogue.features)
        modules.extend(catalogue.features[feature])
    return module_types(catalogue, expand_modules(catalogue, modules))


def wants_semantic(*, has_services: bool, is_two_level: bool, is_semantic_present: bool) -> bool:
    """Say whether the default pipeline requires the semantic service.

    Only in two-level mode, only when some node that is not Offline has it, and never for a request
    that names its services. Single-level never requires it: there the job merely carries whether
    the chosen node has it for both languages.
    """
    return not has_services and is_two_level and is_semantic_present


def _unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    names = sorted(known)
    near = difflib.get_close_matches(name[:64], names, n=1)
    shown = ", ".join(found[:64] for found in names[:NAMES_SHOWN_MAX])
    if len(names) > NAMES_SHOWN_MAX:
        shown += f" and {len(names) - NAMES_SHOWN_MAX} more"
    return UnknownName(kind=kind, name=name[:64], nearest=near[0] if near else "", known=shown)

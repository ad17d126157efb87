"""Which pools may do a request, and in which order they are asked; pure functions over records.

A pool is eligible when a member that is not Offline can do the languages of the needed types, and
when its own required types match. Whether a member is Ready, has room, or has every type at once
is not asked here: that is what the search inside the pool finds out.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from math import inf

import msgspec

from pointsman_shm.config import PoolsConfig
from pointsman_shm.rules.eligibility import is_subset
from pointsman_shm.rules.languages import language_failure
from pointsman_shm.rules.pools import PoolMode
from pointsman_shm.snapshot.records import CapabilityClass, PoolRecord, Requirement

ClassTest = Callable[[int], bool]
ClassLookup = Callable[[int], CapabilityClass | None]


class Fit(StrEnum):
    """How a pool stands to a request."""

    ELIGIBLE = "eligible"
    LACKS_TYPES = "lacks_types"  # it can do the pair, but not this job's types
    NO_PAIR = "no_pair"


def needed_types(
    types: tuple[str, ...], core_types: Sequence[str], config: PoolsConfig
) -> tuple[str, ...]:
    """The types by which pools are matched: all required ones, or the core types among them."""
    if config.match_scope == "all_required":
        return types
    return tuple(name for name in types if name in core_types)


def matches_types(pool: PoolRecord, needed: tuple[str, ...], config: PoolsConfig) -> bool:
    """Compare a pool's required types with the needed ones; a pool that requires none matches."""
    if not pool.required_types:
        return True
    if config.match_mode == "exact":
        return set(needed) == set(pool.required_types)
    return is_subset(needed, pool.required_types)


def for_types(requirement: Requirement, types: tuple[str, ...]) -> Requirement:
    """The language side of a requirement alone, for these types."""
    return Requirement(
        types=types,
        src=requirement.src,
        tgt=requirement.tgt,
        auto_langs=requirement.auto_langs,
    )


def has_languages(requirement: Requirement) -> bool:
    """Say whether the request names a language at all."""
    return bool(requirement.src or requirement.tgt)


def online_classes(pool: PoolRecord) -> list[int]:
    """Numbers of the classes of which the pool has a member that is not Offline."""
    return [class_number for class_number, online, _ in pool.classes if online > 0]


def eligible_pools(
    pools: Sequence[PoolRecord],
    needed: tuple[str, ...],
    config: PoolsConfig,
    can_pair: ClassTest | None,
) -> tuple[PoolRecord, ...]:
    """The pools that may do a request, in the order given.

    `can_pair` says of a class whether it can do the request's languages for the needed types; it is
    None for a request without languages, which goes by types alone.
    """
    return tuple(
        pool
        for pool in pools
        if matches_types(pool, needed, config)
        and (can_pair is None or any(can_pair(number) for number in online_classes(pool)))
    )


def fit_unmatched(
    pool: PoolRecord, requirement: Requirement, needed: tuple[str, ...], class_of: ClassLookup
) -> Fit:
    """Say why a pool that is not eligible is not: it lacks types, or it cannot do the pair.

    It can still do the pair when some member does the languages of those needed types that it
    has; such a pool stays bound to its session and is only passed over for this one job.
    """
    is_empty, has_type = True, False
    for number in online_classes(pool):
        is_empty = False
        capability = class_of(number)
        types = _shared_types(needed, capability)
        if capability is None or not types:
            continue
        has_type = True
        if language_failure(capability.languages, for_types(requirement, types)) is None:
            return Fit.LACKS_TYPES
    return Fit.NO_PAIR if is_empty or has_type else Fit.LACKS_TYPES


def _shared_types(needed: tuple[str, ...], capability: CapabilityClass | None) -> tuple[str, ...]:
    if capability is None:
        return ()
    return tuple(name for name in needed if name in capability.types_installed)


def tightness(pool: PoolRecord) -> tuple[float, int]:
    """Sort key: the smallest language set first, pools without one last, then by id."""
    return (len(pool.languages) or inf, pool.id)


def pool_order(
    pools: Sequence[PoolRecord], preferred_id: int, mode: PoolMode, config: PoolsConfig
) -> tuple[int, ...]:
    """Ids in the order in which they are asked: the preferred pool, then the others.

    `pools` is sorted by id and holds the preferred one. The others follow in ring order from it, or
    with pool_choice "first", outside hash buckets, the tightest language set first, then by id.
    """
    ids = [pool.id for pool in pools]
    if mode is PoolMode.HASH or config.pool_choice == "weighted":
        start = ids.index(preferred_id)
        return (*ids[start:], *ids[:start])
    others = sorted((pool for pool in pools if pool.id != preferred_id), key=tightness)
    return (preferred_id, *(pool.id for pool in others))


class PoolCounts(msgspec.Struct, frozen=True):
    """What a pool has, in nodes: the core cache that lets a search skip it unseen."""

    online: int  # not Offline
    ready: int
    installed: dict[str, int]  # by type, of the online ones
    types_ready: dict[str, int]  # by type, of the Ready ones: installed and ready

    def can_serve(self, types: tuple[str, ...]) -> bool:
        """False when some needed type has no ready node, so that looking would be in vain."""
        return self.ready > 0 and all(self.types_ready.get(name, 0) > 0 for name in types)


def count_pool(pool: PoolRecord, class_of: ClassLookup) -> PoolCounts:
    """Add up a pool's members by type from its counts by class."""
    online_total = ready_total = 0
    installed: dict[str, int] = {}
    types_ready: dict[str, int] = {}
    for number, online, ready in pool.classes:
        online_total += online
        ready_total += ready
        capability = class_of(number)
        if capability is None:
            continue
        for name in capability.types_installed:
            installed[name] = installed.get(name, 0) + online
            if name in capability.types_ready:
                types_ready[name] = types_ready.get(name, 0) + ready
    return PoolCounts(
        online=online_total, ready=ready_total, installed=installed, types_ready=types_ready
    )

"""Which pools there are, who is in them, which of them a request may ask, and in which order.

The other half of the reference: plain lists and loops over the nodes as they are now.
"""

from collections.abc import Mapping, Sequence

import msgspec
from placement.reference_rules import (
    Wish,
    all_languages,
    language_fault,
    needed_services,
    plain,
    usable,
)

from pointsman_shm.config import Config
from pointsman_shm.snapshot.records import CapabilityClass

BITS = 2**64


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A node as far as pools look at it."""

    node_id: str
    capability: CapabilityClass
    is_online: bool = True


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A pool: its number, what it requires, its own language set, and who is in it."""

    number: int
    required: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    members: tuple[Member, ...] = ()


class Bound(msgspec.Struct, frozen=True):
    """What a session remembers."""

    src: str
    tgt: str
    number: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The session decision: the pools to ask in order, and what is bound from now on."""

    numbers: tuple[int, ...]
    bound: Bound | None
    outcome: str
    is_left_to_chance: bool = False
    strict_left_none: bool = False


def stable(key: str, seed: int, count: int) -> int:
    """FNV-1a, 64 bit, over the key and the seed's eight bytes, modulo the count."""
    value = 14695981039346656037
    for byte in key.encode() + seed.to_bytes(8, "little"):
        value = ((value ^ byte) * 1099511628211) % BITS
    return value % count


def is_hash(config: Config) -> bool:
    """Are pools buckets of the node ids' hashes?"""
    return not config.pools.pools and not config.pools.auto_language_pools


def pools_of_fleet(
    members: Sequence[Member], config: Config, number_of: Mapping[frozenset[str], int]
) -> list[Pool]:
    """All pools, by number; `number_of` names the pool of each automatic language set."""
    places: dict[int, list[Member]] = {}
    for member in members:
        if member.is_online:
            for number in _numbers(member, config, number_of):
                places.setdefault(number, []).append(member)
    facts: dict[int, tuple[frozenset[str], frozenset[str]]] = {}
    if config.pools.pools:
        for pool in config.pools.pools:
            facts[pool.id] = (frozenset(pool.required_services), frozenset())
    elif config.pools.auto_language_pools:
        facts = {number: (frozenset(), languages) for languages, number in number_of.items()}
    else:
        facts = {number: (frozenset(), frozenset()) for number in range(config.pools.pool_count)}
    for number in places:
        facts.setdefault(number, (frozenset(), frozenset()))
    return [
        Pool(
            number=number,
            required=facts[number][0],
            languages=facts[number][1],
            members=tuple(places.get(number, ())),
        )
        for number in sorted(facts)
    ]


def _numbers(
    member: Member, config: Config, number_of: Mapping[frozenset[str], int]
) -> tuple[int, ...]:
    """The pools of one node."""
    pools = config.pools
    if is_hash(config):
        return (stable(member.node_id, pools.hash_seed, pools.pool_count),)
    if not pools.pools:
        return (number_of.get(all_languages(member.capability.languages), 0),)
    fits = [
        pool for pool in pools.pools if set(pool.required_services) <= usable(member.capability)
    ]
    if not fits:
        return (0,)
    if pools.multi_pool:
        return tuple(sorted(pool.id for pool in fits))
    most = max(len(set(pool.required_services)) for pool in fits)
    best = sorted(pool.id for pool in fits if len(set(pool.required_services)) == most)
    return (best[stable(member.node_id, pools.hash_seed, len(best))],)


def is_two_level(members: Sequence[Member], config: Config) -> bool:
    """Do placements go by pools, or over the whole fleet?"""
    is_wanted = config.pools.enabled and config.pools.mode == "two_level"
    return is_wanted and any(member.is_online for member in members)


def types_of(wish: Wish, members: Sequence[Member], config: Config) -> set[str]:
    """The service types of a request in this fleet."""
    is_there = any(
        member.is_online and "semantic" in member.capability.types_installed for member in members
    )
    with_semantic = is_two_level(members, config) and is_there
    return needed_services(wish, config.catalogue, with_semantic=with_semantic)


def matched_types(types: set[str], config: Config) -> set[str]:
    """The types by which pools are matched."""
    if config.pools.match_scope == "all_required":
        return types
    return types & set(config.catalogue.core_types)


def can_pair(pool: Pool, types: set[str], wish: Wish) -> bool:
    """Has the pool a member, not Offline, that does the language side of these types?"""
    return any(
        language_fault(member.capability.languages, types, wish) == "" for member in pool.members
    )


def is_eligible(pool: Pool, types: set[str], wish: Wish, config: Config) -> bool:
    """May this pool be asked?"""
    if (wish.src or wish.tgt) and not can_pair(pool, types, wish):
        return False
    if not pool.required:
        return True
    return types == pool.required if config.pools.match_mode == "exact" else types <= pool.required


def plan(
    pools: Sequence[Pool], types: set[str], wish: Wish, bound: Bound | None, config: Config
) -> Plan:
    """Decide for one job of a session whose id is used for routing when it has no tenant."""
    needed = matched_types(types, config)
    eligible = [pool for pool in pools if is_eligible(pool, needed, wish, config)]
    if not (wish.src or wish.tgt):
        return _chosen(pools, eligible, wish, bound, config)
    pair = (plain(wish.src), plain(wish.tgt))
    outcome = ""
    if bound is not None and (bound.src, bound.tgt) != pair:
        bound, outcome = None, "reset"
    if bound is not None and not _still_does(pools, bound, needed, wish):
        bound, outcome = None, "replaced"
    if bound is not None and bound.number in [pool.number for pool in eligible]:
        numbers = in_order(eligible, bound.number, config)
        return Plan(numbers=numbers, bound=bound, outcome="hit")
    found = _chosen(pools, eligible, wish, bound, config)
    if bound is not None:
        return msgspec.structs.replace(found, bound=bound, outcome="hit")
    if not eligible:
        return msgspec.structs.replace(found, outcome="none")
    new = Bound(*pair, found.numbers[0])
    return msgspec.structs.replace(found, bound=new, outcome=outcome or found.outcome)


def _still_does(pools: Sequence[Pool], bound: Bound, types: set[str], wish: Wish) -> bool:
    """A bound pool stays while it is there and does the pair, if only for the types it has."""
    pool = next((pool for pool in pools if pool.number == bound.number), None)
    if pool is None or not pool.members:
        return False
    shared = [types & set(member.capability.types_installed) for member in pool.members]
    if not any(shared):
        return True  # it merely lacks the types
    return any(
        own and language_fault(member.capability.languages, own, wish) == ""
        for own, member in zip(shared, pool.members, strict=True)
    )


def _chosen(
    pools: Sequence[Pool],
    eligible: Sequence[Pool],
    wish: Wish,
    bound: Bound | None,
    config: Config,
) -> Plan:
    """A pool for a job whose session brings none."""
    if not eligible and config.pools.strict_eligibility:
        return Plan(numbers=(), bound=bound, outcome="none", strict_left_none=True)
    asked = list(eligible) or list(pools)
    if not asked:
        return Plan(numbers=(), bound=bound, outcome="none")
    overrides = dict(config.pools.tenant_overrides) if eligible else {}
    numbers = [pool.number for pool in asked]
    is_random = is_hash(config) or config.pools.pool_choice == "weighted"
    if overrides.get(wish.tenant) in numbers:
        first, outcome, is_random = overrides[wish.tenant], "override", False
    elif config.pools.session_affinity:
        index = stable(wish.tenant or wish.session_id, config.pools.hash_seed, len(numbers))
        first, outcome, is_random = numbers[index], "affinity", False
    else:
        first, outcome = sorted(asked, key=tight)[0].number, "first"
    return Plan(
        numbers=in_order(asked, first, config),
        bound=bound,
        outcome=outcome if eligible else "none",
        is_left_to_chance=is_random,
    )


def tight(pool: Pool) -> tuple[bool, int, int]:
    """The smallest language set first, those without one last, then by number."""
    return (not pool.languages, len(pool.languages), pool.number)


def in_order(pools: Sequence[Pool], first: int, config: Config) -> tuple[int, ...]:
    """The preferred pool and then, with fallback on, the others."""
    numbers = sorted(pool.number for pool in pools)
    if not config.pools.fallback_scan_all_pools:
        return (first,)
    if is_hash(config) or config.pools.pool_choice == "weighted":
        at = numbers.index(first)
        return tuple(numbers[at:] + numbers[:at])
    rest = [pool.number for pool in sorted(pools, key=tight) if pool.number != first]
    return (first, *rest)

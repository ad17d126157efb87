"""Which pools a node joins: hash buckets, capability pools, automatic language pools.

Pools configured -> capability pools; else automatic language pools when they are on; else hash
buckets. Every node is in at least one pool: who fits none joins the wildcard pool `other`.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from heapq import nsmallest

from pointsman_shm.config import PoolConfig, PoolsConfig
from pointsman_shm.rules.eligibility import is_subset, usable_types
from pointsman_shm.rules.hashing import stable_index
from pointsman_shm.rules.languages import language_set
from pointsman_shm.snapshot.records import CapabilityClass

OTHER_POOL_ID = 0
OTHER_POOL_NAME = "other"

LanguageSet = tuple[str, ...]


class PoolMode(StrEnum):
    """How pools come about."""

    HASH = "hash"
    CAPABILITY = "capability"
    LANGUAGE = "language"


def pool_mode(config: PoolsConfig) -> PoolMode:
    """The mode that this configuration asks for."""
    if config.pools:
        return PoolMode.CAPABILITY
    return PoolMode.LANGUAGE if config.auto_language_pools else PoolMode.HASH


def hash_pool(node_id: str, config: PoolsConfig) -> int:
    """The bucket of a node: hash(node_id) modulo the number of buckets."""
    return stable_index(node_id, config.hash_seed, config.pool_count)


def satisfied_pools(
    capability: CapabilityClass, pools: Iterable[PoolConfig], *, multi_pool: bool
) -> tuple[int, ...]:
    """Sorted ids of the pools a class may join: with `multi_pool` all whose types it has,
    otherwise only the most specific of them (the largest number of required types)."""
    types = usable_types(capability)
    found = [
        (len(set(pool.required_services)), pool.id)
        for pool in pools
        if is_subset(pool.required_services, types)
    ]
    if not multi_pool:
        most = max((count for count, _ in found), default=0)
        found = [(count, pool_id) for count, pool_id in found if count == most]
    return tuple(sorted(pool_id for _, pool_id in found))


def capability_pools(
    node_id: str, satisfied: tuple[int, ...], config: PoolsConfig
) -> tuple[int, ...]:
    """The pools a node joins of those its class satisfies; a tie is broken by hash(node_id)."""
    if not satisfied:
        return (OTHER_POOL_ID,)
    if config.multi_pool:
        return satisfied
    return (satisfied[stable_index(node_id, config.hash_seed, len(satisfied))],)


def pool_languages(capability: CapabilityClass, config: PoolsConfig) -> LanguageSet:
    """The exact language set by which a class is pooled; empty means that it has none."""
    if config.auto_require_semantic and "semantic" not in usable_types(capability):
        return ()
    return language_set(capability.languages)


def language_pool_name(languages: LanguageSet) -> str:
    """The name of an automatic pool: its languages, as in "en-zh"."""
    return "-".join(languages)


def winning_sets(counts: Mapping[LanguageSet, int], config: PoolsConfig) -> list[LanguageSet]:
    """The language sets that get a pool: enough nodes, and among the largest by node count.

    Ties go to the set that sorts first, so that the answer depends on the fleet alone.
    """
    qualified = [languages for languages, count in counts.items() if count >= config.auto_min_nodes]
    if len(qualified) <= config.auto_max_pools:
        return sorted(qualified)
    return nsmallest(
        config.auto_max_pools, qualified, key=lambda languages: (-counts[languages], languages)
    )

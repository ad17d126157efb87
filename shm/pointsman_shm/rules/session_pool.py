"""The session decision: which pool a session is bound to and in which order pools are asked.

    language pair changed -> forget the binding          RESET
    bound, same pair, pool still does it -> keep         HIT
    bound, but the pool is gone or lost the pair         REPLACED
    else choose among the eligible pools:
         the tenant's override, if it is eligible        OVERRIDE
         affinity: hash of the routing key               AFFINITY
         the first in order (hash buckets: random)       FIRST
    no pool for the pair: nothing is bound               NONE

Pure: the random pick is a number that the caller drew.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

from pointsman_shm.rules.hashing import stable_index
from pointsman_shm.rules.pool_match import Fit, has_languages, tightness
from pointsman_shm.rules.pools import PoolMode
from pointsman_shm.snapshot.pool_view import PoolView
from pointsman_shm.snapshot.records import PoolRecord, Requirement

FreeSlots = Callable[[PoolRecord], int]


class PoolOutcome(StrEnum):
    """How the pool of a job came about."""

    HIT = "hit"
    RESET = "reset"
    OVERRIDE = "override"
    AFFINITY = "affinity"
    FIRST = "first"
    REPLACED = "replaced"
    NONE = "none"


class SessionBinding(msgspec.Struct, frozen=True, gc=False):
    """What a session remembers: its pool, and the pair for which it was chosen."""

    src: str
    tgt: str
    pool_id: int


class PoolQuestion(msgspec.Struct, frozen=True):
    """One job's question; `draw` is a random number of 64 bits, used only where chance decides."""

    requirement: Requirement
    routing_key: str
    draw: int
    free_slots: Mapping[int, int] | None = None  # by pool id, where the choice is by room


class PoolDecision(msgspec.Struct, frozen=True):
    """The answer: what the session is bound to now, and the pools to ask, in order."""

    binding: SessionBinding | None
    outcome: PoolOutcome
    pools: tuple[int, ...]
    eligible_count: int
    strict_left_none: bool = False  # no pool may be asked: the refusal is `no_eligible_pool`
    # Of the order, those in which no node is ready for some needed type: not looked into.
    skipped: tuple[int, ...] = ()
    question: PoolQuestion | None = None  # what it answers, where that is kept with it


def decide_pool(
    pools: PoolView,
    binding: SessionBinding | None,
    question: PoolQuestion,
    overrides: Mapping[str, int],
    free_slots: FreeSlots | None = None,
) -> PoolDecision:
    """Decide for one job of a session, without I/O.

    `overrides` maps a tenant to its pool; `free_slots` weighs pools for pool_choice "weighted", by
    default with what the question says of their room, or else with their Ready members.
    """
    requirement = question.requirement
    free_slots = free_slots or _room_of(question)
    eligible = pools.eligible(requirement)
    if not has_languages(requirement):
        return _without_languages(pools, binding, question, overrides, free_slots)
    kept, cause = _keep_binding(pools, binding, requirement)
    if kept is not None and kept.pool_id in eligible.ids:
        return PoolDecision(kept, PoolOutcome.HIT, eligible.order(kept.pool_id), len(eligible))
    if not eligible:
        outcome = PoolOutcome.NONE if kept is None else PoolOutcome.HIT
        return _none_eligible(pools, kept, outcome, question, free_slots)
    pool_id, how = _choose(pools, eligible.records, question, overrides, free_slots)
    order = eligible.order(pool_id)
    if kept is not None:
        return PoolDecision(kept, PoolOutcome.HIT, order, len(eligible))
    bound = SessionBinding(requirement.src, requirement.tgt, pool_id)
    return PoolDecision(bound, cause or how, order, len(eligible))


def _room_of(question: PoolQuestion) -> FreeSlots | None:
    room = question.free_slots
    return None if room is None else lambda pool: room.get(pool.id, 0)


def _keep_binding(
    pools: PoolView, binding: SessionBinding | None, requirement: Requirement
) -> tuple[SessionBinding | None, PoolOutcome | None]:
    """The binding if it still holds, else why it was dropped (None: there was none)."""
    if binding is None:
        return None, None
    if (binding.src, binding.tgt) != (requirement.src, requirement.tgt):
        return None, PoolOutcome.RESET
    if pools.fit(binding.pool_id, requirement) is Fit.NO_PAIR:
        return None, PoolOutcome.REPLACED
    return binding, None


def _without_languages(
    pools: PoolView,
    binding: SessionBinding | None,
    question: PoolQuestion,
    overrides: Mapping[str, int],
    free_slots: FreeSlots | None,
) -> PoolDecision:
    """By types alone, and nothing is bound or forgotten: such a job says nothing about the pair."""
    eligible = pools.eligible(question.requirement)
    if not eligible:
        return _none_eligible(pools, binding, PoolOutcome.NONE, question, free_slots)
    pool_id, how = _choose(pools, eligible.records, question, overrides, free_slots)
    return PoolDecision(binding, how, eligible.order(pool_id), len(eligible))


def _choose(
    pools: PoolView,
    eligible: Sequence[PoolRecord],
    question: PoolQuestion,
    overrides: Mapping[str, int],
    free_slots: FreeSlots | None,
) -> tuple[int, PoolOutcome]:
    """Choose the preferred pool among the eligible ones (sorted by id, at least one)."""
    override = overrides.get(question.requirement.tenant)
    if override is not None and any(pool.id == override for pool in eligible):
        return override, PoolOutcome.OVERRIDE
    config = pools.config
    if config.session_affinity:
        index = stable_index(question.routing_key, config.hash_seed, len(eligible))
        return eligible[index].id, PoolOutcome.AFFINITY
    if config.pool_choice == "weighted":
        return weighted_pick(
            eligible, question.draw, free_slots or ready_members
        ), PoolOutcome.FIRST
    if pools.mode is PoolMode.HASH:
        return eligible[question.draw % len(eligible)].id, PoolOutcome.FIRST
    return min(eligible, key=tightness).id, PoolOutcome.FIRST


def _none_eligible(
    pools: PoolView,
    binding: SessionBinding | None,
    outcome: PoolOutcome,
    question: PoolQuestion,
    free_slots: FreeSlots | None,
) -> PoolDecision:
    """Strict: no pool at all. Otherwise all of them, since a pool is a hint and a node decides."""
    if pools.config.strict_eligibility:
        return PoolDecision(binding, outcome, (), 0, strict_left_none=True)
    everything = pools.all
    if not everything:
        return PoolDecision(binding, outcome, (), 0)
    pool_id, _ = _choose(pools, everything.records, question, {}, free_slots)
    return PoolDecision(binding, outcome, everything.order(pool_id), 0)


def ready_members(pool: PoolRecord) -> int:
    """Ready nodes of a pool: its weight when nobody knows its free slots."""
    return sum(ready for _, _, ready in pool.classes)


def weighted_pick(pools: Sequence[PoolRecord], draw: int, free_slots: FreeSlots) -> int:
    """Pick a pool id with a chance in proportion to its free slots; the first when none has any."""
    weights = [max(0, free_slots(pool)) for pool in pools]
    total = sum(weights)
    if total == 0:
        return pools[0].id
    point = draw % total
    for pool, weight in zip(pools, weights, strict=True):
        if point < weight:
            return pool.id
        point -= weight
    raise AssertionError("the point lies below the sum of the weights")

"""From a session and a kind to the pools that are asked, in order: the session decision.

A decision that merely keeps the binding is the same for every job of the kind, so it is kept with
the kind until the snapshot changes; unless the bound pool is passed over, and which of the others
is asked first is up to chance or to the session.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pointsman_shm.rules.pools import PoolMode
from pointsman_shm.rules.session_pool import (
    PoolDecision,
    PoolOutcome,
    PoolQuestion,
    SessionBinding,
    decide_pool,
)
from pointsman_shm.snapshot.pool_view import PoolView
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.selection import PoolOrder

if TYPE_CHECKING:
    from pointsman_workers.core.state import Session

WHOLE_FLEET: PoolOrder = (None,)


def decide_for_session(fleet: Fleet, kind: Kind, session: "Session") -> PoolDecision:
    """Decide the pools of one job and bind the session; `kind` is prepared."""
    binding = session.binding
    requirement = kind.requirement
    if (
        binding is not None
        and (kept := kind.orders.get(binding.pool_id)) is not None
        and binding.src == requirement.src
        and binding.tgt == requirement.tgt
    ):
        return kept
    began_ns = fleet.stopwatch()
    question = PoolQuestion(
        requirement=requirement,
        routing_key=session.tenant or session.session_id,
        draw=fleet.draws.number(),
        free_slots=fleet.free_slots() if fleet.has_weighted_pools else None,
    )
    decision = decide_pools(fleet.snapshot.pool_view, fleet.snapshot.overrides, binding, question)
    session.binding = decision.binding
    bound = decision.binding
    if decision.outcome is PoolOutcome.HIT and bound is not None:
        is_asked = bound.pool_id in decision.pools or bound.pool_id in decision.skipped
        if is_asked or not _is_each_its_own(fleet.snapshot.pool_view):
            kind.orders[bound.pool_id] = decision
    fleet.observe_session(fleet.stopwatch() - began_ns)
    return decision


def _is_each_its_own(view: PoolView) -> bool:
    """Does every job, or session, make its own choice among the pools that can?"""
    config = view.config
    return config.pool_choice == "weighted" or config.session_affinity or view.mode is PoolMode.HASH


def decide_pools(
    view: PoolView,
    overrides: Mapping[str, int],
    binding: SessionBinding | None,
    question: PoolQuestion,
) -> PoolDecision:
    """The decision alone: a pure function of what is given, so that a record can be replayed.

    The core cache is part of it: a pool without a ready node for a needed type is not looked into.
    """
    decision = decide_pool(view, binding, question, overrides)
    types = question.requirement.types
    asked = [pool_id for pool_id in decision.pools if view.counts(pool_id).can_serve(types)]
    if len(asked) == len(decision.pools):
        return replace(decision, question=question)
    skipped = tuple(pool_id for pool_id in decision.pools if pool_id not in asked)
    return replace(decision, pools=tuple(asked), skipped=skipped, question=question)


def pools_to_ask(decision: PoolDecision | None) -> PoolOrder:
    """The order for the search: the decision's, or the whole fleet in single-level."""
    return WHOLE_FLEET if decision is None else decision.pools

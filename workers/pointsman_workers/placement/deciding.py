"""One decision, from a job to a reserved slot: which pools, which rows, in which order.

It touches nothing but the session's binding, the kind's memory, and through the fleet the ledger;
so the same code makes a dry run when it is given copies of the first two and a fleet that only
pretends to reserve.
"""

import msgspec

from pointsman_shm.rules.session_pool import PoolDecision, SessionBinding
from pointsman_workers.core.state import Job
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.selection import (
    Choice,
    PoolOrder,
    reserve_row,
    search,
    search_all,
)
from pointsman_workers.placement.session_pools import decide_for_session, pools_to_ask

PREFERRED = "preferred"
TWO_LEVEL = "two_level"
SINGLE_LEVEL = "single_level"
FAILOVER = "failover"
RESERVE = "reserve"  # a slot that was just freed went to a waiting job


class Decided(msgspec.Struct, frozen=True, gc=False):
    """What came out, and what it came from; the legs are the fleet's trail."""

    choice: Choice | None
    selector: str
    session: PoolDecision | None  # None in single-level
    bound_before: SessionBinding | None
    draws_before: int  # numbers drawn before this decision


def decide(fleet: Fleet, job: Job) -> Decided:
    """Choose a node for a job whose kind is prepared, and reserve a slot there."""
    bound_before, draws_before = job.session.binding, fleet.draws.counter
    decision = _decide_pools(fleet, job)
    choice, selector = _choose(fleet, job, pools_to_ask(fleet, decision))
    return Decided(choice, selector, decision, bound_before, draws_before)


def decide_on(fleet: Fleet, job: Job, row: int) -> Decided:
    """The same for this one row, on which a slot was just freed."""
    bound_before, draws_before = job.session.binding, fleet.draws.counter
    decision = _decide_pools(fleet, job)
    pools = pools_to_ask(fleet, decision)
    excluded = excluded_rows(fleet, job)
    ranking = fleet.ranking(excluded)
    choice = reserve_row(fleet, job.kind, row, pools, ranking) if pools else None
    return Decided(choice, RESERVE, decision, bound_before, draws_before)


def excluded_rows(fleet: Fleet, job: Job) -> frozenset[int]:
    """Rows that this job must not go to: named by the client, or where it has failed."""
    if not job.submit.exclude:
        return job.failed_rows
    return job.failed_rows.union(_named_rows(fleet, job))


def _named_rows(fleet: Fleet, job: Job) -> list[int]:
    rows = fleet.rows_by_node
    return [rows[node_id] for node_id in job.submit.exclude if node_id in rows]


def _decide_pools(fleet: Fleet, job: Job) -> PoolDecision | None:
    fleet.trail = []
    if not fleet.snapshot.pool_view.is_two_level:
        return None
    return decide_for_session(fleet, job.kind, job.session)


def _choose(fleet: Fleet, job: Job, pools: PoolOrder) -> tuple[Choice | None, str]:
    """Preferred node, then the pools; without the nodes where it failed, then with them."""
    kind = job.kind
    excluded = excluded_rows(fleet, job)
    ranking = fleet.ranking(excluded)
    if job.submit.preferred_node:
        row = fleet.rows_by_node.get(job.submit.preferred_node)
        if row is not None:
            choice = reserve_row(fleet, kind, row, (), ranking)
            if choice:
                return choice, PREFERRED
    selector = SINGLE_LEVEL if pools and pools[0] is None else TWO_LEVEL
    if not excluded:
        return search(fleet, kind, pools, ranking), selector
    choice = search_all(fleet, kind, pools, ranking)
    if choice is None and job.failed_rows:
        named = frozenset(_named_rows(fleet, job))
        choice = search_all(fleet, kind, pools, fleet.ranking(named))
    return choice, FAILOVER if job.failed_rows else selector

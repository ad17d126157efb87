"""One decision, from a job to a reserved slot: which pools, which rows, in which order.

    preferred node                     asked for by name: whatever pool it is in
    sticky                             where the session's last job of these types went
    preferred labels                   nodes that have all of them, then those that have one
    the pools, without what to avoid   where the job failed; with spread, the session's last node
    what was to be avoided             when nobody else could

What the request excludes is left out everywhere, and so is, for a job that has failed once, who has
just said that it lacks the model.

It touches nothing but the session's binding, the kind's memory, and through the fleet the ledger;
so the same code makes a dry run when it is given copies of the first two and a fleet that only
pretends to reserve.
"""

from pointsman_shm.memory.rows import GENERATION_SHIFT
from pointsman_shm.rules.session_pool import PoolDecision, PoolOutcome
from pointsman_workers.core.state import Job
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.kinds import Kind, Round
from pointsman_workers.placement.selection import (
    PoolOrder,
    conclude_full,
    is_busy,
    is_known_full,
    reserve_among,
    reserve_preferred,
    search,
    take_from,
)
from pointsman_workers.placement.session_pools import (
    WHOLE_FLEET,
    decide_for_session,
    pools_to_ask,
)
from pointsman_workers.placement.trail import Choice, Decided

PREFERRED = "preferred"
TWO_LEVEL = "two_level"
SINGLE_LEVEL = "single_level"
FAILOVER = "failover"
NO_ROWS = frozenset[int]()
PINS_MAX = 16  # kinds of work for which a session remembers its node
HEDGE = "hedge"  # a second node for a slow job
RESERVE = "reserve"  # a slot that was just freed went to a waiting job


def decide(fleet: Fleet, job: Job) -> Decided:
    """Choose a node for a job whose kind is prepared, and reserve a slot there.

    The trail goes on from where the caller has begun it.
    """
    session = job.session
    bound_before = session.binding
    pools, selector, decision = WHOLE_FLEET, SINGLE_LEVEL, None
    if fleet.snapshot.pool_view.is_two_level:
        decision = decide_for_session(fleet, job.kind, session)
        pools, selector = decision.pools, TWO_LEVEL
    choice, selector = _choose(fleet, job, pools, selector)
    job.decision = decision
    decided = Decided(choice, selector, decision, bound_before)
    sample = fleet.sample
    if sample is not None and choice is not None and not (job.is_choosy or fleet.has_habits):
        is_kept = decision is None or decision.outcome is PoolOutcome.HIT
        sample.session = session if is_kept and sample.pool == pools[0] else None
        sample.decided = decided
    return decided


def decide_again(fleet: Fleet, job: Job) -> Decided | None:
    """Decide as for the job before, if all but the choice would come to the same.

    None when that is not so, or when nobody is left of the sample from which that job was served.
    """
    sample = fleet.sample
    if (
        sample is None
        or sample.session is not job.session
        or sample.kind is not job.kind
        or job.is_choosy
        or not sample.candidates
    ):
        return None
    decided = sample.decided
    assert decided is not None
    decided.choice = choice = take_from(fleet, sample)
    if choice is None:
        return None
    job.decision = session = decided.session
    if session is not None:
        fleet.hit_count += 1
    return decided


def decide_on(fleet: Fleet, job: Job, row: int) -> Decided:
    """The same for this one row, on which a slot was just freed."""
    bound_before = job.session.binding
    fleet.trail = []
    decision = job.decision = decide_pools_of(fleet, job)
    ranking = fleet.ranking(excluded_rows(fleet, job))
    if fleet.rows_by_node.get(job.submit.preferred_node) == row:
        choice = reserve_preferred(fleet, job.kind, row, ranking)
    else:
        pools = pools_to_ask(decision)
        choice = reserve_among(fleet, job.kind, (row,), pools, ranking)
    return Decided(choice, RESERVE, decision, bound_before)


def decide_second(fleet: Fleet, job: Job, row: int) -> Decided:
    """The same for a second dispatch of a job that is at this row: anywhere else, or nowhere."""
    bound_before = job.session.binding
    fleet.trail = []
    decision = decide_pools_of(fleet, job)
    ranking = fleet.ranking(excluded_rows(fleet, job) | {row})
    choice = search(fleet, job.kind, pools_to_ask(decision), ranking, Round())
    return Decided(choice, HEDGE, decision, bound_before)


def memory_of(job: Job) -> Kind | Round:
    """Where the search for this job is remembered: with its kind, or by itself."""
    return job.kind if job.round is None else job.round


def excluded_rows(fleet: Fleet, job: Job) -> frozenset[int]:
    """Rows that this job must not go to: those of `barred_rows`, and where it has failed."""
    if not (job.failed_nodes or job.submit.exclude):
        return NO_ROWS
    rows = fleet.rows_by_node
    failed = frozenset(rows[node_id] for node_id in job.failed_nodes if node_id in rows)
    return failed | barred_rows(fleet, job)


def barred_rows(fleet: Fleet, job: Job) -> frozenset[int]:
    """Rows that are left out even if nobody else can: excluded by name, or without the model."""
    return named_rows(fleet, job) | fleet.lacking(job.kind.requirement.types)


def named_rows(fleet: Fleet, job: Job) -> frozenset[int]:
    """Rows that the request excludes."""
    if not job.submit.exclude:
        return NO_ROWS
    rows = fleet.rows_by_node
    return frozenset(rows[node_id] for node_id in job.submit.exclude if node_id in rows)


def decide_pools_of(fleet: Fleet, job: Job) -> PoolDecision | None:
    """The session decision for a job whose kind is prepared; None in single-level."""
    if not fleet.snapshot.pool_view.is_two_level:
        return None
    return decide_for_session(fleet, job.kind, job.session)


def _choose(fleet: Fleet, job: Job, pools: PoolOrder, selector: str) -> tuple[Choice | None, str]:
    """The steps above, in turn; `selector` is what a job without wishes has."""
    submit = job.submit
    excluded = NO_ROWS
    if job.failed_nodes or submit.exclude:
        excluded = excluded_rows(fleet, job)
    if submit.preferred_node:
        choice = _ask_preferred(fleet, job, excluded)
        if choice:
            return choice, PREFERRED
    if fleet.has_habits:
        choice = _ask_pinned(fleet, job, pools, excluded)
        if choice:
            return choice, selector
        excluded = _with_last(fleet, job, excluded)
    if job.favoured:
        choice = _ask_favoured(fleet, job, pools, excluded)
        if choice:
            return choice, selector
    if excluded:
        selector = FAILOVER if job.failed_nodes else selector
        return _search_apart(fleet, job, pools, excluded), selector
    if job.round is not None:
        job.round = None
    kind = job.kind
    return search(fleet, kind, pools, fleet.ranking(), kind), selector


def _ask_preferred(fleet: Fleet, job: Job, excluded: frozenset[int]) -> Choice | None:
    row = fleet.rows_by_node.get(job.submit.preferred_node)
    if row is None:
        return None
    choice = reserve_preferred(fleet, job.kind, row, fleet.ranking(excluded))
    job.is_preferred_busy = choice is None and row not in excluded and is_busy(fleet, job.kind, row)
    return choice


def _ask_pinned(
    fleet: Fleet, job: Job, pools: PoolOrder, excluded: frozenset[int]
) -> Choice | None:
    """With sticky: where the session's last job of these types went, while it has room."""
    pin = job.session.pins.get(job.kind.requirement.types)
    if pin is None and job.session.noted_pins:
        pin = _noted_pin(fleet, job)
    if pin is None or fleet.lane_generations[pin[0]] != pin[1]:
        return None
    return reserve_among(fleet, job.kind, (pin[0],), pools, fleet.ranking(excluded))


def _noted_pin(fleet: Fleet, job: Job) -> tuple[int, int] | None:
    """Where the session's jobs went at the instance that it comes from, if that node is here."""
    node_id = job.session.noted_pins.get(job.kind.requirement.types)
    row = fleet.rows_by_node.get(node_id) if node_id is not None else None
    return None if row is None else (row, fleet.lane_generations[row])


def _with_last(fleet: Fleet, job: Job, excluded: frozenset[int]) -> frozenset[int]:
    """With spread: the session's last node is to be avoided as well, for a while."""
    session = job.session
    is_recent = fleet.now_ns - session.last_placed_ns < fleet.spread_ns
    return excluded | {session.last_row} if is_recent and session.last_row >= 0 else excluded


def _ask_favoured(
    fleet: Fleet, job: Job, pools: PoolOrder, excluded: frozenset[int]
) -> Choice | None:
    """Nodes with the preferred labels, as far as one leg of the walk finds them."""
    for kind in job.favoured:
        fleet.prepare(kind)
        memory = Round() if excluded else kind
        choice = search(fleet, kind, pools, fleet.ranking(excluded), memory)
        if choice:
            return choice
    return None


def _search_apart(
    fleet: Fleet, job: Job, pools: PoolOrder, excluded: frozenset[int]
) -> Choice | None:
    """The two tries of a job with rows to avoid: first without them, then they alone.

    Those of `barred_rows` are left out of both.
    """
    kind, version = job.kind, fleet.version
    memory = job.round
    if memory is None or memory.version != version:
        memory = job.round = Round(version=version)
    barred = barred_rows(fleet, job)
    if not barred and is_known_full(fleet, kind, pools):
        memory.is_busy = kind.is_busy  # whoever is to be avoided: nobody was there at all
        return None
    choice = search(fleet, kind, pools, fleet.ranking(excluded), memory)
    if choice is not None or memory.walk is not None:
        return choice
    avoided = tuple(excluded - barred)
    if not avoided:
        return None
    choice = reserve_among(fleet, kind, avoided, pools, fleet.ranking(barred))
    memory.is_busy = memory.is_busy or any(is_busy(fleet, kind, row) for row in avoided)
    if choice is None and not barred:
        kind.is_busy = memory.is_busy
        conclude_full(fleet, kind, pools)  # everybody was asked
    return choice


def note_habits(fleet: Fleet, job: Job, choice: Choice) -> None:
    """Remember where the session's job went, for spread and sticky.

    A pin stays with its node while that could do the work if it only had room: so what spills over
    from a busy node comes back to it.
    """
    session, kind = job.session, job.kind
    session.last_row, session.last_placed_ns = choice.row, fleet.now_ns
    if not fleet.is_sticky:
        return
    types, pins = kind.requirement.types, session.pins
    pin = pins.get(types)
    if pin is not None and fleet.node_id(pin[0]) not in job.failed_nodes:
        row, generation = pin
        if fleet.lane_generations[row] == generation and is_busy(fleet, kind, row):
            return
    pins.pop(types, None)
    session.noted_pins.pop(types, None)
    if len(pins) >= PINS_MAX:
        del pins[next(iter(pins))]
    pins[types] = (choice.row, choice.standing >> GENERATION_SHIFT)

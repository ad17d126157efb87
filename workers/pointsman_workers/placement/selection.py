"""Selection: which node takes a job, chosen and marked in the same breath.

Pools are asked in order.  From a pool's candidates (rows whose class can do it) a sample is drawn,
judged by words of shared memory, sorted by score (rules/load.py), and reserved in turn; the first
success wins.  When the sample fails the rest of the pool is walked, some hundred candidates a turn,
and then the next pool.  "Nobody" is concluded only after a whole round, and remembered for a few
milliseconds or until a slot of the kind is freed.  As long is remembered in which pools a walk
found nobody when a later pool was asked, too: of those only the nodes are asked on which a slot was
freed since, so that a full pool costs no walk for every job that passes it by.

A candidate is judged by one standing word (state, flags, class, generation and slots in one load),
its load word and its ledger sum; no object per candidate is touched.

Jobs of one kind that come in one turn share samples (batch sampling: Ousterhout, Wendell, Zaharia,
Stoica: Sparrow, SOSP 2013), four readings or more for each; where a sample is all candidates, as
many as it has readings, because nobody is missed by that.  One is as large as the jobs that came
in one read want it, and when it is used up, the next of the turn is for twice as many, within
bounds: fewer samples, and better choices by as many readings.  A sample ends with the turn, and
when this worker takes or gives back a slot otherwise, or a lane comes or goes; what others do shows
when a slot is reserved.
"""

from array import array
from collections.abc import Sequence
from itertools import islice

from pointsman_shm.memory.ledger import DIGITS, Reserve
from pointsman_shm.memory.rows import CLASS_MASK, CLASS_SHIFT, GENERATION_SHIFT, SLOTS_MASK
from pointsman_shm.memory.stats_names import Counter
from pointsman_workers.placement.checks import (
    ANYWHERE,
    CHOOSABLE,
    CHOOSABLE_IF_MARKED_MASK,
    CHOOSABLE_MASK,
    NO_ROOM_FOR_US,
    OVERLOADED_BIT,
    Ranking,
    Reading,
)
from pointsman_workers.placement.fleet import READINGS_A_JOB_MIN, RELEASED_KEPT, Fleet
from pointsman_workers.placement.kinds import FullPool, Kind, Round, Walk
from pointsman_workers.placement.ranking import CANNOT, Scored, rank, scores_of
from pointsman_workers.placement.trail import (
    FIRST_TOOK_IT,
    FREED,
    NAMED,
    NO_ROW,
    NOBODY,
    PREFERRED,
    SAMPLE,
    WALK,
    Asked,
    Choice,
    Leg,
    Sample,
    brought_up_to_date,
)

WALK_BUDGET = 256
WALK_CHUNK = 32
FULL_MEMORY_NS = 5_000_000
_OK = Reserve.OK
# Of reservations in vain; each of the others is an attempt that is OK, and counted as that.
_OUTCOME_COUNTERS = {
    Reserve.FULL: Counter.RESERVE_FULL.value,
    Reserve.CHANGED: Counter.RESERVE_CHANGED.value,
    Reserve.BACKED_OFF: Counter.RESERVE_BACKED_OFF.value,
}
_ATTEMPT_OK = Counter.POOL_ATTEMPTS_OK.value
_ATTEMPT_NOBODY = Counter.POOL_ATTEMPTS_NOBODY.value
_ATTEMPT_NO_ROOM = Counter.POOL_ATTEMPTS_NO_ROOM.value

PoolOrder = tuple[int | None, ...]  # None: the whole fleet (single-level)


def read(fleet: Fleet, kind: Kind, rows: Sequence[int]) -> list[Reading]:
    """Read the words of these rows: all that ranking them will look at."""
    standing, load, words = fleet.standing, fleet.load, fleet.row_words
    lanes, slowness = fleet.lane_generations, kind.slowness
    if words is not None:  # nearly always: written out because this runs per candidate
        return [
            (row, standing[row], load[row], words[row] % DIGITS, lanes[row], slowness[row])
            for row in rows
        ]
    held = fleet.held
    return [(row, standing[row], load[row], held(row), lanes[row], slowness[row]) for row in rows]


def take(
    fleet: Fleet, kind: Kind, ranking: Ranking, rows: Sequence[int], asked: Asked
) -> Choice | None:
    """Read these rows, rank them, and reserve the best that still has room: one leg."""
    readings = read(fleet, kind, rows)
    scored = rank(readings, kind.judgement, ranking)
    return _take_in_turn(fleet, (asked, NOBODY, readings, ranking, kind), scored)


def _take_in_turn(fleet: Fleet, leg: Leg, scored: list[Scored]) -> Choice | None:
    """Reserve the first candidate that still has room, of those that the leg has not asked yet."""
    asked, outcomes, readings, ranking, kind = leg
    outcome = None
    for _, row, word in scored[len(outcomes) :]:
        outcome = fleet.own.reserve(row, fleet.standing, word)
        outcomes += (outcome.value,)
        if outcome is _OK:
            break
        fleet.tally[_OUTCOME_COUNTERS[outcome]] += 1
    fleet.trail.append((asked, outcomes, readings, ranking, kind))
    if outcome is not _OK:
        fleet.tally[_ATTEMPT_NO_ROOM if outcomes else _ATTEMPT_NOBODY] += 1
        return None
    fleet.tally[_ATTEMPT_OK] += 1
    fleet.sample = None
    at = len(outcomes)
    score, row, word = scored[at - 1]
    runner_up = scored[at][1] if at < len(scored) else NO_ROW
    return Choice(row, word, asked[0], score, len(scored), runner_up)


def take_from(fleet: Fleet, sample: Sample) -> Choice | None:
    """Reserve the best of a sample, or the next that still has room; as `take`, without sorting.

    The sample stays for the next job of the turn, unless the best had no room after all.
    """
    readings, scores, taken, at = sample.readings, sample.scores, sample.taken, sample.best_at
    score = scores[at]
    row, word, load, held, _, slowness = readings[at]
    outcome = fleet.own.reserve(row, fleet.standing, word)
    if outcome is not _OK:
        return _take_others(fleet, sample, outcome)
    fleet.sampled_count += 1
    fleet.trail.append(sample.leg)
    scores[at] = CANNOT
    following = min(scores)
    if following < CANNOT:
        best_at = scores.index(following)
        runner_up = readings[best_at][0]
    else:
        best_at, runner_up = at, NO_ROW
    choice = Choice(row, word, sample.pool, score, sample.candidates, runner_up, taken)
    sample.taken = taken = (*taken, at)
    if len(taken) == sample.jobs_max:  # there may be more jobs yet: the next one is for more
        fleet.sample = None
        fleet.expect(2 * len(taken))
        return choice
    # Of the node that this job takes the score is another now (ranking.scores_of).
    held += taken.count(at)
    slots = word & SLOTS_MASK
    if held < slots:
        scores[at] = score = (slowness * (held + (load >> 16 & 0xFFFF) + 1.0) - 1.0) / slots
        if score < following or (score == following and at < best_at):
            best_at = at
    else:
        sample.candidates -= 1
    sample.best_at = best_at
    fleet.sample = sample
    return choice


def _take_others(fleet: Fleet, sample: Sample, outcome: Reserve) -> Choice | None:
    """The best of a sample had no room after all: reserve another one."""
    fleet.sample = None
    fleet.tally[_OUTCOME_COUNTERS[outcome]] += 1
    readings = brought_up_to_date(sample.readings, sample.taken)
    leg = (sample.leg[0], (outcome.value,), readings, ANYWHERE, sample.kind)
    return _take_in_turn(fleet, leg, rank(readings, sample.kind.judgement, ANYWHERE))


def take_again(fleet: Fleet, kind: Kind, pool: int | None, sample: Sample) -> Choice | None:
    """Reserve one more of the last sample, if it is of this kind and pool and still has one.

    One sample is not the pool, so nothing is concluded when it does not.
    """
    if sample.kind is kind and sample.pool == pool:
        if sample.candidates:
            return take_from(fleet, sample)
        _nobody_in(fleet, sample)
    fleet.sample = None
    return None


def _nobody_in(fleet: Fleet, sample: Sample) -> None:
    """Note that nobody of a sample can take a job (any more)."""
    readings = brought_up_to_date(sample.readings, sample.taken)
    fleet.trail.append((sample.leg[0], NOBODY, readings, ANYWHERE, sample.kind))
    fleet.tally[_ATTEMPT_NOBODY] += 1


def search(
    fleet: Fleet, kind: Kind, pools: PoolOrder, ranking: Ranking, memory: Kind | Round
) -> Choice | None:
    """Choose and reserve a node for a job of this kind, or go one leg of the walk.

    `memory` is the kind itself, or for a job with rows of its own to avoid, a Round of its own.
    After None, its `walk` tells that the round is not finished (call again next turn); otherwise
    nobody could, `is_busy` says whether capable nodes exist, and `full_until_ns` is set.
    """
    walk = memory.walk
    if walk is None and memory.full_until_ns and is_known_full(fleet, memory, pools):
        return None
    if walk is None or walk.pools != pools:
        sample = fleet.sample
        if sample is not None and ranking is ANYWHERE and pools:
            choice = take_again(fleet, kind, pools[0], sample)
            if choice is not None:
                memory.walk = None
                return choice
        # Nearly always the first sample of the first pool is enough, and no walk is begun.
        candidates = kind.lists.get(pools[0]) if pools else fleet.nobody
        if candidates is None:
            candidates = fleet.candidates(kind, pools[0])
        is_sampled = not kind.full_pools_known or pools[0] not in kind.full_pools_known
        if candidates and is_sampled:
            choice = _sample(fleet, kind, pools[0], candidates, ranking)
            if choice is not None:
                memory.walk = None
                return choice
        walk = Walk(pools, candidates, is_sampled=is_sampled, at_release=fleet.release_count)
    memory.walk = None
    budget = WALK_BUDGET
    while walk.pool_at < len(pools):
        choice, budget = _search_pool(fleet, kind, walk, ranking, budget)
        if choice:
            return choice
        if walk.position < len(walk.candidates):
            memory.walk = walk  # the budget is spent in the middle of a pool
            return None
        walk.pool_at += 1
        walk.was_busy_before |= walk.has_seen_busy
        if walk.pool_at < len(pools):
            walk.candidates = fleet.candidates(kind, pools[walk.pool_at])
            walk.position = 0
            walk.is_sampled = walk.has_seen_busy = False
            walk.at_release = fleet.release_count
    memory.is_busy = walk.was_busy_before
    conclude_full(fleet, memory, pools)
    return None


def conclude_full(fleet: Fleet, memory: Kind | Round, pools: PoolOrder) -> None:
    """A whole round over these pools found nobody: remember it for a few milliseconds."""
    memory.full_pools = pools
    memory.full_until_ns = fleet.now_ns + FULL_MEMORY_NS
    memory.full_at_release = fleet.release_count


def is_known_full(fleet: Fleet, memory: Kind | Round, pools: PoolOrder) -> bool:
    """Has a whole round found nobody a moment ago, and no slot was freed here since?"""
    return (
        memory.full_until_ns > fleet.now_ns
        and memory.full_at_release == fleet.release_count
        and memory.full_pools == pools
    )


def _search_pool(
    fleet: Fleet, kind: Kind, walk: Walk, ranking: Ranking, budget: int
) -> tuple[Choice | None, int]:
    """Sample the pool at which the walk stands, unless that is done, and walk the rest of it."""
    if not walk.candidates:
        return None, budget
    pool = walk.pools[walk.pool_at]
    if not walk.is_sampled:
        known = kind.full_pools_known.get(pool)
        if known is not None and (rows := _freed_since(fleet, pool, known)) is not None:
            walk.position = len(walk.candidates)
            walk.has_seen_busy = known.is_busy
            return _take_freed(fleet, kind, ranking, rows, (pool, walk.position)), budget
        walk.is_sampled = True
        choice = _sample(fleet, kind, pool, walk.candidates, ranking)
        if choice:
            return choice, budget
    choice, budget = _go_on(fleet, kind, walk, ranking, budget)
    if choice is None and len(walk.pools) > 1 and walk.position >= len(walk.candidates):
        _remember_full(fleet, kind, walk, ranking)
    return choice, budget


def _remember_full(fleet: Fleet, kind: Kind, walk: Walk, ranking: Ranking) -> None:
    """The walk over a pool found nobody: others need not walk it again for a few milliseconds.

    Not for who had to avoid nodes: others might have taken those.
    """
    if not ranking.excluded:
        until_ns = fleet.now_ns + FULL_MEMORY_NS
        full = FullPool(until_ns, walk.at_release, walk.has_seen_busy)
        kind.full_pools_known[walk.pools[walk.pool_at]] = full


def _freed_since(fleet: Fleet, pool: int | None, known: FullPool) -> list[int] | None:
    """The rows of a full pool on which this worker has released a slot; None: walk it again."""
    count = fleet.release_count - known.at_release
    if known.until_ns <= fleet.now_ns or count > RELEASED_KEPT:
        return None
    rows = islice(reversed(fleet.released), count)
    return [row for row in dict.fromkeys(rows) if pool is None or pool in fleet.pools_of(row)]


def _take_freed(
    fleet: Fleet, kind: Kind, ranking: Ranking, rows: list[int], place: tuple[int | None, int]
) -> Choice | None:
    """Reserve one of the slots that were freed in a full pool; if there is none, they were seen."""
    pool, candidates = place
    choice = take(fleet, kind, ranking, rows, (pool, FREED, candidates, 0))
    if choice is None and not ranking.excluded:
        kind.full_pools_known[pool].at_release = fleet.release_count
    return choice


def _sample(
    fleet: Fleet, kind: Kind, pool: int | None, candidates: "array[int]", ranking: Ranking
) -> Choice | None:
    draws = fleet.draws
    is_shared = ranking is ANYWHERE
    rows = draws.sample(candidates, fleet.sample_next if is_shared else fleet.sample_size)
    asked = (pool, SAMPLE, len(candidates), draws.counter)
    if not is_shared:
        return take(fleet, kind, ranking, rows, asked)
    readings = read(fleet, kind, rows)
    scores = scores_of(readings, kind.judgement)
    best = min(scores)
    jobs = looked_at = len(readings)
    if looked_at < len(candidates):
        jobs = max(1, looked_at // READINGS_A_JOB_MIN)
    passed = looked_at - scores.count(CANNOT)
    leg = (asked, FIRST_TOOK_IT, readings, ANYWHERE, kind)
    sample = Sample(kind, pool, readings, leg, scores, passed, jobs, scores.index(best))
    if passed:
        return take_from(fleet, sample)
    _nobody_in(fleet, sample)
    return None


def _go_on(
    fleet: Fleet, kind: Kind, walk: Walk, ranking: Ranking, budget: int
) -> tuple[Choice | None, int]:
    """Walk from the cursor, in chunks, until a success, the end, or the end of the budget."""
    candidates, pool = walk.candidates, walk.pools[walk.pool_at]
    while walk.position < len(candidates) and budget > 0:
        rows = candidates[walk.position : walk.position + WALK_CHUNK]
        asked = (pool, WALK, len(candidates), walk.position)
        walk.position += len(rows)
        budget -= len(rows)
        choice = take(fleet, kind, ranking, rows, asked)
        if choice:
            return choice, budget
        if not walk.has_seen_busy:
            walk.has_seen_busy = any(
                row not in ranking.excluded and is_busy(fleet, kind, row) for row in rows
            )
    return None, budget


def is_busy(fleet: Fleet, kind: Kind, row: int) -> bool:
    """Could this node do it if it only had a slot free or its machine less to do?"""
    word = fleet.standing[row]
    calm = word & ~OVERLOADED_BIT
    if calm & CHOOSABLE_MASK != CHOOSABLE and (
        calm & CHOOSABLE_IF_MARKED_MASK != CHOOSABLE or kind.judgement.is_barred(row, calm)
    ):
        return False
    if fleet.lane_generations[row] not in (word >> GENERATION_SHIFT, NO_ROOM_FOR_US):
        return False
    codes = kind.codes
    number = word >> CLASS_SHIFT & CLASS_MASK
    return number < len(codes) and not codes[number]


def reserve_preferred(fleet: Fleet, kind: Kind, row: int, ranking: Ranking) -> Choice | None:
    """Reserve this very node, if it passes every check, from whatever pool it is in."""
    return take(fleet, kind, ranking, (row,), (None, PREFERRED, 1, 0))


def reserve_among(
    fleet: Fleet, kind: Kind, rows: Sequence[int], pools: PoolOrder, ranking: Ranking
) -> Choice | None:
    """Reserve one of these nodes, if it passes every check and is in one of the pools."""
    for pool in pools:
        found = rows
        if pool is not None:
            found = [row for row in rows if pool in fleet.pools_of(row)]
        choice = take(fleet, kind, ranking, found, (pool, NAMED, len(found), 0)) if found else None
        if choice:
            return choice
    return None

"""The trail of a decision: what was looked at, leg by leg, and what came of it.

A leg is one set of rows that were read, ranked and asked in turn: a sample, a chunk of a walk, one
row, or all candidates of a pool.  Legs are plain tuples, because one is made for every decision.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from pointsman_shm.memory.ledger import Reserve
from pointsman_shm.rules.session_pool import PoolDecision, SessionBinding
from pointsman_workers.fields import plainly_set
from pointsman_workers.placement.checks import Ranking, Reading
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.ranking import load_of

if TYPE_CHECKING:
    from pointsman_workers.core.state import Session


class How(IntEnum):
    """How the rows of a leg came about, and what its `at` says."""

    SAMPLE = 0  # drawn at random; at = the number of the draw
    WALK = 1  # in the order of the candidates; at = the position of the first
    ALL = 2  # every candidate of the pool
    PREFERRED = 3  # the node that was asked for by name, whatever its pool
    NAMED = 4  # nodes that the decision had a reason to look at by themselves
    FREED = 5  # of a pool that was found full a moment ago: where slots were freed since


# Plain numbers, because a member of an enum costs as much to reach as a tuple to make.
SAMPLE, WALK, ALL, PREFERRED, NAMED, FREED = (how.value for how in How)

Asked = tuple[int | None, int, int, int]  # pool (None: the whole fleet), How, candidates, at
Outcomes = tuple[int, ...]  # Reserve values in the order of the ranking: OK, if at all, is last
Leg = tuple[Asked, Outcomes, Sequence[Reading], Ranking, Kind]

NO_ROW = -1
NOBODY: Outcomes = ()
FIRST_TOOK_IT: Outcomes = (Reserve.OK.value,)


class Choice(msgspec.Struct, frozen=True, gc=False):
    """A reserved slot and what the choice was made from."""

    row: int
    standing: int
    pool_id: int | None
    score: float
    candidates: int
    runner_up: int = NO_ROW
    taken: tuple[int, ...] = ()  # readings of the sample that jobs before this one took


@plainly_set
class Sample(msgspec.Struct, gc=False):
    """What was read of one sample, for some jobs of one kind."""

    kind: Kind
    pool: int | None
    readings: list[Reading]  # as they were read, in draw order
    leg: Leg  # as it stands in the trail of every job that gets the first node that it asks
    scores: list[float]  # of each, after the jobs before; CANNOT: no candidate, or just taken
    candidates: int  # how many can take the job that comes
    jobs_max: int
    best_at: int  # where the best of them is: the first of the least, ties keep their draw order
    taken: tuple[int, ...] = ()  # where the jobs went: each of these nodes holds one more for each
    # Jobs of this session that ask for nothing of their own may take from it at once, ...
    session: "Session | None" = None
    decided: "Decided | None" = None  # ... as this was decided for the last one.


@plainly_set
class Decided(msgspec.Struct, gc=False):
    """What came out, and what it came from; the legs are the fleet's trail."""

    choice: Choice | None
    selector: str
    session: PoolDecision | None  # None in single-level
    bound_before: SessionBinding | None


def brought_up_to_date(readings: Sequence[Reading], taken: Sequence[int]) -> tuple[Reading, ...]:
    """Readings of a sample after jobs took a slot of each of these, by their place among them."""
    now = list(readings)
    for at in taken:
        row, word, load, held, lane_generation, slowness = now[at]
        now[at] = (row, word, load, held + 1, lane_generation, slowness)
    return tuple(now)


def load_of_chosen(choice: Choice, leg: Leg) -> float:
    """The effective load of the chosen row as the last leg of its decision has read it."""
    readings = brought_up_to_date(leg[2], choice.taken)
    return next(load_of(reading) for reading in readings if reading[0] == choice.row)

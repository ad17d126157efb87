"""The trail of a decision: what was looked at, leg by leg, and what came of it.

A leg is one set of rows that were read, ranked and asked in turn: a sample, a chunk of a walk, one
row, or all candidates of a pool.  Legs are plain tuples, because one is made for every decision.
"""

from collections.abc import Sequence
from enum import IntEnum

import msgspec

from pointsman_shm.memory.ledger import Reserve
from pointsman_shm.rules.session_pool import PoolDecision, SessionBinding
from pointsman_workers.fields import plainly_set
from pointsman_workers.placement.checks import Ranking, Reading
from pointsman_workers.placement.kinds import Kind


class How(IntEnum):
    """How the rows of a leg came about, and what its `at` says."""

    SAMPLE = 0  # drawn at random; at = the number of the draw
    WALK = 1  # in the order of the candidates; at = the position of the first
    ALL = 2  # every candidate of the pool
    PREFERRED = 3  # the node that was asked for by name, whatever its pool
    NAMED = 4  # nodes that the decision had a reason to look at by themselves


# Plain numbers, because a member of an enum costs as much to reach as a tuple to make.
SAMPLE, WALK, ALL, PREFERRED, NAMED = (how.value for how in How)

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


@plainly_set
class Sample(msgspec.Struct, gc=False):
    """What was read of one sample, for some jobs of one kind."""

    kind: Kind
    asked: Asked
    readings: list[Reading]  # in draw order
    scores: list[float]  # of each; CANNOT once it was asked in vain
    jobs_left: int
    taken_at: int = -1  # which of them the last job took; its reading is brought up to date late


class Decided(msgspec.Struct, frozen=True, gc=False):
    """What came out, and what it came from; the legs are the fleet's trail."""

    choice: Choice | None
    selector: str
    session: PoolDecision | None  # None in single-level
    bound_before: SessionBinding | None

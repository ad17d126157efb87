"""The trail of a decision: what was looked at, leg by leg, so that it can be told afterwards.

A leg is one set of rows that were read, ranked and asked in turn: a sample, a chunk of a walk, one
row, or all candidates of a pool.  Legs are plain tuples, because one is made for every decision.
"""

from collections.abc import Sequence
from enum import IntEnum

from pointsman_shm.memory.ledger import Reserve
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.ranking import Ranking, Reading


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

NOBODY: Outcomes = ()
FIRST_TOOK_IT: Outcomes = (Reserve.OK.value,)

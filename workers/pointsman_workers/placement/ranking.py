"""Ranking: which of some candidates can take a job, and in which order they are asked.

Placing reads first and judges after.  A *reading* is what was read of one candidate, all of it
numbers; `rank` is a pure function of readings, so that a decision that was recorded can be judged
again, by the same function, and must come out the same.

    Judgement   what a kind of job thinks of the classes of one snapshot: once per kind and version
    Ranking     what only this decision weighs beside: once per decision, usually ANYWHERE
"""

from collections.abc import Callable, Sequence, Set
from math import inf
from operator import itemgetter

import msgspec

from pointsman_shm.memory.rows import (
    CLASS_MASK,
    CLASS_SHIFT,
    FLAGS_SHIFT,
    GENERATION_SHIFT,
    SLOTS_MASK,
    STATE_MASK,
    STATE_SHIFT,
    NodeState,
    RowFlag,
)
from pointsman_shm.rules.load import effective_load

_STOPPING_FLAGS = RowFlag.PAUSED | RowFlag.MARKED | RowFlag.OVERLOADED
CHOOSABLE_MASK = STATE_MASK << STATE_SHIFT | int(_STOPPING_FLAGS) << FLAGS_SHIFT
CHOOSABLE = NodeState.READY << STATE_SHIFT
MARKED_BIT = int(RowFlag.MARKED) << FLAGS_SHIFT
OVERLOADED_BIT = int(RowFlag.OVERLOADED) << FLAGS_SHIFT
CHOOSABLE_IF_MARKED_MASK = CHOOSABLE_MASK & ~MARKED_BIT

# Row, standing word, load word, ledger sum, generation to which the own lane is up (0: none, or
# NO_ROOM_FOR_US), slowness (rules/load.py).
Reading = tuple[int, int, int, int, int, float]
Scored = tuple[float, int, int]  # score (the least is best), row, standing word

# In place of the generation to which a lane is up: it stands, and leads to a node of another
# instance whose slots are all others' for now.  No generation is as high.
NO_ROOM_FOR_US = 1 << 16

BEST_COUNT = 4  # the weighted choice is among so many
WEIGHT_MIN = 0.05  # of the worst of them
WORDS_KEPT_MAX = 4096
CANNOT = inf  # in place of a score

_score = itemgetter(0)


def mark_nothing(_row: int, _word: int) -> bool:
    """Say that no mark bars any node."""
    return False


class Judgement(msgspec.Struct, frozen=True):
    """What one kind of job asks of classes, under one snapshot."""

    codes: bytes | bytearray = b""  # by class number: 0 = can do it
    # Is the node in this row, with this standing word, barred by a mark?  Asked of marked ones.
    is_barred: Callable[[int, int], bool] = mark_nothing
    # Slots by standing word, of words that need no further look; nodes of a class share theirs.
    slots: dict[int, int] = {}

    def slots_of(self, row: int, word: int) -> int:
        """Return the slots of a node with this standing, 0 when it is none for this kind."""
        number = word >> CLASS_SHIFT & CLASS_MASK
        if number >= len(self.codes) or self.codes[number]:
            return 0
        if word & CHOOSABLE_MASK == CHOOSABLE:
            if len(self.slots) >= WORDS_KEPT_MAX:
                self.slots.clear()
            self.slots[word] = word & SLOTS_MASK
        elif word & CHOOSABLE_IF_MARKED_MASK != CHOOSABLE or self.is_barred(row, word):
            return 0  # a marked node lacks one model; for every other service it is as good as any
        return word & SLOTS_MASK


class Ranking(msgspec.Struct, frozen=True, array_like=True):
    """What one decision weighs beside the readings; it is recorded with them, so it stays small."""

    excluded: Set[int] = frozenset()  # rows that the job must not go to
    # The manager has been silent for so long that what it wrote of loads says nothing any more:
    # only our own counts do.
    is_stale: bool = False
    draw: int | None = None  # 64 random bits for a weighted choice among the best


ANYWHERE = Ranking()
ANYWHERE_STALE = Ranking(is_stale=True)


def scores_of(readings: Sequence[Reading], judgement: Judgement) -> list[float]:
    """Return the score of each reading, CANNOT for those that fail a check.

    The score is rules.load.score, written out here because this runs per candidate; with floats
    alone the interpreter multiplies and subtracts without looking for how.
    """
    known_slots = judgement.slots.get
    return [
        (slowness * (held + (load >> 16 & 0xFFFF) + 1.0) - 1.0) / slots
        if held < (slots := known_slots(word) or judgement.slots_of(row, word))
        and lane_generation == word >> GENERATION_SHIFT
        else CANNOT
        for row, word, load, held, lane_generation, slowness in readings
    ]


def rank(readings: Sequence[Reading], judgement: Judgement, ranking: Ranking) -> list[Scored]:
    """Return the candidates that pass every check, best first; ties keep their draw order."""
    if ranking.is_stale:
        return _rank_without_reports(readings, judgement, ranking)
    scored = [
        (score, reading[0], reading[1])
        for score, reading in zip(scores_of(readings, judgement), readings, strict=True)
        if score < CANNOT
    ]
    if ranking.excluded:
        scored = [found for found in scored if found[1] not in ranking.excluded]
    scored.sort(key=_score)
    if ranking.draw is not None and len(scored) > 1:
        _lift_one(scored, ranking.draw)
    return scored


def _rank_without_reports(
    readings: Sequence[Reading], judgement: Judgement, ranking: Ranking
) -> list[Scored]:
    """Rank by own counts alone; the standing words stay as they were read, for the reservation."""
    words = {reading[0]: reading[1] for reading in readings}
    bare = [without_report(reading) for reading in readings]
    ranked = rank(bare, judgement, msgspec.structs.replace(ranking, is_stale=False))
    return [(score, row, words[row]) for score, row, _ in ranked]


def without_report(reading: Reading) -> Reading:
    """The same reading without what the node's last report said of its load."""
    row, word, _, held, lane_generation, slowness = reading
    return (row, word & ~OVERLOADED_BIT, 0, held, lane_generation, slowness)


def load_of(reading: Reading) -> float:
    """The effective load (rules/load.py) of the node of a reading."""
    return effective_load(reading[3], reading[2] >> 16 & 0xFFFF, reading[1] & SLOTS_MASK)


def _lift_one(scored: list[Scored], draw: int) -> None:
    """Put one of the best first, each with a chance in proportion to what its score leaves free.

    Where several dispatchers see the same least loaded node, this keeps them from all going there.
    """
    weights = [max(1.0 - scored[at][0], WEIGHT_MIN) for at in range(min(BEST_COUNT, len(scored)))]
    point = draw / 2**64 * sum(weights)
    for at, weight in enumerate(weights):
        point -= weight
        if point < 0:
            scored.insert(0, scored.pop(at))
            return

"""Ranking: which of some candidates can take a job, and in which order they are asked.

Placing reads first and judges after.  A *reading* is what was read of one candidate, all of it
numbers; `rank` is a pure function of readings, so that a decision that was recorded can be judged
again, by the same function, and must come out the same.
"""

from collections.abc import Sequence
from math import inf
from operator import itemgetter

import msgspec

from pointsman_shm.memory.rows import (
    GENERATION_SHIFT,
    SLOTS_MASK,
)
from pointsman_shm.rules.load import effective_load
from pointsman_workers.placement.checks import Judgement, Ranking, Reading, without_report

Scored = tuple[float, int, int]  # score (the least is best), row, standing word

BEST_COUNT = 4  # the weighted choice is among so many
WEIGHT_MIN = 0.05  # of the worst of them
CANNOT = inf  # in place of a score

_score = itemgetter(0)


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

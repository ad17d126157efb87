"""The checks of one node, in their order, over a reading: why it was not chosen.

Ranking only asks whether a candidate passes; this names the first check that it fails.  Both look
at the same numbers and must agree: `rank` lets through exactly what fails none of these.
"""

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
from pointsman_shm.rules.reasons import Reason
from pointsman_workers.placement.ranking import (
    MARKED_BIT,
    NO_ROOM_FOR_US,
    OVERLOADED_BIT,
    Judgement,
    Ranking,
    Reading,
    without_report,
)

PAUSED_BIT = int(RowFlag.PAUSED) << FLAGS_SHIFT

_BEFORE_MARKS = frozenset(
    {Reason.GPU_UNAVAILABLE, Reason.NOT_IN_PUBLIC_POOL, Reason.MODEL_NOT_AVAILABLE}
)
_BEFORE_POLICY = frozenset({Reason.FEATURE_UNSUPPORTED, Reason.LABEL_MISMATCH})


def first_failed_check(reading: Reading, judgement: Judgement, ranking: Ranking) -> Reason | None:
    """The first check that the node of this reading fails, or None when it can be chosen."""
    if ranking.is_stale:
        reading = without_report(reading)
    row, word, _, held, lane_generation, _ = reading
    state = word >> STATE_SHIFT & STATE_MASK
    if state != NodeState.READY:
        is_gone = state in (NodeState.OFFLINE, NodeState.FREE)
        return Reason.OFFLINE if is_gone else Reason.STATUS_NOT_READY
    if lane_generation not in (word >> GENERATION_SHIFT, NO_ROOM_FOR_US):
        return Reason.NO_LANE
    number = word >> CLASS_SHIFT & CLASS_MASK
    if number >= len(judgement.codes):
        return Reason.STATUS_NOT_READY  # its class is too new for the pinned snapshot
    code = judgement.codes[number]
    reason = Reason(code - 1) if code else None
    if reason in _BEFORE_MARKS:
        return reason
    if word & MARKED_BIT and judgement.is_barred(row, word):
        return Reason.MODEL_NOT_AVAILABLE
    if reason in _BEFORE_POLICY:
        return reason
    if word & PAUSED_BIT:
        return Reason.OWNER_PAUSED
    if reason is not None:
        return reason
    if row in ranking.excluded:
        return Reason.EXCLUDED
    if held >= word & SLOTS_MASK or lane_generation == NO_ROOM_FOR_US:
        return Reason.CAPACITY_EXCEEDED
    return Reason.RESOURCE_THRESHOLD_EXCEEDED if word & OVERLOADED_BIT else None

"""What is asked of one node, as numbers, and the first check that it fails: why it was not chosen.

    Reading     what was read of one candidate
    Judgement   what a kind of job thinks of the classes of one snapshot: once per kind and version
    Ranking     what only this decision weighs beside: once per decision, usually ANYWHERE

Ranking only asks whether a candidate passes; this names the first check that it fails.  Both look
at the same numbers and must agree: `rank` lets through exactly what fails none of these.
"""

from collections.abc import Callable, Set

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
from pointsman_shm.rules.reasons import Reason

_STOPPING_FLAGS = RowFlag.PAUSED | RowFlag.MARKED | RowFlag.OVERLOADED
CHOOSABLE_MASK = STATE_MASK << STATE_SHIFT | int(_STOPPING_FLAGS) << FLAGS_SHIFT
CHOOSABLE = NodeState.READY << STATE_SHIFT
MARKED_BIT = int(RowFlag.MARKED) << FLAGS_SHIFT
OVERLOADED_BIT = int(RowFlag.OVERLOADED) << FLAGS_SHIFT
CHOOSABLE_IF_MARKED_MASK = CHOOSABLE_MASK & ~MARKED_BIT

PAUSED_BIT = int(RowFlag.PAUSED) << FLAGS_SHIFT

_BEFORE_MARKS = frozenset(
    {Reason.GPU_UNAVAILABLE, Reason.NOT_IN_PUBLIC_POOL, Reason.MODEL_NOT_AVAILABLE}
)
_BEFORE_POLICY = frozenset({Reason.FEATURE_UNSUPPORTED, Reason.LABEL_MISMATCH})

# Row, standing word, load word, ledger sum, generation to which the own lane is up (0: none, or
# NO_ROOM_FOR_US), slowness (rules/load.py).
Reading = tuple[int, int, int, int, int, float]

# In place of the generation to which a lane is up: it stands, and leads to a node of another
# instance whose slots are all others' for now.  No generation is as high.
NO_ROOM_FOR_US = 1 << 16

WORDS_KEPT_MAX = 4096


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
    # Of the excluded ones, in refusals: nodes that lack the model, and are not marked yet.
    lacking: Set[int] = frozenset()


ANYWHERE = Ranking()
ANYWHERE_STALE = Ranking(is_stale=True)


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
    if row in ranking.lacking or (word & MARKED_BIT and judgement.is_barred(row, word)):
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


def without_report(reading: Reading) -> Reading:
    """The same reading without what the node's last report said of its load."""
    row, word, _, held, lane_generation, slowness = reading
    return (row, word & ~OVERLOADED_BIT, 0, held, lane_generation, slowness)

"""Node rows: one row of fixed words per node, in dense columns.

      word                  field            written by
    +----------------------+----------------+------------------------------------------+
    | 0 .. 7               | header         | creator                                  |
    | 8 + row              | standing       | manager: all that makes a node choosable |
    | 8 + nodes + row      | load           | manager, at a heartbeat                  |
    | 8 + 2 nodes + row    | heartbeat      | manager: monotonic instant, nanoseconds  |
    | 8 + 3 nodes + row    | epoch          | manager: registration epoch              |
    +----------------------+----------------+------------------------------------------+

    standing   63      48 47           28 27   24 23    16 15         0
              | generation | class number | state | flags | slots max |

    load       63  56 55  48 47       40 39     32 31     16 15      0
              | cpu  | gpu  | gpu memory | memory | foreign | spare   |

Percentages are 0..100, 255 means unknown.  `standing` is one store and one load, so a node
changes its state, class, capacity and generation at once or not at all.  A worker remembers the
word that it judged and reserves only while the word is still the same.
"""

from enum import IntEnum, IntFlag
from typing import NamedTuple

from pointsman_shm.memory.header import (
    DIMENSIONS,
    HEADER_SIZE,
    HEADER_WORDS,
    LayoutMismatch,
    SegmentUnready,
    Shape,
    check_header,
    open_words,
)

COLUMN_COUNT = 4
LAYOUT = 1

GENERATION_SHIFT = 48
CLASS_SHIFT = 28
STATE_SHIFT = 24
FLAGS_SHIFT = 16
GENERATION_MASK = 0xFFFF
CLASS_MASK = 0xFFFFF
STATE_MASK = 0xF
FLAGS_MASK = 0xFF
SLOTS_MASK = 0xFFFF
# The ledger adds cells modulo 65535, so a sum and what racers add to it must stay below that.
SLOTS_MAX = 65_000

PERCENT_UNKNOWN = 255
FOREIGN_MAX = 0xFFFF


class NodeState(IntEnum):
    """Where a node stands in its life; only READY takes new jobs."""

    FREE = 0
    REGISTERING = 1
    READY = 2
    DEGRADED = 3
    SUSPECT = 4
    DRAINING = 5
    OFFLINE = 6


class RowFlag(IntFlag):
    """Facts about a node that selection compares, beside its state."""

    PUBLIC = 1
    PAUSED = 2
    MARKED = 4
    GPU = 8
    STALE = 16
    OVERLOADED = 32  # cpu, gpu or memory at or above the threshold at the last heartbeat
    DRAINED = 128  # an operator drains it: it stays Draining when it registers anew
    REMOTE = 64  # connected to another instance, which alone reserves its slots


class Standing(NamedTuple):
    """Word 0 of a row, taken apart."""

    generation: int
    class_number: int
    state: NodeState
    flags: RowFlag
    slots_max: int


class Load(NamedTuple):
    """Word 1 of a row, taken apart: percentages, and jobs that did not come from us."""

    cpu: int
    gpu: int
    gpu_memory: int
    memory: int
    foreign: int


def pack_standing(
    *, generation: int, class_number: int, state: NodeState, flags: RowFlag, slots_max: int
) -> int:
    """Return the standing word; its parts must fit (generation counts modulo 65536)."""
    assert 0 <= class_number <= CLASS_MASK, class_number
    assert 0 <= slots_max <= SLOTS_MAX, slots_max
    assert 0 <= flags <= FLAGS_MASK, flags
    return (
        (generation & GENERATION_MASK) << GENERATION_SHIFT
        | class_number << CLASS_SHIFT
        | int(state) << STATE_SHIFT
        | int(flags) << FLAGS_SHIFT
        | slots_max
    )


def unpack_standing(word: int) -> Standing:
    """Take a standing word apart; raises ValueError for a state that no build of ours writes."""
    return Standing(
        generation=word >> GENERATION_SHIFT,
        class_number=word >> CLASS_SHIFT & CLASS_MASK,
        state=NodeState(word >> STATE_SHIFT & STATE_MASK),
        flags=RowFlag(word >> FLAGS_SHIFT & FLAGS_MASK),
        slots_max=word & SLOTS_MASK,
    )


def pack_load(cpu: int, gpu: int, gpu_memory: int, memory: int, foreign: int) -> int:
    """Return the load word; `foreign` above its field counts as the most that fits."""
    # One byte each exactly when none has a bit above, or the sign's.
    assert 0 <= cpu | gpu | gpu_memory | memory <= PERCENT_UNKNOWN, "a percentage, or 255"
    assert foreign >= 0, "no part is negative"
    shown = foreign if foreign < FOREIGN_MAX else FOREIGN_MAX
    # From the top down: most steps on small numbers, as every heartbeat takes them.
    return (((cpu << 8 | gpu) << 8 | gpu_memory) << 8 | memory) << 32 | shown << 16


UNKNOWN_LOAD = pack_load(*(PERCENT_UNKNOWN,) * 4, 0)


def unpack_load(word: int) -> Load:
    """Take a load word apart."""
    return Load(
        cpu=word >> 56,
        gpu=word >> 48 & 0xFF,
        gpu_memory=word >> 40 & 0xFF,
        memory=word >> 32 & 0xFF,
        foreign=word >> 16 & FOREIGN_MAX,
    )


class NodeRows:
    """The columns as memoryviews of `max_nodes` words each, read-only when the buffer is."""

    __slots__ = ("epoch", "heartbeat_at_ns", "load", "max_nodes", "standing", "words")

    def __init__(
        self, buffer: memoryview | bytearray, *, max_nodes: int, create: bool = False
    ) -> None:
        shape = _shape(max_nodes)
        self.words = open_words(buffer, shape, create=create)
        self.max_nodes = max_nodes
        self.standing = self._column(0)
        self.load = self._column(1)
        self.heartbeat_at_ns = self._column(2)
        self.epoch = self._column(3)

    def _column(self, index: int) -> memoryview:
        start = HEADER_WORDS + index * self.max_nodes
        return self.words[start : start + self.max_nodes]

    @staticmethod
    def size(max_nodes: int) -> int:
        """Return the bytes needed."""
        return 8 * (HEADER_WORDS + COLUMN_COUNT * max_nodes)


def made_for(head: bytes) -> int | None:
    """Return for how many nodes rows were made that begin with these bytes, None for no rows.

    For who has not mapped them and must know their size; HEADER_SIZE bytes are enough.
    """
    if len(head) < HEADER_SIZE:
        return None
    words = memoryview(head)[:HEADER_SIZE].cast("Q")
    max_nodes: int = words[DIMENSIONS]
    try:
        check_header(words, _shape(max_nodes))
    except (SegmentUnready, LayoutMismatch):
        return None
    return max_nodes


def _shape(max_nodes: int) -> Shape:
    return Shape(b"pmrows", LAYOUT, NodeRows.size(max_nodes), max_nodes)

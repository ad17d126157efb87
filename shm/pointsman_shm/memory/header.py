"""The 64 bytes that every shared structure begins with: what it is, and whether it is finished.

      word  field           written by
    +------+---------------+----------------------------------------------------------+
    |    0 | format        | creator, last: the nonzero word means "ready"            |
    |    1 | magic, layout | creator: six ASCII bytes, version of the layout (2 bytes)|
    |    2 | size          | creator: bytes of the whole structure                    |
    |    3 | dimensions    | creator: what the size follows from, packed per structure|
    |    4 | birth         | maker of the segment: monotonic ns                       |
    |    5 | pid           | maker of the segment, then whoever takes its lock        |
    |    6 | start time    | same: field 22 of /proc/pid/stat                         |
    |    7 | boot          | same: hash of the boot id                                |
    +------+---------------+----------------------------------------------------------+

Whoever attaches checks the format word first: zero is a half-made structure (`SegmentUnready`, try
again soon), anything else that is not ours is another layout (`LayoutMismatch`, never try again).
Changing what a structure means is a new layout version of that structure.  (birth, boot) names one
segment for ever; on a heap buffer, which nobody outlives, words 4 to 7 stay zero.

We assume that a store through `memoryview.cast("Q")[i] = v` is one 8-byte store.  struct.pack_into
is not: it zero-fills first, and a reader sees the zero.
"""

from typing import NamedTuple

HEADER_SIZE = 64
HEADER_WORDS = HEADER_SIZE // 8
WORD_MAX = 2**64 - 1

FORMAT, MAGIC, SIZE, DIMENSIONS, BIRTH, OWNER_PID, OWNER_START, OWNER_BOOT = range(HEADER_WORDS)
FORMAT_READY = int.from_bytes(b"pmready1", "little")
_LAYOUT_SHIFT = 48
_FIELD_NAMES = ("format", "magic and layout version", "size", "dimensions")


class SegmentUnready(Exception):
    """The structure is not finished yet, or was left half-made by a creator that died."""


class LayoutMismatch(Exception):
    """The bytes are another structure, another layout version, or of other sizes."""


class OwnerTag(NamedTuple):
    """One process of one boot: pid, start time in clock ticks since boot, hash of the boot id."""

    pid: int
    started_at_ticks: int
    boot_hash: int


class Shape(NamedTuple):
    """What must be equal between creator and reader of a structure; the magic has six bytes."""

    magic: bytes
    layout: int
    size: int
    dimensions: int


def open_words(buffer: memoryview | bytearray, shape: Shape, *, create: bool) -> memoryview:
    """Return the structure's words after writing its header (create) or checking it.

    A creator hands in zeroed bytes and has stored every word that is not zero at birth before it
    calls this.  Raises SegmentUnready or LayoutMismatch.
    """
    view = memoryview(buffer)
    if len(view) < shape.size:
        raise LayoutMismatch(
            f"{_name(shape)} needs {shape.size} bytes and the memory has {len(view)}"
        )
    words = view[: shape.size].cast("Q")
    if create:
        write_header(words, shape)
    else:
        check_header(words, shape)
    return words


def write_header(words: memoryview, shape: Shape) -> None:
    """Store what the structure is; over a finished header of this shape that changes nothing."""
    _, words[MAGIC], words[SIZE], words[DIMENSIONS] = _wanted(shape)
    words[FORMAT] = FORMAT_READY  # PUBLISH: the header, and every word stored before it


def check_header(words: memoryview, shape: Shape) -> None:
    """Raise SegmentUnready or LayoutMismatch unless the words begin a finished such structure."""
    if words[FORMAT] == 0:
        raise SegmentUnready(f"{_name(shape)} is not finished: its format word is still zero")
    found = words[: len(_FIELD_NAMES)].tolist()
    for name, found_word, wanted_word in zip(_FIELD_NAMES, found, _wanted(shape), strict=True):
        if found_word != wanted_word:
            raise LayoutMismatch(
                f"{_name(shape)}: {name} is {found_word:#x}, this build wants {wanted_word:#x}"
            )


def write_owner(words: memoryview, owner: OwnerTag) -> None:
    """Name the process that keeps the structure from now on."""
    words[OWNER_PID] = owner.pid
    words[OWNER_START] = owner.started_at_ticks
    words[OWNER_BOOT] = owner.boot_hash


def read_owner(words: memoryview) -> OwnerTag:
    """Return who was the last to keep the structure."""
    return OwnerTag(words[OWNER_PID], words[OWNER_START], words[OWNER_BOOT])


def _wanted(shape: Shape) -> tuple[int, int, int, int]:
    magic = int.from_bytes(shape.magic, "little") | shape.layout << _LAYOUT_SHIFT
    return FORMAT_READY, magic, shape.size, shape.dimensions


def _name(shape: Shape) -> str:
    return f"structure {shape.magic.decode('ascii')}"

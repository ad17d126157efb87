"""The 64 bytes that every shared structure begins with: what it is, and whether it is finished.

      word  field           written by
    +------+---------------+----------------------------------------------------------+
    |    0 | format        | creator, last: the nonzero word means "ready"            |
    |    1 | magic         | creator: which structure, eight ASCII bytes              |
    |    2 | layout        | creator: version of the structure's layout               |
    |    3 | size          | creator: bytes of the whole structure                    |
    |    4 | dimensions    | creator: what the size follows from, packed per structure|
    |    5 | pid           | creator, then whoever takes the structure over           |
    |    6 | start time    | same: field 22 of /proc/pid/stat                         |
    |    7 | boot          | same: hash of the boot id                                |
    +------+---------------+----------------------------------------------------------+

Whoever attaches checks the format word first: zero is a half-made structure (`SegmentUnready`, try
again soon), anything else that is not ours is another layout (`LayoutMismatch`, never try again).
Changing what a structure means is a new layout version of that structure.

We assume that a store through `memoryview.cast("Q")[i] = v` is one 8-byte store.  struct.pack_into
is not: it zero-fills first, and a reader sees the zero.
"""

from typing import NamedTuple

from pointsman_shm.memory.ownership import OwnerTag, current_owner

HEADER_SIZE = 64
HEADER_WORDS = HEADER_SIZE // 8
WORD_MAX = 2**64 - 1

FORMAT, MAGIC, LAYOUT, SIZE, DIMENSIONS, OWNER_PID, OWNER_START, OWNER_BOOT = range(HEADER_WORDS)
FORMAT_READY = int.from_bytes(b"pmready1", "little")


class SegmentUnready(Exception):
    """The structure is not finished yet, or was left half-made by a creator that died."""


class LayoutMismatch(Exception):
    """The bytes are another structure, another layout version, or of other sizes."""


class Shape(NamedTuple):
    """What must be equal between creator and reader of a structure."""

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
        _write_header(words, shape)
    else:
        _check_header(words, shape)
    return words


def write_owner(words: memoryview, owner: OwnerTag) -> None:
    """Name the process that writes the structure from now on."""
    words[OWNER_PID] = owner.pid
    words[OWNER_START] = owner.started_at_ticks
    words[OWNER_BOOT] = owner.boot_hash


def read_owner(words: memoryview) -> OwnerTag:
    """Return who was the last to call itself owner of the structure."""
    return OwnerTag(words[OWNER_PID], words[OWNER_START], words[OWNER_BOOT])


def _write_header(words: memoryview, shape: Shape) -> None:
    words[FORMAT] = 0
    words[MAGIC] = int.from_bytes(shape.magic, "little")
    words[LAYOUT] = shape.layout
    words[SIZE] = shape.size
    words[DIMENSIONS] = shape.dimensions
    write_owner(words, current_owner())
    words[FORMAT] = FORMAT_READY  # PUBLISH: the header, and every word stored before it


def _check_header(words: memoryview, shape: Shape) -> None:
    if words[FORMAT] == 0:
        raise SegmentUnready(f"{_name(shape)} is not finished: its format word is still zero")
    found = (words[FORMAT], words[MAGIC], words[LAYOUT], words[SIZE], words[DIMENSIONS])
    magic = int.from_bytes(shape.magic, "little")
    wanted = (FORMAT_READY, magic, shape.layout, shape.size, shape.dimensions)
    names = ("format", "magic", "layout version", "size", "dimensions")
    for name, found_word, wanted_word in zip(names, found, wanted, strict=True):
        if found_word != wanted_word:
            raise LayoutMismatch(
                f"{_name(shape)}: {name} is {found_word:#x}, this build wants {wanted_word:#x}"
            )


def _name(shape: Shape) -> str:
    return shape.magic.decode("ascii")

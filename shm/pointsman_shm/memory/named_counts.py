"""Counts by name, for names of which there may be any number: a count-min sketch for each worker.

      word, from the region's first               field    written by
    +-------------------------------------------+--------+--------------------------------------+
    | (kind * ROW_COUNT + row) * CELL_COUNT     | count  | that worker: the counts of all names |
    |   + cell                                  |        | that fall into this cell of this row |
    +-------------------------------------------+--------+--------------------------------------+

A name has one cell in each row, found by a keyed hash, so that nobody can choose names that meet.
What is counted for it is in all of them, with what others have there: the least of its cells is
its count or a little more, never less (Cormode and Muthukrishnan, 2005).  With n counted in all, it
is more by e n / CELL_COUNT for one name in e ** ROW_COUNT = 20 at most.
"""

from collections.abc import Sequence
from enum import IntEnum

ROW_COUNT = 3
CELL_COUNT = 4_096
_WORD_MASK = (1 << 64) - 1


class NamedCount(IntEnum):
    """What is counted; kinds of unlike size or course do not share cells."""

    HELD = 0  # jobs, sessions, failures: what comes and goes one by one
    BYTES = 1
    ADMITTED = 2  # only counts on: who succeeds a dead worker keeps it


KIND_WORDS = ROW_COUNT * CELL_COUNT
NAMED_WORDS = len(NamedCount) * KIND_WORDS
# Words of these are zero when a worker begins: it has nothing yet.
PASSING_WORDS = int(NamedCount.ADMITTED) * KIND_WORDS


def add(words: memoryview, start: int, kind: NamedCount, cells: Sequence[int], change: int) -> None:
    """Count for the name with these cells, one of each row, in the region that begins there."""
    at = start + kind * KIND_WORDS
    for cell in cells:
        words[at + cell] = words[at + cell] + change & _WORD_MASK
        at += CELL_COUNT


def read(
    words: memoryview, starts: Sequence[int], kind: NamedCount, cells: Sequence[int]
) -> tuple[int, ...]:
    """Return what all regions say of a name, by row; each wraps at 64 bits."""
    offset = kind * KIND_WORDS
    found = []
    for row, cell in enumerate(cells):
        at = offset + row * CELL_COUNT + cell
        found.append(sum(words[start + at] for start in starts) & _WORD_MASK)
    return tuple(found)

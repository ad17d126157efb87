"""Hands out rows, and takes care that a freed one is not used again too early.

A worker may still hold a snapshot in which the freed row was another node, or a slot of it.  So a
row goes:  taken -> freed -> removal published as some version -> every live worker has applied
that version, and the row's ledger cells are all 0 -> may be taken, with the next generation.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

from pointsman_shm.memory.ledger import lock_fence

GENERATION_MAX = 0xFFFF
# Rows in waiting that one registration looks at: the others have their turn at the next one.
LOOKS_MAX = 64


class RowAllocator:
    """Rows 0 .. max_nodes - 1, lowest first; generations run 1 .. 65535 and around."""

    def __init__(self, generations: list[int], held: Callable[[int], int]) -> None:
        self._generations = generations
        self._held = held
        self._free = list(range(len(generations)))
        # Freed, and their removal is not published yet.
        self._freed: set[int] = set()
        # (row, version of the catalog in which it is gone).
        self._published: deque[tuple[int, int]] = deque(maxlen=len(generations))

    @property
    def waiting_count(self) -> int:
        """Return how many freed rows may not be used again yet."""
        return len(self._freed) + len(self._published)

    def occupy(self, rows: set[int], version: int) -> None:
        """Take these rows as a predecessor left them, whose last version this is.

        Of the others, those of which workers hold slots wait as if they were freed just now; not so
        in a catalog that is new (0), with which workers begin anew.  Call before the first take.
        """
        others = [row for row in self._free if row not in rows]
        waiting = [row for row in others if version and self._held(row)]
        self._free = sorted({*others} - {*waiting})
        self._published.extend((row, version) for row in waiting)

    def take(
        self, applied_version: Callable[[], int], *, left_min: int = 0
    ) -> tuple[int, int] | None:
        """Return a row and its new generation, or None when every row is taken or must wait.

        `applied_version` tells the oldest version that a live worker may still act on; it is
        asked only when a freed row could be used again.  At least `left_min` free rows are left.
        """
        if self._published:
            self._reclaim(applied_version())
        if len(self._free) <= left_min:
            return None
        row = heappop(self._free)
        generation = self._generations[row] % GENERATION_MAX + 1
        self._generations[row] = generation
        return row, generation

    def free(self, row: int) -> None:
        """Give a row back; it waits until nobody can mistake its next owner for the last."""
        assert row not in self._freed, row
        self._freed.add(row)

    def note_published(self, is_in: Callable[[int], bool], version: int) -> None:
        """Freed rows whose page is in this publish are gone for whoever has applied `version`."""
        gone = [row for row in self._freed if is_in(row)]
        for row in sorted(gone):
            self._freed.discard(row)
            self._published.append((row, version))

    def _reclaim(self, applied_version: int) -> None:
        # The row's standing was stored as free long ago; the fence makes that certain for a worker
        # that is reserving right now: it sees the free row, or we see its cell.
        lock_fence()
        for _ in range(min(LOOKS_MAX, len(self._published))):
            row, version = self._published.popleft()
            if version <= applied_version and self._held(row) == 0:
                heappush(self._free, row)
            else:
                self._published.append((row, version))

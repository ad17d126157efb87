"""Room: about how many slots of each pool are free, for a choice of pools in proportion to it.

Counted from the words at most so often that counting costs a few percent of the time, whatever the
size of the pool; in between it follows what this worker itself takes and gives back.
"""

from collections.abc import Callable, Iterable

import msgspec

from pointsman_shm.memory.rows import SLOTS_MASK, STATE_MASK, STATE_SHIFT, NodeState

COUNT_NS = 20_000_000  # no more often than this,
COUNT_NS_PER_ROW = 10_000  # and about thirty times what a row costs

_READY = int(NodeState.READY)


class Counted(msgspec.Struct):
    """The free slots of one pool, and until when they need no counting anew."""

    free: int
    until_ns: int


class Room:
    """Free slots by pool."""

    def __init__(self, standing: memoryview, load: memoryview, held: Callable[[int], int]) -> None:
        self._standing = standing
        self._load = load
        self._held = held
        self._pools: dict[int, Counted] = {}

    def free(self, pool_id: int, rows_of: Callable[[int], Iterable[int]], now_ns: int) -> int:
        """Free slots of the Ready nodes of a pool; `rows_of` is asked when they are counted."""
        counted = self._pools.get(pool_id)
        if counted is None or counted.until_ns <= now_ns:
            counted = self._pools[pool_id] = self._count(rows_of(pool_id), now_ns)
        return max(0, counted.free)

    def _count(self, rows: Iterable[int], now_ns: int) -> Counted:
        standing, load, held = self._standing, self._load, self._held
        free = row_count = 0
        for row in rows:
            word = standing[row]
            row_count += 1
            if word >> STATE_SHIFT & STATE_MASK == _READY:
                free += max(0, (word & SLOTS_MASK) - held(row) - (load[row] >> 16 & 0xFFFF))
        return Counted(free, now_ns + max(COUNT_NS, COUNT_NS_PER_ROW * row_count))

    def change(self, pool_id: int, slots: int) -> None:
        """This worker has given back (or, negative, taken) slots of a pool."""
        counted = self._pools.get(pool_id)
        if counted is not None:
            counted.free += slots

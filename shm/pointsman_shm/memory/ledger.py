"""The slot ledger: how many slots of each node each worker holds.

      byte                              field    written by
    +----------------------------------+--------+--------------------------------------+
    | 0 .. 63                          | header | creator                              |
    | 64 + 2 (row * stride + worker)   | cell   | that worker: slots it holds, 16 bits |
    +----------------------------------+--------+--------------------------------------+

`stride` is the worker count rounded up to a power of two, so the cells of a row are one 2-, 4- or
8-byte word (or a few words) and their sum is few loads.  The sum of 16-bit digits of a word is the
word modulo 65535, as long as it is below that: 65536 leaves the remainder 1.

Reserve: look whether there is room; add one to the own cell; FENCE; look again.  The fence puts the
own store before the own second look, for every processor, so of two that race at least one sees the
other, and capacity is never exceeded.  Nobody waits and nothing can be left locked: who sees too
much, or another standing word, takes its one back.  Without the fence both stores may still sit in
store buffers while both look; no test run on a machine shows it, the exhaustive model in the tests
does.  When both see too much, the lower worker index tries again at once, a bounded number of
times, and the other goes on.  "Full" is never concluded from that.

The worker's private count is the truth and the cell its projection.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from threading import Lock

from pointsman_shm.memory.header import HEADER_SIZE, Shape, open_words
from pointsman_shm.memory.rows import SLOTS_MASK

LAYOUT = 1
DIGITS = 0xFFFF
RETRIES_PER_RANK = 4
RETRIES_MAX = 32
MEND_CHUNK = 256

_fence_lock = Lock()
_acquire = _fence_lock.acquire
_release = _fence_lock.release


def lock_fence() -> None:
    """Order all earlier stores of this thread before all its later loads.

    CPython has no fences.  Taking a free lock is a locked instruction, which on x86-64 drains the
    store buffer; the lock is private and never contended, so nothing can be left held.
    """
    _acquire()
    _release()


class Reserve(IntEnum):
    """What became of a reservation; only OK holds a slot."""

    OK = 0
    FULL = 1
    CHANGED = 2
    BACKED_OFF = 3


_OK, _FULL, _CHANGED, _BACKED_OFF = Reserve


class Ledger:
    """All cells of all workers; `held(row)` is the sum over the workers of one row."""

    __slots__ = ("cells", "held", "max_nodes", "row_words", "stride", "worker_count")

    held: Callable[[int], int]
    # Where a row is one word: row -> word, whose remainder by DIGITS is what `held` says.
    row_words: memoryview | None

    def __init__(
        self,
        buffer: memoryview | bytearray,
        *,
        max_nodes: int,
        worker_count: int,
        create: bool = False,
    ) -> None:
        size = self.size(max_nodes=max_nodes, worker_count=worker_count)
        shape = Shape(b"pmledg", LAYOUT, size, max_nodes << 16 | worker_count)
        words = open_words(buffer, shape, create=create)
        cells = words.cast("B")[HEADER_SIZE:]
        self.max_nodes = max_nodes
        self.worker_count = worker_count
        self.stride = stride_of(worker_count)
        self.cells = cells[: 2 * max_nodes * self.stride].cast("H")
        words = _row_words(cells, self.stride)
        self.held = held_reader(words, self.stride)
        self.row_words = words if self.stride <= 4 else None

    @staticmethod
    def size(*, max_nodes: int, worker_count: int) -> int:
        """Return the bytes needed, a multiple of 8."""
        return HEADER_SIZE + (2 * max_nodes * stride_of(worker_count) + 7) // 8 * 8

    def held_by_worker(self) -> list[int]:
        """Return the sum of each worker's cells over all rows."""
        cells = self.cells.tolist()
        return [sum(cells[worker :: self.stride]) for worker in range(self.worker_count)]


def stride_of(worker_count: int) -> int:
    """Return the worker count rounded up to a power of two."""
    assert worker_count >= 1, worker_count
    return 1 << (worker_count - 1).bit_length()


def _row_words(cells: memoryview, stride: int) -> memoryview:
    if stride == 1:
        return cells.cast("H")
    return cells.cast("I") if stride == 2 else cells.cast("Q")


def held_reader(words: memoryview, stride: int) -> Callable[[int], int]:
    """Return the function row -> sum of its cells, with as few loads as the stride allows.

    `words` holds 2-byte items for stride 1, 4-byte items for 2, else 8-byte items.  A closure per
    stride, because this is called for every candidate of every decision.
    """
    if stride == 1:
        return words.__getitem__
    if stride <= 4:
        return lambda row: words[row] % DIGITS
    if stride == 8:
        return lambda row: (words[2 * row] + words[2 * row + 1]) % DIGITS
    count = stride // 4
    return lambda row: sum(words[count * row : count * row + count]) % DIGITS


class OwnLedger:
    """One worker's hand in the ledger: the only writer of its cells.

    Starts from what the cells say, which after a predecessor's death may be too much and is never
    too little; `settle` then writes each cell once with its final value.
    """

    __slots__ = (
        "_column", "_fence", "_held", "_retries", "counts", "underflow_count",
    )  # fmt: skip

    def __init__(
        self, ledger: Ledger, worker_index: int, fence: Callable[[], None] = lock_fence
    ) -> None:
        assert 0 <= worker_index < ledger.worker_count, worker_index
        self._held = ledger.held
        self._fence = fence
        rank = ledger.worker_count - 1 - worker_index
        self._retries = min(RETRIES_PER_RANK * rank, RETRIES_MAX)
        self._column = ledger.cells[worker_index :: ledger.stride]
        self.counts = self._column.tolist()  # five times as quick to look into as an array
        self.underflow_count = 0

    def reserve(self, row: int, standing_column: memoryview, standing_word: int) -> Reserve:
        """Take one slot of the row if there is room and its standing is still `standing_word`.

        Capacity is the word's own slots_max.  BACKED_OFF means that another worker was at the same
        slot at the same moment: go on elsewhere, and do not conclude that the node is full.
        """
        slots_max = standing_word & SLOTS_MASK
        held = self._held
        if held(row) >= slots_max:
            return _FULL
        count = self.counts[row] + 1
        self._column[row] = count  # PUBLISH: we may hold one more
        self._fence()
        if held(row) <= slots_max and standing_column[row] == standing_word:
            self.counts[row] = count
            return _OK
        return self._retreat(row, standing_column, standing_word)

    def _retreat(self, row: int, standing_column: memoryview, standing_word: int) -> Reserve:
        column, held = self._column, self._held
        count = self.counts[row] + 1
        slots_max = standing_word & SLOTS_MASK
        column[row] = count - 1  # RELEASE: what we added and did not get
        for _ in range(self._retries):
            if standing_column[row] != standing_word:
                return _CHANGED
            if held(row) >= slots_max:
                continue  # full, or a racer that has not yet taken its one back: not for us to say
            column[row] = count  # PUBLISH: as in reserve
            self._fence()
            if held(row) <= slots_max and standing_column[row] == standing_word:
                self.counts[row] = count
                return _OK
            column[row] = count - 1  # RELEASE: as above
        return _CHANGED if standing_column[row] != standing_word else _BACKED_OFF

    def has_room(self, row: int, standing_word: int) -> bool:
        """Would a slot of the row be free just now?"""
        return self._held(row) < standing_word & SLOTS_MASK

    def release(self, row: int) -> bool:
        """Give one slot of the row back; False, and counted, when this worker holds none."""
        count = self.counts[row]
        if count == 0:
            self.underflow_count += 1
            return False
        self.counts[row] = self._column[row] = count - 1  # RELEASE
        return True

    def own(self, row: int) -> int:
        """Return how many slots of the row this worker holds."""
        return self.counts[row]

    def rewrite(self, row: int, count: int) -> None:
        """Set truth and cell of one row, in one store: never zero first."""
        self.counts[row] = count
        self._column[row] = count

    def settle(self, final: Mapping[int, int]) -> int:
        """Make `final` (row -> slots; 0 where absent) this worker's truth after a take-over.

        Each cell that differs is written once, with its final value.  Returns how many differed.
        """
        changed_count = 0
        for row, count in enumerate(self.counts):
            wanted = final.get(row, 0)
            if wanted != count or wanted != self._column[row]:
                self.rewrite(row, wanted)
                changed_count += 1
        return changed_count

    def mend(self) -> int:
        """Rewrite every own cell that is not the private count; returns how many were not."""
        truth, column = self.counts, self._column
        if column.tolist() == truth:
            return 0
        mended_count = 0
        for start in range(0, len(truth), MEND_CHUNK):
            end = min(start + MEND_CHUNK, len(truth))
            if column[start:end].tolist() == truth[start:end]:
                continue
            for row in range(start, end):
                if column[row] != truth[row]:
                    column[row] = truth[row]
                    mended_count += 1
        return mended_count

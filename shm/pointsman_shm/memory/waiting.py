"""Waiting words: what each worker has waiting and whom it has served, for all workers of a host.

So who frees a slot can offer it in turn, and limits of a tenant hold over all workers.

      word (per worker, from 8 + 41232 worker) field           written by
    +------------------------------------------+--------------+-----------------------------------+
    | 0                                        | class mask   | that worker: OR of its buckets'   |
    | 1                                        | bucket bits  | that worker: buckets with a count |
    | 2                                        | queued jobs  | that worker                       |
    | 3                                        | spare        |                                   |
    | 4 + rank                                 | clock        | that worker: virtual time of the  |
    |                                          |              | job of this priority served last  |
    | 8 .. 15                                  | spare        |                                   |
    | 16 + 4 bucket                            | count        | that worker, last when it grows   |
    | 16 + 4 bucket + 1                        | oldest since | that worker: monotonic ns         |
    | 16 + 4 bucket + 2                        | best         | that worker: rank << 16, place,   |
    |                                          |              | bit 32 if only borrowers wait     |
    | 16 + 4 bucket + 3                        | classes      | that worker: bit = class % 64     |
    | 272 + 8 place + rank                     | served       | that worker: virtual time that it |
    |                                          |              | gave to this place, signed        |
    | 272 + 8 place + 4                        | admitted     | that worker: jobs accepted        |
    | 272 + 8 place + 5                        | open         | that worker: jobs not ended       |
    | 272 + 8 place + 6                        | queued bytes | that worker: payloads that wait   |
    | 272 + 8 place + 7                        | asked        | that worker: jobs that came, of a |
    |                                          |              | tenant with a rate                |
    | 4368 ..                                  | named counts | that worker: named_counts.py      |
    +------------------------------------------+--------------+-----------------------------------+

A place below 256 belongs to one listed tenant, any other to all those whose names fall into it; a
rank is a priority, 0 the highest.  The words of a bucket are not read as one.  They are hints: a
mixed look costs one offer to a worker that no longer waits, or one look later, and the look every
few milliseconds is the net.  Served, admitted and asked only count on: who succeeds a dead worker
keeps them.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import reduce
from operator import or_
from typing import NamedTuple

from pointsman_shm.memory.header import HEADER_WORDS, Shape, open_words
from pointsman_shm.memory.named_counts import NAMED_WORDS, PASSING_WORDS, NamedCount, add, read

LAYOUT = 4
BUCKET_COUNT = 64
RANK_COUNT = 4
PLACE_COUNT = 512
BORROWERS = 1 << 32
_BUCKET_WORDS = 4
_PLACE_WORDS = 8
_BLOCK_HEAD_WORDS = 16
_PLACES = _BLOCK_HEAD_WORDS + BUCKET_COUNT * _BUCKET_WORDS
_NAMED = _PLACES + PLACE_COUNT * _PLACE_WORDS
_BLOCK_WORDS = _NAMED + NAMED_WORDS
_NOTHING_NAMED = memoryview(bytes(8 * PASSING_WORDS)).cast("Q")
_CLASS_MASK = 0
_BUCKET_BITS = 1
_QUEUED = 2
_CLOCKS = 4
_WORD_MASK = (1 << 64) - 1
_SIGN = 1 << 63


class Usage(IntEnum):
    """What is counted for a place, beside its virtual times."""

    ADMITTED = 4
    OPEN = 5
    QUEUED_BYTES = 6
    ASKED = 7


class Waiting(NamedTuple):
    """One bucket of one worker in which something waits."""

    worker: int
    bucket: int
    waiting_count: int
    oldest_since_ns: int
    best: int
    class_mask: int

    @property
    def is_borrowers(self) -> bool:
        """Do only jobs of other instances wait, which have had their turn to ask?"""
        return bool(self.best & BORROWERS)

    @property
    def rank(self) -> int:
        """The priority of the best job in the bucket."""
        return self.best >> 16 & 0xFFFF

    @property
    def place(self) -> int:
        """The place of the tenant of that job."""
        return self.best & 0xFFFF


class WaitingWords:
    """The waiting words of all workers of the host."""

    __slots__ = ("_blocks", "_words", "worker_count")

    def __init__(
        self, buffer: memoryview | bytearray, *, worker_count: int, create: bool = False
    ) -> None:
        shape = Shape(b"pmwait", LAYOUT, self.size(worker_count), worker_count)
        self._words = open_words(buffer, shape, create=create)
        self.worker_count = worker_count
        self._blocks = [HEADER_WORDS + worker * _BLOCK_WORDS for worker in range(worker_count)]

    @staticmethod
    def size(worker_count: int) -> int:
        """Return the bytes needed."""
        return 8 * (HEADER_WORDS + worker_count * _BLOCK_WORDS)

    def own(self, worker_index: int) -> "OwnWaiting":
        """Return the hand of one worker, the only writer of its words; starts cleared."""
        self.clear(worker_index)
        return OwnWaiting(self._block(worker_index))

    def clear(self, worker: int) -> None:
        """Say that a worker has nothing waiting; for its owner, or for who holds its lock."""
        block = self._block(worker)
        block[_CLASS_MASK] = 0  # RELEASE: nobody offers to this worker from here on
        block[_BUCKET_BITS] = block[_QUEUED] = 0
        for word in range(_BLOCK_HEAD_WORDS, _PLACES):
            block[word] = 0
        for usage in (Usage.OPEN, Usage.QUEUED_BYTES):
            for word in range(_PLACES + usage, _NAMED, _PLACE_WORDS):
                block[word] = 0
        block[_NAMED : _NAMED + PASSING_WORDS] = _NOTHING_NAMED

    def worker_mask(self, worker: int) -> int:
        """Return the classes (bit = class number modulo 64) that the worker waits for."""
        mask: int = self._words[HEADER_WORDS + worker * _BLOCK_WORDS + _CLASS_MASK]
        return mask

    def others(self, worker_index: int) -> Iterator[Waiting]:
        """Iterate over what all workers but one have waiting."""
        words = self._words
        for worker, block_at in enumerate(self._blocks):
            if worker == worker_index or not words[block_at + _CLASS_MASK]:
                continue
            yield from _buckets(words, block_at, worker)

    def queued_elsewhere(self, worker_index: int) -> int:
        """Return how many jobs wait at all workers but one."""
        words = self._words
        return sum(words[at + _QUEUED] for at in self._blocks) - int(
            words[self._blocks[worker_index] + _QUEUED]
        )

    def served(self, place: int, rank: int) -> int:
        """Return the virtual time that a place has been given at a rank, by all workers."""
        offset = _PLACES + place * _PLACE_WORDS + rank
        words = self._words
        total = _SIGN
        for block_at in self._blocks:
            total += words[block_at + offset]
        return (total & _WORD_MASK) - _SIGN

    def clock(self, rank: int) -> int:
        """Return the virtual time of a rank: of the job that was served furthest on."""
        words = self._words
        return max(int(words[block_at + _CLOCKS + rank]) for block_at in self._blocks)

    def used_elsewhere(self, worker_index: int, place: int, usage: Usage) -> int:
        """Return what all workers but one have counted for a place; wraps at 64 bits."""
        offset = _PLACES + place * _PLACE_WORDS + usage
        words, own_at = self._words, self._blocks[worker_index]
        return sum(words[at + offset] for at in self._blocks if at != own_at) & _WORD_MASK

    def used(self, place: int, usage: Usage) -> int:
        """Return what all workers have counted for a place; wraps at 64 bits."""
        offset = _PLACES + place * _PLACE_WORDS + usage
        return sum(self._words[at + offset] for at in self._blocks) & _WORD_MASK

    def named_elsewhere(
        self, worker_index: int, kind: NamedCount, cells: Sequence[int]
    ) -> tuple[int, ...]:
        """Return what all workers but one say of a name, by row."""
        own_at = self._blocks[worker_index]
        starts = [at + _NAMED for at in self._blocks if at != own_at]
        return read(self._words, starts, kind, cells)

    def _block(self, worker: int) -> memoryview:
        assert 0 <= worker < self.worker_count, worker
        start = HEADER_WORDS + worker * _BLOCK_WORDS
        return self._words[start : start + _BLOCK_WORDS]


def _buckets(words: memoryview, block_at: int, worker: int) -> Iterator[Waiting]:
    bits: int = words[block_at + _BUCKET_BITS]
    while bits:
        bucket = (bits & -bits).bit_length() - 1
        bits &= bits - 1
        at = block_at + _BLOCK_HEAD_WORDS + bucket * _BUCKET_WORDS
        count, oldest_since_ns, best, class_mask = words[at : at + _BUCKET_WORDS]
        if count:
            yield Waiting(worker, bucket, count, oldest_since_ns, best, class_mask)


class OwnWaiting:
    """One worker's own waiting words, with what they say kept privately too."""

    __slots__ = ("_block", "_bucket_bits", "_class_mask", "_masks")

    def __init__(self, block: memoryview) -> None:
        self._block = block
        self._masks = [0] * BUCKET_COUNT
        self._bucket_bits = 0
        self._class_mask = 0

    def publish(
        self, bucket: int, count: int, oldest_since_ns: int, best: int, class_mask: int
    ) -> None:
        """Say what waits in a bucket; a count of 0 clears the bucket, whatever else is given."""
        block = self._block
        at = _BLOCK_HEAD_WORDS + bucket * _BUCKET_WORDS
        mask_before = self._masks[bucket]
        if count == 0:
            block[at] = 0  # RELEASE: first, so that nobody is offered for what is gone
            class_mask = 0
            self._bucket_bits &= ~(1 << bucket)
        else:
            block[at + 1] = oldest_since_ns
            block[at + 2] = best
            block[at + 3] = class_mask
            block[at] = count
            self._bucket_bits |= 1 << bucket
        self._masks[bucket] = class_mask
        self._class_mask |= class_mask
        if mask_before & ~class_mask:
            self._class_mask = reduce(or_, self._masks)
        block[_BUCKET_BITS] = self._bucket_bits
        block[_CLASS_MASK] = self._class_mask  # PUBLISH: the bucket and its bit

    def queued(self, count: int) -> None:
        """Say how many jobs wait here in all."""
        self._block[_QUEUED] = count

    def move_clock(self, rank: int, virtual_time: int) -> None:
        """A job with this virtual time was served; a clock only goes forward."""
        if virtual_time > self._block[_CLOCKS + rank]:
            self._block[_CLOCKS + rank] = virtual_time

    def charge(self, place: int, rank: int, virtual_time: int) -> None:
        """Add virtual time (or take some, negative) to what this worker gave to a place."""
        at = _PLACES + place * _PLACE_WORDS + rank
        self._block[at] = self._block[at] + virtual_time & _WORD_MASK

    def use(self, place: int, usage: Usage, change: int) -> int:
        """Count for a place; return this worker's own count."""
        at = _PLACES + place * _PLACE_WORDS + usage
        count: int = self._block[at] + change & _WORD_MASK
        self._block[at] = count
        return count

    def count_named(self, kind: NamedCount, cells: Sequence[int], change: int) -> None:
        """Count for a name, whose cells these are."""
        add(self._block, _NAMED, kind, cells, change)

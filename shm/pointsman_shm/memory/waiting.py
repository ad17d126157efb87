"""Waiting words: what each worker has waiting, so that who frees a slot can offer it in turn.

      word (per worker, from 8 + 264 worker)  field           written by
    +----------------------------------------+---------------+-----------------------------------+
    | 0                                      | class mask    | that worker: OR of its buckets'   |
    | 1                                      | bucket bits   | that worker: buckets with a count |
    | 2 .. 7                                 | spare         |                                   |
    | 8 + 4 bucket                           | count         | that worker, last when it grows   |
    | 8 + 4 bucket + 1                       | oldest since  | that worker: monotonic ns         |
    | 8 + 4 bucket + 2                       | weight        | that worker                       |
    | 8 + 4 bucket + 3                       | classes       | that worker: bit = class % 64     |
    +----------------------------------------+---------------+-----------------------------------+

The four words of a bucket are not read as one.  They are hints: a mixed look costs one offer to a
worker that no longer waits, or one look later, and the look every few milliseconds is the net.
"""

from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import NamedTuple

from pointsman_shm.memory.header import HEADER_WORDS, Shape, open_words

LAYOUT = 1
BUCKET_COUNT = 64
CLASS_BITS = 64
_BUCKET_WORDS = 4
_BLOCK_HEAD_WORDS = 8
_BLOCK_WORDS = _BLOCK_HEAD_WORDS + BUCKET_COUNT * _BUCKET_WORDS
_CLASS_MASK = 0
_BUCKET_BITS = 1


class Waiting(NamedTuple):
    """One bucket of one worker in which something waits."""

    worker: int
    bucket: int
    waiting_count: int
    oldest_since_ns: int
    weight: int
    class_mask: int


class WaitingWords:
    """The waiting words of all workers of the host."""

    __slots__ = ("_words", "worker_count")

    def __init__(
        self, buffer: memoryview | bytearray, *, worker_count: int, create: bool = False
    ) -> None:
        shape = Shape(b"pmwait", LAYOUT, self.size(worker_count), worker_count)
        self._words = open_words(buffer, shape, create=create)
        self.worker_count = worker_count

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
        block[_BUCKET_BITS] = 0
        for word in range(_BLOCK_HEAD_WORDS, _BLOCK_WORDS):
            block[word] = 0

    def worker_mask(self, worker: int) -> int:
        """Return the classes (bit = class number modulo 64) that the worker waits for."""
        mask: int = self._words[HEADER_WORDS + worker * _BLOCK_WORDS + _CLASS_MASK]
        return mask

    def others(self, worker_index: int) -> Iterator[Waiting]:
        """Iterate over what all workers but one have waiting."""
        words = self._words
        for worker in range(self.worker_count):
            block_at = HEADER_WORDS + worker * _BLOCK_WORDS
            if worker == worker_index or not words[block_at + _CLASS_MASK]:
                continue
            yield from _buckets(words, block_at, worker)

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
        count, oldest_since_ns, weight, class_mask = words[at : at + _BUCKET_WORDS]
        if count:
            yield Waiting(worker, bucket, count, oldest_since_ns, weight, class_mask)


class OwnWaiting:
    """One worker's own waiting words, with what they say kept privately too."""

    __slots__ = ("_block", "_bucket_bits", "_class_mask", "_masks")

    def __init__(self, block: memoryview) -> None:
        self._block = block
        self._masks = [0] * BUCKET_COUNT
        self._bucket_bits = 0
        self._class_mask = 0

    def publish(
        self, bucket: int, count: int, oldest_since_ns: int, weight: int, class_mask: int
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
            block[at + 2] = weight
            block[at + 3] = class_mask
            block[at] = count
            self._bucket_bits |= 1 << bucket
        self._masks[bucket] = class_mask
        self._class_mask |= class_mask
        if mask_before & ~class_mask:
            self._class_mask = reduce(or_, self._masks)
        block[_BUCKET_BITS] = self._bucket_bits
        block[_CLASS_MASK] = self._class_mask  # PUBLISH: the bucket and its bit

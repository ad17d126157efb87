"""Deadlines in coarse buckets: one entry for each thing that waits, re-filed when it fires early.

An entry is filed once under the bucket of its earliest deadline.  When the bucket is due its
owner looks at the entry: ended things are dropped, things whose deadline has moved are filed
again.  Filing costs an append; nothing is ever searched or removed.
"""

from heapq import heappop, heappush
from typing import Generic, TypeVar

BUCKET_NS = 64_000_000
NEVER_NS = 1 << 62

T = TypeVar("T")


class Timers(Generic[T]):
    """A calendar of 64 ms buckets."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[T]] = {}
        self._order: list[int] = []  # heap of the buckets' numbers
        # The bucket that got the last entry, and the deadlines that go there: mostly the next too.
        self._last: list[T] = []
        self._last_from_ns = self._last_until_ns = 0
        self.next_ns = NEVER_NS  # when `due` will next have something

    def file(self, deadline_ns: int, entry: T) -> None:
        """Have the entry returned by `due` no earlier than its deadline, up to 64 ms later."""
        if self._last_from_ns <= deadline_ns < self._last_until_ns:
            self._last.append(entry)
            return
        number = deadline_ns // BUCKET_NS + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = []
            heappush(self._order, number)
            self.next_ns = self._order[0] * BUCKET_NS
        bucket.append(entry)
        self._last, self._last_until_ns = bucket, number * BUCKET_NS
        self._last_from_ns = self._last_until_ns - BUCKET_NS

    def due(self, now_ns: int) -> list[T]:
        """Take out every entry whose bucket has begun."""
        order = self._order
        entries: list[T] = []
        if self.next_ns <= now_ns:
            self._last_until_ns = 0  # it may be among those that are taken out
        while self.next_ns <= now_ns:
            entries += self._buckets.pop(heappop(order))
            self.next_ns = order[0] * BUCKET_NS if order else NEVER_NS
        return entries

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

"""Deadlines in coarse buckets: one entry for each thing that waits, re-filed when it fires early.

An entry is filed once under the bucket of its earliest deadline.  When the bucket is due its
owner looks at the entry: ended things are dropped, things whose deadline has moved are filed
again.  Filing costs an append; nothing is ever searched or removed.
"""

from heapq import heappop, heappush
from typing import Generic, TypeVar

BUCKET_NS = 64_000_000

T = TypeVar("T")


class Timers(Generic[T]):
    """A calendar of 64 ms buckets."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[T]] = {}
        self._order: list[int] = []  # heap of the buckets' numbers

    def file(self, deadline_ns: int, entry: T) -> None:
        """Have the entry returned by `due` no earlier than its deadline, up to 64 ms later."""
        number = deadline_ns // BUCKET_NS + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = [entry]
            heappush(self._order, number)
        else:
            bucket.append(entry)

    def due(self, now_ns: int) -> list[T]:
        """Take out every entry whose bucket has begun."""
        order = self._order
        if not order or order[0] * BUCKET_NS > now_ns:
            return []
        entries: list[T] = []
        while order and order[0] * BUCKET_NS <= now_ns:
            entries += self._buckets.pop(heappop(order))
        return entries

    def next_deadline_ns(self) -> int | None:
        """When `due` will next have something."""
        return self._order[0] * BUCKET_NS if self._order else None

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

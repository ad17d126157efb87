"""Named deadlines of many things in one heap.

Each thing keeps its deadlines by name in `due`; an entry of the heap that says otherwise is
stale and skipped.  Stale entries are swept out when they outnumber the live ones.
"""

import heapq
from collections.abc import Iterator
from typing import Any, Protocol

_STALE_MIN = 64


class Timed(Protocol):
    """A thing that has deadlines."""

    due: dict[str, int]


class Timers:
    """All deadlines; at most one for each thing and name."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str, Any]] = []
        self._count = 0
        self._live = 0

    def set(self, thing: Timed, name: str, at_ns: int) -> None:
        """Set or move a deadline."""
        self._live += name not in thing.due
        thing.due[name] = at_ns
        self._count += 1
        heapq.heappush(self._heap, (at_ns, self._count, name, thing))
        if len(self._heap) > 2 * self._live + _STALE_MIN:
            self._sweep()

    def clear(self, thing: Timed, *names: str) -> None:
        """Forget deadlines; those that are not set do not matter."""
        for name in names:
            self._live -= thing.due.pop(name, None) is not None

    def clear_all(self, thing: Timed) -> None:
        """Forget every deadline of a thing."""
        self._live -= len(thing.due)
        thing.due.clear()

    def next_ns(self) -> int | None:
        """Return the nearest deadline, or None."""
        heap = self._heap
        while heap and not _is_live(heap[0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now_ns: int) -> Iterator[tuple[str, Any]]:
        """Take out, in order, what is due; what is set meanwhile is seen as well."""
        while (at_ns := self.next_ns()) is not None and at_ns <= now_ns:
            _, _, name, thing = heapq.heappop(self._heap)
            self.clear(thing, name)
            yield name, thing

    def shift(self, names: frozenset[str], late_ns: int) -> None:
        """Move the deadlines of these names: this process did not run for so long."""
        for _, _, name, thing in [entry for entry in self._heap if _is_live(entry)]:
            if name in names:
                thing.due[name] += late_ns
        self._heap = [
            (thing.due[name], count, name, thing)
            for _, count, name, thing in self._heap
            if name in thing.due
        ]
        self._sweep()

    def _sweep(self) -> None:
        seen = {(id(e[3]), e[2]): e for e in self._heap if _is_live(e)}
        self._heap = list(seen.values())
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)


def _is_live(entry: tuple[int, int, str, Any]) -> bool:
    at_ns, _, name, thing = entry
    return bool(thing.due.get(name) == at_ns)

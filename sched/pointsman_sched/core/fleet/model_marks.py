"""Which (node, service, version) is skipped for a while because it failed as not available.

A node can be marked only so often in a window, and the table is bounded so that its page always
fits: at the bound the oldest mark gives way.
"""

from pointsman_shm.snapshot.records import MarkRecord, MarksPage

# A mark is at most 300 bytes (names of up to 128 bytes): this many always fit the page.
MARKS_MAX = 800
NAME_BYTES_MAX = 128

Key = tuple[int, int, str, str]
RowKey = tuple[int, int]


class ModelMarks:
    """Marks by (row, generation, service, version), the one that ends first at the front."""

    def __init__(self, *, last_ns: int, per_node_max: int, window_ns: int) -> None:
        self._last_ns = last_ns
        self._per_node_max = per_node_max
        self._window_ns = window_ns
        self._until_ns: dict[Key, int] = {}
        self._per_node: dict[RowKey, int] = {}
        # (row, generation) -> when its window began, and marks in it.
        self._windows: dict[RowKey, tuple[int, int]] = {}

    def restore(self, page: MarksPage, now_ns: int) -> None:
        """Take what a predecessor published and is not over."""
        for mark in sorted(page, key=lambda mark: mark.until_ns):
            if mark.until_ns > now_ns:
                self._insert((mark.row, mark.generation, mark.service, mark.version), mark.until_ns)

    def mark(self, key: Key, now_ns: int) -> bool:
        """Mark until now plus the term; False when the node has used up its marks."""
        row_key = key[:2]
        began_ns, count = self._windows.get(row_key, (now_ns, 0))
        if now_ns - began_ns >= self._window_ns:
            began_ns, count = now_ns, 0
        if count >= self._per_node_max:
            return False
        self._windows[row_key] = (began_ns, count + 1)
        self._remove(key)
        while len(self._until_ns) >= MARKS_MAX:
            self._remove(next(iter(self._until_ns)))
        self._insert(key, now_ns + self._last_ns)
        return True

    def expire(self, now_ns: int) -> list[RowKey]:
        """Drop marks that are over; return the (row, generation) that lost one."""
        over: list[RowKey] = []
        while self._until_ns:
            key, until_ns = next(iter(self._until_ns.items()))
            if until_ns > now_ns:
                break
            self._remove(key)
            over.append(key[:2])
        return over

    def forget(self, row: int, generation: int) -> bool:
        """Drop every mark of a node that is gone; True when there was one."""
        self._windows.pop((row, generation), None)
        keys = [key for key in self._until_ns if key[:2] == (row, generation)]
        for key in keys:
            self._remove(key)
        return bool(keys)

    def is_marked(self, row: int, generation: int) -> bool:
        """Say whether any service of the node is marked."""
        return (row, generation) in self._per_node

    def next_end_ns(self) -> int | None:
        """Return when the first mark is over."""
        return next(iter(self._until_ns.values()), None)

    def page(self) -> MarksPage:
        """Return all marks."""
        return tuple(MarkRecord(*key, until_ns) for key, until_ns in self._until_ns.items())

    def _insert(self, key: Key, until_ns: int) -> None:
        row_key = key[:2]
        self._until_ns[key] = until_ns
        self._per_node[row_key] = self._per_node.get(row_key, 0) + 1

    def _remove(self, key: Key) -> None:
        if self._until_ns.pop(key, None) is None:
            return
        row_key = key[:2]
        left = self._per_node[row_key] - 1
        if left:
            self._per_node[row_key] = left
        else:
            del self._per_node[row_key]

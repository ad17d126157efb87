"""What viewers see, item by item: each is told what changed since the last that it was told.

An item is [table, key, value], and [table, key] when it is gone.  A change gives it the next number
and puts it last, so what a viewer lacks is always the end of one list, however long it did not
read: it gets the newest state, and never what was in between.  Items are encoded once for all.

A frame holds a bounded number of bytes; who lacks more gets more frames.  Who lacks something that
is gone and forgotten as well begins anew; not so what had been forgotten before it began, of which
it was told nothing.  Pure.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

FRAME_BYTES_MAX = 64 * 1024
VALUE_BYTES_MAX = 4 * 1024
GONE_MAX = 2_000

Key = int | str
Place = tuple[str, Key]  # table and key

_encode = msgspec.json.Encoder().encode


class _Item(NamedTuple):
    """An item as it is told; `value` is what its bytes were made of, None for one that is gone."""

    number: int
    value: object
    told: bytes


class Frame(NamedTuple):
    """What to tell a viewer, how far that brings it, and whether there is more at once.

    `begun` is the number of the last change when the viewer was told to begin.
    """

    data: bytes
    number: int
    has_more: bool
    begun: int


class Picture:
    """The items of all tables; `number` is that of the last change."""

    def __init__(self) -> None:
        self.number = 0
        self._items: dict[Place, _Item] = {}  # in the order of their last change
        self._keys: dict[str, set[Key]] = {}  # of the items that are there, by table
        self._gone: dict[Place, None] = {}
        self._forgotten = 0  # the number of the last item that is gone and was forgotten
        self._frames: dict[tuple[int, int], Frame] = {}

    def set_table(self, table: str, values: Mapping[int, object] | Mapping[str, object]) -> None:
        """Say all that a table holds now."""
        known = self._keys.get(table, set())
        for key in known - values.keys():
            self._put((table, key), None, _encode((table, key)))
        for key, value in values.items():
            self.put(table, key, value)
        self._keys[table] = set(values)

    def put(self, table: str, key: Key, value: object) -> None:
        """Say one item; a value whose bytes are too many is left as it was."""
        assert value is not None
        known = self._items.get((table, key))
        if known is not None and known.value == value:
            return
        told = _encode((table, key, value))
        if len(told) <= VALUE_BYTES_MAX:
            self._put((table, key), value, told)
            self._keys.setdefault(table, set()).add(key)

    def drop(self, table: str, key: Key) -> None:
        """Say that an item is gone; nothing happens when it is not there."""
        keys = self._keys.get(table, set())
        if key in keys:
            keys.discard(key)
            self._put((table, key), None, _encode((table, key)))

    def _put(self, place: Place, value: object, told: bytes) -> None:
        self._items.pop(place, None)
        self._gone.pop(place, None)
        self.number += 1
        self._items[place] = _Item(self.number, value, told)
        self._frames.clear()
        if value is None:
            self._gone[place] = None
            if len(self._gone) > GONE_MAX:
                oldest = next(iter(self._gone))
                del self._gone[oldest]
                self._forgotten = self._items.pop(oldest).number

    def after(self, number: int, begun: int = 0) -> Frame:
        """Return what a viewer lacks that was told everything up to `number` (0: nothing)."""
        knows = max(number, begun)
        frame = self._frames.get((number, knows))
        if frame is None:
            frame = self._frames[number, knows] = self._frame(number, knows)
        return frame

    def _frame(self, number: int, knows: int) -> Frame:
        """`knows`: of what was gone and forgotten by then it was told, or was told nothing."""
        is_start = number == 0 or knows < self._forgotten
        lacking = self._later_than(0 if is_start else number)
        room = FRAME_BYTES_MAX
        told: list[bytes] = []
        for item in reversed(lacking):
            room -= len(item.told) + 1
            if room < 0:
                break
            told.append(item.told)
            number = item.number
        has_more = len(told) < len(lacking)
        start = b'"start":true,' if is_start else b""
        data = b'{%b"items":[%b]}' % (start, b",".join(told))
        begun = self.number if is_start else knows
        return Frame(data, number if has_more else self.number, has_more, begun)

    def _later_than(self, number: int) -> list[_Item]:
        """The newest first."""
        found = []
        for item in reversed(self._items.values()):
            if item.number <= number:
                break
            found.append(item)
        return found

    def __len__(self) -> int:
        return len(self._items)

    def values(self, table: str) -> Iterable[object]:
        """Return what a table holds now."""
        return [self._items[table, key].value for key in self._keys.get(table, set())]

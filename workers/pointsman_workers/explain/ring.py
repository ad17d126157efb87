"""A ring of encoded records with their keys, bounded by bytes; the oldest leave first.

It has no index: a record is put for every job, and looked for when somebody asks.  So records that
share something are encoded together, when others come, or enough of them, or somebody looks.
"""

from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from typing import Generic, TypeVar

import msgspec

from pointsman_workers.explain.records import joined

# What a record costs beside its bytes: its part in its group, and a key that may be kept alive by
# nothing else.
ENTRY_BYTES = 300
GROUPS_MAX = 4_000_000
GROUP_MAX = 16

Key = TypeVar("Key")
Group = tuple[tuple[Key, ...], bytes, bytes]  # keys, their records in one array, what they share

_encode = msgspec.msgpack.Encoder().encode
_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class Ring(Generic[Key]):
    """The latest records that fit; a key may have several.

    A record is an array of its own, and what it shares with its neighbours, if anything, is another
    one, encoded already.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._groups: deque[Group[Key]] = deque(maxlen=GROUPS_MAX)
        self._size = 0  # bytes, with what records cost beside their own
        self._dropped_count = 0
        # The group that is being gathered.
        self._keys: list[Key] = []
        self._records: list[tuple[object, ...]] = []
        self._shared = b""

    def put(self, key: Key, record: tuple[object, ...], shared: bytes = b"") -> None:
        """Keep a record; its values do not change any more."""
        if shared is not self._shared:
            self._close()
            self._shared = shared
        self._keys.append(key)
        self._records.append(record)
        if not shared or len(self._keys) == GROUP_MAX:
            self._close()

    def _close(self) -> None:
        """Encode what was gathered, and let the oldest groups go as long as they do not all fit."""
        if not self._keys:
            return
        group = (tuple(self._keys), _encode(self._records), self._shared)
        before = self._groups[-1][2] if self._groups else b""
        self._size += _own_size(group) + (len(group[2]) if group[2] is not before else 0)
        self._groups.append(group)
        self._keys.clear()
        self._records.clear()
        while self._size > self._bytes_max:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        group = self._groups.popleft()
        self._size -= _own_size(group)
        if not self._groups or self._groups[0][2] is not group[2]:
            self._size -= len(group[2])
        self._dropped_count += len(group[0])

    def _all(self) -> deque[Group[Key]]:
        self._close()
        return self._groups

    def of(self, key: Key) -> list[bytes]:
        """The records of a key, oldest first."""
        groups = [group for group in self._all() if key in group[0]]
        return [data for known, data in chain(*map(_records_of, groups)) if known == key]

    def latest(self, count: int) -> list[tuple[Key, bytes]]:
        """At most so many records, the newest first."""
        newest = chain.from_iterable(_records_of(group)[::-1] for group in reversed(self._all()))
        return [*islice(newest, count)]

    def before_latest(self, count: int) -> bytes | None:
        """The record after which so many were put, None when it is not kept (or not there yet)."""
        if count < 0:
            return None
        for group in reversed(self._all()):
            if count < len(group[0]):
                return _records_of(group)[-1 - count][1]
            count -= len(group[0])
        return None

    def __iter__(self) -> Iterator[Key]:
        """The key of every record, oldest first."""
        return chain.from_iterable(keys for keys, *_ in self._all())

    @property
    def size(self) -> int:
        """Bytes that are held, with what records cost beside their own."""
        self._close()
        return self._size

    @property
    def dropped_count(self) -> int:
        """How many records have left."""
        self._close()
        return self._dropped_count

    def __len__(self) -> int:
        return sum(len(keys) for keys, *_ in self._all())


def _own_size(group: Group[Key]) -> int:
    return len(group[1]) + ENTRY_BYTES * len(group[0])


def _records_of(group: Group[Key]) -> list[tuple[Key, bytes]]:
    keys, records, shared = group
    own = map(bytes, _split(records))
    return [(key, joined(data, shared)) for key, data in zip(keys, own, strict=True)]

"""A ring of encoded records by key, bounded by bytes; the oldest leave first."""

from collections import deque
from collections.abc import Hashable, Iterator
from itertools import islice
from typing import Generic, TypeVar

# What a record costs beside its bytes: the bytes object, its place in the queue and in the index,
# and a key that may be kept alive by nothing else.
ENTRY_BYTES = 400
ENTRIES_MAX = 4_000_000

Key = TypeVar("Key", bound=Hashable)


class Ring(Generic[Key]):
    """The latest records that fit, by key; a key may have several."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._entries: deque[tuple[Key, bytes]] = deque(maxlen=ENTRIES_MAX)
        self._by_key: dict[Key, bytes | list[bytes]] = {}
        self.size = 0  # bytes, with what entries cost beside their own
        self.dropped_count = 0

    def put(self, key: Key, record: bytes) -> None:
        """Keep a record, and let the oldest go as long as they do not all fit."""
        self.size += len(record) + ENTRY_BYTES
        self._entries.append((key, record))
        key_count = len(self._by_key)
        known = self._by_key.setdefault(key, record)
        if len(self._by_key) == key_count:  # the key had one already
            if isinstance(known, bytes):
                self._by_key[key] = [known, record]
            else:
                known.append(record)
        while self.size > self._bytes_max:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        key, record = self._entries.popleft()
        self.size -= len(record) + ENTRY_BYTES
        self.dropped_count += 1
        known = self._by_key.pop(key)
        if isinstance(known, bytes):
            return
        known.remove(record)  # it is the first
        self._by_key[key] = known[0] if len(known) == 1 else known

    def of(self, key: Key) -> list[bytes]:
        """The records of a key, oldest first."""
        known = self._by_key.get(key, [])
        return [known] if isinstance(known, bytes) else list(known)

    def __iter__(self) -> Iterator[Key]:
        """Every key that has a record."""
        return iter(self._by_key)

    def latest(self, count: int) -> list[tuple[Key, bytes]]:
        """At most so many records, the newest first."""
        return list(islice(reversed(self._entries), count))

    def __len__(self) -> int:
        return len(self._entries)

"""A ring of encoded records with their keys, bounded by bytes; the oldest leave first.

It has no index: a record is put for every job, and looked for when somebody asks.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

from pointsman_workers.explain.records import joined

# What a record costs beside its bytes: the bytes object, its place in the queue, and a key that may
# be kept alive by nothing else.
ENTRY_BYTES = 300
ENTRIES_MAX = 4_000_000

Key = TypeVar("Key")


class Ring(Generic[Key]):
    """The latest records that fit; a key may have several.

    A record is bytes of its own and, if it has any, those that it shares with its neighbours.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._entries: deque[tuple[Key, bytes, bytes]] = deque(maxlen=ENTRIES_MAX)
        self._last_shared = b""
        self.size = 0  # bytes, with what entries cost beside their own
        self.dropped_count = 0

    def put(self, key: Key, record: bytes, shared: bytes = b"") -> None:
        """Keep a record, and let the oldest go as long as they do not all fit."""
        size = self.size + len(record) + ENTRY_BYTES
        if shared is not self._last_shared:
            self._last_shared = shared
            size += len(shared)
        self.size = size
        self._entries.append((key, record, shared))
        while self.size > self._bytes_max:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        entries = self._entries
        _, record, shared = entries.popleft()
        self.size -= len(record) + ENTRY_BYTES
        if not entries or entries[0][2] is not shared:
            self.size -= len(shared)
            if not entries:
                self._last_shared = b""
        self.dropped_count += 1

    def of(self, key: Key) -> list[bytes]:
        """The records of a key, oldest first."""
        return [joined(own, shared) for known, own, shared in self._entries if known == key]

    def latest(self, count: int) -> list[tuple[Key, bytes]]:
        """At most so many records, the newest first."""
        found = islice(reversed(self._entries), count)
        return [(key, joined(own, shared)) for key, own, shared in found]

    def before_latest(self, count: int) -> bytes | None:
        """The record after which so many were put, None when it is not kept (or not there yet)."""
        if not 0 <= count < len(self._entries):
            return None
        _, own, shared = self._entries[-1 - count]
        return joined(own, shared)

    def __iter__(self) -> Iterator[tuple[Key, bytes, bytes]]:
        """Every entry, oldest first: key, bytes of its own, bytes that it shares."""
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

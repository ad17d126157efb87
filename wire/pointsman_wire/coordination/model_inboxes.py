"""The model's inbox streams: entries, who has been given them and how often, dead letters."""

from collections import deque
from typing import Literal, NamedTuple

import msgspec

from pointsman_wire.coordination.model_store import Store
from pointsman_wire.coordination.terms import DEAD_LETTERS_MAX, INBOX_MS


class Entry(NamedTuple):
    """What a receiver is given: acknowledge it by its id."""

    id: str
    blob: bytes
    deliveries: int = 1  # this one included
    age_ms: int = 0  # since it was sent


class Letter(msgspec.Struct):
    """An entry of the stream."""

    number: int
    blob: bytes
    sent_ms: int
    deliveries: int = 0


class Stream(msgspec.Struct):
    """One shard's inbox, oldest first."""

    letters: dict[int, Letter]  # bounded by inbox_max
    next_number: int = 1


class Inboxes:
    """Send, receive, acknowledge, claim and bury, as `connection.RedisBacking` does them."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def _stream(self, instance: str, shard: int) -> Stream:
        name = self.store.keys.inbox(instance, shard)
        stream = self.store.get(name, Stream)
        if stream is None:
            stream = Stream({})
            self.store.put(name, stream, INBOX_MS)
        return stream

    def send(self, instance: str, shard: int, blob: bytes) -> Literal["sent", "full"]:
        """Append an entry, unless the inbox is full."""
        stream = self._stream(instance, shard)
        if len(stream.letters) >= self.store.terms.inbox_max:
            return "full"
        number = stream.next_number
        stream.next_number += 1
        stream.letters[number] = Letter(number, blob, self.store.now_ms)
        self.store.put(self.store.keys.inbox(instance, shard), stream, INBOX_MS)
        return "sent"

    def receive(self, instance: str, shard: int, count_max: int) -> list[Entry]:
        """Entries that nobody was given yet, oldest first."""
        letters = self._stream(instance, shard).letters.values()
        return self._given([letter for letter in letters if not letter.deliveries][:count_max])

    def claim(self, instance: str, shard: int, count_max: int) -> list[Entry]:
        """Entries that were given to a receiver who did not acknowledge them."""
        letters = self._stream(instance, shard).letters.values()
        return self._given([letter for letter in letters if letter.deliveries][:count_max])

    def _given(self, letters: list[Letter]) -> list[Entry]:
        for letter in letters:
            letter.deliveries += 1
        now_ms = self.store.now_ms
        return [
            Entry(f"{x.number}-0", x.blob, x.deliveries, max(0, now_ms - x.sent_ms))
            for x in letters
        ]

    def acknowledge(self, instance: str, shard: int, ids: list[str]) -> None:
        """Remove entries that are absorbed."""
        letters = self._stream(instance, shard).letters
        for entry_id in ids:
            letters.pop(int(entry_id.partition("-")[0]), None)

    def bury(self, instance: str, shard: int, entry: Entry, why: str) -> None:
        """Move an entry to the dead letters, of which the newest are kept."""
        name = self.store.keys.dead_letters(instance, shard)
        dead = self.store.get(name, deque) or deque(maxlen=DEAD_LETTERS_MAX)
        dead.append((why, entry.blob))
        self.store.put(name, dead, INBOX_MS)
        self.acknowledge(instance, shard, [entry.id])

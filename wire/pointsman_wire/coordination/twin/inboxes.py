"""The model's inbox streams: entries, who has been given them and how often, dead letters."""

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from pointsman_wire.coordination.inbox_requests import (
    Absorbed,
    Acknowledge,
    Bury,
    Entry,
    Send,
    Sent,
)
from pointsman_wire.coordination.requests import Answer, Request
from pointsman_wire.coordination.terms import DEAD_LETTERS_MAX, INBOX_MS
from pointsman_wire.coordination.twin.store import Store


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


def _stream(store: Store, name: str) -> Stream:
    stream = store.get(name, Stream)
    if stream is None:
        stream = Stream({})
        store.put(name, stream, INBOX_MS)
    return stream


def send(store: Store, request: Send) -> Sent:
    """Append an entry, unless the inbox is full."""
    name = store.keys.inbox(request.instance, request.shard)
    stream = _stream(store, name)
    if len(stream.letters) >= store.terms.inbox_max:
        return Sent(number=request.number, outcome="full")
    number = stream.next_number
    stream.next_number += 1
    stream.letters[number] = Letter(number, request.blob, store.now_ms)
    store.put(name, stream, INBOX_MS)
    return Sent(number=request.number, outcome="sent")


def acknowledge(store: Store, request: Acknowledge) -> Absorbed:
    """Remove entries that are absorbed."""
    letters = _stream(store, store.keys.inbox(request.instance, request.shard)).letters
    for entry_id in request.ids:
        letters.pop(_letter_number(entry_id), None)
    return Absorbed(number=request.number, outcome="done")


def bury(store: Store, request: Bury) -> Absorbed:
    """Move an entry to the dead letters, of which the newest are kept."""
    letters = _stream(store, store.keys.inbox(request.instance, request.shard)).letters
    letter = letters.pop(_letter_number(request.id), None)
    if letter is None:
        return Absorbed(number=request.number, outcome="missing")
    name = store.keys.dead_letters(request.instance, request.shard)
    dead = store.get(name, deque) or deque(maxlen=DEAD_LETTERS_MAX)
    dead.append((request.why, letter.blob))
    store.put(name, dead, INBOX_MS)
    return Absorbed(number=request.number, outcome="done")


def receive(store: Store, inbox: str, count_max: int) -> list[Entry]:
    """Entries that nobody was given yet, oldest first."""
    letters = _stream(store, inbox).letters.values()
    return _given(store, [letter for letter in letters if not letter.deliveries][:count_max])


def claim(store: Store, inbox: str, after: int, count_max: int) -> list[Entry]:
    """Entries from that number on that were given out and not acknowledged."""
    letters = _stream(store, inbox).letters.values()
    pending = [x for x in letters if x.deliveries and x.number >= after]
    return _given(store, pending[:count_max])


def _given(store: Store, letters: list[Letter]) -> list[Entry]:
    for letter in letters:
        letter.deliveries += 1
    return [
        Entry(f"{x.number}-0", x.blob, x.deliveries, max(0, store.now_ms - x.sent_ms))
        for x in letters
    ]


def _letter_number(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


INBOX_SCRIPTS: dict[type[Request], Callable[[Store, Any], Answer]] = {
    Send: send,
    Acknowledge: acknowledge,
    Bury: bury,
}

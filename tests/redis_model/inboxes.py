"""The model's inbox streams: entries, who has been given them and how often, dead letters."""

from collections.abc import Callable
from typing import Any

import msgspec
from redis_model.store import Store

from pointsman_wire.coordination.inbox_requests import (
    LETTER_HEAD_BYTES,
    Absorbed,
    Acknowledge,
    Bury,
    DeadFound,
    DeadLetter,
    Discard,
    Entry,
    ReadDead,
    Redrive,
    Send,
    Sent,
    Settled,
)
from pointsman_wire.coordination.requests import Answer, Request
from pointsman_wire.coordination.terms import DEAD_LETTERS_MAX, INBOX_MS


class Letter(msgspec.Struct):
    """An entry of the stream."""

    number: int
    blob: bytes
    sent_ms: int
    deliveries: int = 0
    is_redriven: bool = False
    why: str = ""  # of a dead one


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


def _append(store: Store, name: str, blob: bytes, *, why: str = "", again: bool = False) -> Stream:
    stream = _stream(store, name)
    number = stream.next_number
    stream.next_number += 1
    letter = Letter(number, blob, store.now_ms, is_redriven=again, why=why)
    stream.letters[number] = letter
    store.put(name, stream, INBOX_MS)
    return stream


def send(store: Store, request: Send) -> Sent:
    """Append an entry, unless the inbox is full."""
    name = store.keys.inbox(request.instance, request.shard)
    length = len(_stream(store, name).letters)
    if length >= store.terms.inbox_max:
        return Sent(number=request.number, outcome="full", length=length)
    _append(store, name, request.blob)
    return Sent(number=request.number, outcome="sent", length=length + 1)


def acknowledge(store: Store, request: Acknowledge) -> Absorbed:
    """Remove entries that are absorbed."""
    letters = _stream(store, store.keys.inbox(request.instance, request.shard)).letters
    for entry_id in request.ids:
        letters.pop(_letter_number(entry_id), None)
    return Absorbed(number=request.number, outcome="done", length=len(letters))


def bury(store: Store, request: Bury) -> Absorbed:
    """Move an entry to the dead letters, of which the newest are kept."""
    letters = _stream(store, store.keys.inbox(request.instance, request.shard)).letters
    letter = letters.pop(_letter_number(request.id), None)
    if letter is None:
        return Absorbed(number=request.number, outcome="missing")
    name = store.keys.dead_letters(request.instance, request.shard)
    dead = _append(store, name, letter.blob, why=request.why).letters
    while len(dead) > DEAD_LETTERS_MAX:
        del dead[next(iter(dead))]
    return Absorbed(number=request.number, outcome="done")


def read_dead(store: Store, request: ReadDead) -> DeadFound:
    """Look at dead letters, the newest first."""
    letters = _stream(store, store.keys.dead_letters(request.instance, request.shard)).letters
    if request.id:
        chosen = [letters[n] for n in [_letter_number(request.id)] if n in letters]
    else:
        chosen = list(reversed(letters.values()))[: request.count_max]
    found = tuple(
        DeadLetter(
            id=f"{letter.number}-0",
            why=letter.why,
            size=len(letter.blob),
            blob=letter.blob if request.id else letter.blob[:LETTER_HEAD_BYTES],
            age_ms=max(0, store.now_ms - letter.sent_ms),
        )
        for letter in chosen
    )
    return DeadFound(number=request.number, outcome="done", letters=found, total=len(letters))


def redrive(store: Store, request: Redrive) -> Settled:
    """Move dead letters to the end of the inbox, while it has room."""
    name = store.keys.inbox(request.instance, request.shard)
    dead = _stream(store, store.keys.dead_letters(request.instance, request.shard)).letters
    count = 0
    for number in map(_letter_number, request.ids):
        if number not in dead:
            continue
        if len(_stream(store, name).letters) >= store.terms.inbox_max:
            return Settled(number=request.number, outcome="full", count=count)
        _append(store, name, dead.pop(number).blob, again=True)
        count += 1
    return Settled(number=request.number, outcome="done", count=count)


def discard(store: Store, request: Discard) -> Settled:
    """Throw dead letters away."""
    dead = _stream(store, store.keys.dead_letters(request.instance, request.shard)).letters
    numbers = dict.fromkeys(map(_letter_number, request.ids))
    gone = [dead.pop(number) for number in numbers if number in dead]
    return Settled(number=request.number, outcome="done", count=len(gone))


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
        Entry(
            f"{x.number}-0",
            x.blob,
            x.deliveries,
            max(0, store.now_ms - x.sent_ms),
            is_redriven=x.is_redriven,
        )
        for x in letters
    ]


def _letter_number(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


INBOX_SCRIPTS: dict[type[Request], Callable[[Store, Any], Answer]] = {
    Send: send,
    Acknowledge: acknowledge,
    Bury: bury,
    ReadDead: read_dead,
    Redrive: redrive,
    Discard: discard,
}

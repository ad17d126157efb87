"""Requests about inboxes as calls of scripts, and what comes back, judged like network input."""

from typing import Any

from pointsman_wire.coordination.inbox_requests import (
    GROUP,
    LETTER_HEAD_BYTES,
    LETTERS_PER_REQUEST_MAX,
    Absorbed,
    Acknowledge,
    Bury,
    DeadFound,
    DeadLetter,
    Discard,
    ReadDead,
    Redrive,
    Send,
    Sent,
    Settled,
)
from pointsman_wire.coordination.scripting.call import Call, Site, Value
from pointsman_wire.coordination.terms import DEAD_LETTERS_MAX, INBOX_MS


def send(request: Send, site: Site) -> Call:
    """The call that a Send is."""
    keys = [site.keys.inbox(request.instance, request.shard)]
    return Call("send", keys, [site.terms.inbox_max, INBOX_MS, request.blob])


def acknowledge(request: Acknowledge, site: Site) -> Call:
    """The call that an Acknowledge is."""
    keys = [site.keys.inbox(request.instance, request.shard)]
    return Call("acknowledge", keys, [GROUP, *request.ids])


def bury(request: Bury, site: Site) -> Call:
    """The call that a Bury is."""
    keys = [site.keys.inbox(request.instance, request.shard)]
    keys.append(site.keys.dead_letters(request.instance, request.shard))
    values: list[Value] = [GROUP, request.id, request.why, DEAD_LETTERS_MAX, INBOX_MS]
    return Call("bury", keys, values)


def read_dead(request: ReadDead, site: Site) -> Call:
    """The call that a ReadDead is."""
    assert 0 < request.count_max <= LETTERS_PER_REQUEST_MAX
    keys = [site.keys.dead_letters(request.instance, request.shard)]
    return Call("dead_read", keys, [request.id, request.count_max, LETTER_HEAD_BYTES])


def redrive(request: Redrive, site: Site) -> Call:
    """The call that a Redrive is."""
    assert len(request.ids) <= LETTERS_PER_REQUEST_MAX
    keys = [site.keys.inbox(request.instance, request.shard)]
    keys.append(site.keys.dead_letters(request.instance, request.shard))
    return Call("dead_redrive", keys, [site.terms.inbox_max, INBOX_MS, *request.ids])


def discard(request: Discard, site: Site) -> Call:
    """The call that a Discard is."""
    assert len(request.ids) <= LETTERS_PER_REQUEST_MAX
    keys = [site.keys.dead_letters(request.instance, request.shard)]
    return Call("dead_discard", keys, [*request.ids])


def sent(request: Send, reply: list[Any]) -> Sent:
    """What a Send is answered."""
    outcome: Any = _outcome(reply, "sent", "full")
    return Sent(number=request.number, outcome=outcome, length=int(reply[1]))


def absorbed(request: Acknowledge | Bury, reply: list[Any]) -> Absorbed:
    """What an Acknowledge or Bury is answered."""
    outcome: Any = _outcome(reply, "done", "missing")
    return Absorbed(number=request.number, outcome=outcome, length=int(reply[1]))


def dead_found(request: ReadDead, reply: list[Any]) -> DeadFound:
    """What a ReadDead is answered."""
    outcome: Any = _outcome(reply, "done")
    now_ms = int(reply[2])
    letters = tuple(
        DeadLetter(
            id=entry_id.decode(),
            why=why.decode(errors="replace"),
            size=int(size),
            blob=bytes(blob),
            age_ms=max(0, now_ms - int(entry_id.partition(b"-")[0])),
        )
        for entry_id, why, size, blob in reply[3:]
    )
    return DeadFound(number=request.number, outcome=outcome, letters=letters, total=int(reply[1]))


def settled(request: Redrive | Discard, reply: list[Any]) -> Settled:
    """What a Redrive or Discard is answered."""
    outcome: Any = _outcome(reply, "done", "full")
    return Settled(number=request.number, outcome=outcome, count=int(reply[1]))


def _outcome(reply: list[Any], *allowed: str) -> str:
    text: str = reply[0].decode()
    if text not in allowed:
        raise ValueError(f"{text!r} is none of {', '.join(allowed)}")
    return text

"""Replies of scripts as answers; wary of what comes back.

Values from Redis are judged like network input: a reply of another form than the scripts make is a
`BadReply`, whoever wrote it.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast, get_args

import msgspec

from pointsman_wire.coordination.fleet_requests import (
    FleetAsk,
    FleetLeave,
    FleetPair,
    FleetRedeem,
    FleetSettle,
    FleetTell,
)
from pointsman_wire.coordination.inbox_requests import (
    Acknowledge,
    Bury,
    Discard,
    ReadDead,
    Redrive,
    Send,
)
from pointsman_wire.coordination.keys import unpacked
from pointsman_wire.coordination.requests import (
    Answer,
    Bind,
    Bound,
    BucketState,
    End,
    Ended,
    Freeze,
    Kept,
    KeptFound,
    Lookup,
    Move,
    Moved,
    Owner,
    Release,
    Renew,
    Renewed,
    Republish,
    Republished,
    Request,
    RequestKey,
    SessionFound,
    SessionNotes,
    SessionRead,
    SessionWrite,
    SessionWritten,
    State,
    Thaw,
    Touch,
    Touched,
)
from pointsman_wire.coordination.scripting import fleet, inboxes

STATES = frozenset(get_args(State))
BUCKET_STATES = frozenset(get_args(BucketState))


_RETURNED = frozenset({list})
_UNFIT = (ValueError, TypeError, IndexError, AttributeError, msgspec.DecodeError)


class BadReply(ValueError):
    """A reply that none of the scripts makes."""


def decode(request: Request, reply: object) -> Answer:
    """The answer that a reply is.  Raises BadReply."""
    try:
        if not isinstance(reply, list):
            raise TypeError("not a list")
        return REPLIES[type(request)](request, reply)
    except _UNFIT as error:
        raise BadReply(
            f"Redis answered {type(request).__name__} with {str(reply)[:200]!r}: {error}"
        ) from error


def decode_all(requests: Sequence[Request], replies: list[object]) -> list[Answer] | None:
    """The answers that replies are, where all are what scripts return; else None: look at each."""
    if not _RETURNED.issuperset(map(type, replies)):
        return None
    try:
        return [
            REPLIES[type(request)](request, cast(list[Any], reply))
            for request, reply in zip(requests, replies, strict=True)
        ]
    except _UNFIT:
        return None


def _text(value: Any, allowed: frozenset[str] | None = None) -> str:
    text: str = value.decode()
    if allowed is not None and text not in allowed:
        raise BadReply(f"{text!r} is none of {', '.join(sorted(allowed))}")
    return text


def _outcome(reply: list[Any], allowed: frozenset[str]) -> dict[str, Any]:
    """What every reply of a script about a bucket begins with."""
    return {
        "outcome": _text(reply[0], allowed),
        "generation": _text(reply[1]),
        "counter": int(reply[2]),
    }


def _owner(value: bytes) -> Owner:
    instance, uid, shard = value.decode().split("/")
    return Owner(instance, uid, int(shard))


BOUND = frozenset({"mine", "taken_over", "follows", "ended", "conflict", "lapsed"})
UNBOUND = frozenset({"frozen", "missing"})


def _bound(request: Bind | Lookup, reply: list[Any]) -> Bound:
    if reply[0] == b"won":  # nearly always
        assert isinstance(request, Bind), "a Lookup wins nothing"
        return Bound(
            number=request.number,
            outcome="won",
            generation=reply[1].decode(),
            counter=int(reply[2]),
            job_id=request.job_id,
            owner=request.owner,
            fence=request.fence,
            body=request.body,
        )
    head = _outcome(reply, BOUND | UNBOUND)
    if head["outcome"] in UNBOUND:
        return Bound(number=request.number, **head)
    return Bound(
        number=request.number,
        job_id=_text(reply[3]),
        owner=_owner(reply[4]),
        fence=int(reply[5]),
        state=cast(State, _text(reply[6], STATES)),
        attempt=int(reply[7]),
        ok=reply[8] == b"1",
        body=int(reply[9]),
        keep=_blob(reply[10]),
        result=_blob(reply[11]),
        **head,
    )


def _blob(value: Any) -> bytes | None:
    if value is not None and not isinstance(value, bytes):
        raise BadReply(f"{value!r} is not a blob")
    return value


ENDED = frozenset({"done", "fenced", "missing"})
MOVED = ENDED | {"refused"}
DONE = frozenset({"done"})


def _ended(request: Request, reply: list[Any]) -> Ended:
    if reply[0] == b"done":  # nearly always
        number, generation = request.number, reply[1].decode()
        return Ended(number=number, outcome="done", generation=generation, counter=int(reply[2]))
    return Ended(number=request.number, **_outcome(reply, ENDED))


def _moved(request: Move, reply: list[Any]) -> Moved:
    state = cast(State, _text(reply[3], STATES))
    return Moved(number=request.number, state=state, **_outcome(reply, MOVED))


def _renewed(request: Renew, reply: list[Any]) -> Renewed:
    keys = [held.key for held in request.held]
    return Renewed(
        number=request.number,
        lost=_marked(keys, reply[3], "l"),
        missing=_marked(keys, reply[3], "m"),
        **_outcome(reply, DONE),
    )


def _marked(keys: list[RequestKey], letters: bytes, wanted: str) -> tuple[RequestKey, ...]:
    pairs = zip(keys, letters.decode(), strict=True)
    return tuple(key for key, letter in pairs if letter == wanted)


def _touched(request: Touch | Freeze, reply: list[Any]) -> Touched:
    state = cast(BucketState, _text(reply[3], BUCKET_STATES))
    return Touched(number=request.number, state=state, **_outcome(reply, DONE))


def _thawed(request: Thaw, reply: list[Any]) -> Touched:
    state = cast(BucketState, _text(reply[3], BUCKET_STATES))
    waits_for = tuple(_text(member) for member in reply[4])
    head = _outcome(reply, DONE)
    return Touched(number=request.number, state=state, waits_for=waits_for, **head)


def _republished(request: Republish, reply: list[Any]) -> Republished:
    head = _outcome(reply, frozenset({"done", "behind"}))
    if head["outcome"] == "behind":
        return Republished(number=request.number, **head)
    lost = _marked([binding.key for binding in request.bindings], reply[3], "l")
    return Republished(number=request.number, lost=lost, **head)


def _kept_found(request: Kept, reply: list[Any]) -> KeptFound:
    keys = tuple(unpacked(member) for member in reply[3])
    return KeptFound(
        number=request.number, keys=keys, **_outcome(reply, frozenset({"done", "frozen"}))
    )


def _session_found(request: SessionRead, reply: list[Any]) -> SessionFound:
    if _text(reply[0], frozenset({"found", "missing"})) == "missing":
        return SessionFound(number=request.number, outcome="missing")
    notes = msgspec.msgpack.decode(reply[1], type=SessionNotes)
    if reply[2] != b"1":
        notes = msgspec.structs.replace(notes, owner=None)
    return SessionFound(number=request.number, outcome="found", notes=notes)


def _session_written(request: SessionWrite, reply: list[Any]) -> SessionWritten:
    _text(reply[0], DONE)
    return SessionWritten(number=request.number, outcome="done")


REPLIES: dict[type[Request], Callable[[Any, list[Any]], Answer]] = {
    Bind: _bound,
    Lookup: _bound,
    End: _ended,
    Release: _ended,
    Renew: _renewed,
    Move: _moved,
    Touch: _touched,
    Freeze: _touched,
    Thaw: _thawed,
    Republish: _republished,
    Kept: _kept_found,
    SessionRead: _session_found,
    SessionWrite: _session_written,
    Send: inboxes.sent,
    Acknowledge: inboxes.absorbed,
    Bury: inboxes.absorbed,
    ReadDead: inboxes.dead_found,
    Redrive: inboxes.settled,
    Discard: inboxes.settled,
    FleetAsk: fleet.heard,
    FleetTell: fleet.told,
    FleetSettle: fleet.settled,
    FleetLeave: fleet.left,
    FleetPair: fleet.paired,
    FleetRedeem: fleet.redeemed,
}

"""Requests as calls of scripts; pure."""

from collections.abc import Callable
from typing import Any

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
from pointsman_wire.coordination.keys import Keys, bucket_of, packed
from pointsman_wire.coordination.requests import (
    BINDINGS_PER_REQUEST_MAX,
    FENCE_MAX,
    NOTHING_SEEN,
    Bind,
    Binding,
    End,
    Freeze,
    Kept,
    Lookup,
    Move,
    Owner,
    Release,
    Renew,
    Republish,
    Request,
    Seen,
    SessionRead,
    SessionWrite,
    Thaw,
    Touch,
)
from pointsman_wire.coordination.scripting import fleet, inboxes
from pointsman_wire.coordination.scripting.call import Call, Site, Value
from pointsman_wire.coordination.terms import SESSION_MS, SESSION_OWNER_MS


def encode(request: Request, site: Site) -> Call:
    """The call that a request is."""
    return CALLS[type(request)](request, site)


def first_key(request: Request, keys: Keys) -> str:
    """The name that decides on which server of a Cluster the request is answered."""
    match request:
        case SessionRead(key=session) | SessionWrite(key=session):
            return keys.session(session)
        case Send() | Acknowledge() | Bury() | ReadDead() | Redrive() | Discard():
            return keys.inbox(request.instance, request.shard)
        case FleetAsk() | FleetTell() | FleetSettle() | FleetLeave() | FleetPair() | FleetRedeem():
            return keys.settings()
        case Bind() | Lookup() | End() | Release() | Move():
            return keys.bucket(bucket_of(request.key))
        case Renew() | Kept() | Touch() | Freeze() | Thaw() | Republish():
            return keys.bucket(request.bucket)
        case _:
            raise TypeError(request)


def owner_text(owner: Owner) -> str:
    """An owner as it stands in a binding."""
    return f"{owner.instance}/{owner.uid}/{owner.shard}"


def _asker(owner: Owner, site: Site, seen: Seen) -> list[Value]:
    return [owner.member, site.reign, seen.generation, seen.counter]


def _fence(fence: int) -> int:
    assert 0 <= fence <= FENCE_MAX, f"fence {fence} does not fit into a Lua number"
    return fence


def _bind(request: Bind, site: Site) -> Call:
    names = site.keys.request(request.key)
    keys = [names.bucket, names.binding, names.kept]
    values = _asker(request.owner, site, request.seen)
    values += [owner_text(request.owner), request.job_id, request.body, _fence(request.fence)]
    values += [site.terms.lease_ms, site.terms.binding_ms, names.packed, request.keep or ""]
    return Call("bind", keys, values)


def _lookup(request: Lookup, site: Site) -> Call:
    names = site.keys.request(request.key)
    keys = [names.bucket, names.binding]
    values = _asker(request.owner, site, request.seen)
    return Call("lookup", keys, [*values, owner_text(request.owner), site.terms.lease_ms])


def _end(request: End, site: Site) -> Call:
    names = site.keys.request(request.key)
    keys = [names.bucket, names.binding, names.kept]
    values = _asker(request.owner, site, request.seen)
    values += [owner_text(request.owner), request.fence]
    values += ["RELEASED" if request.released else "FINISHED", int(request.ok)]
    values += [milliseconds(request.keep_s), int(request.result is not None)]
    return Call("end", keys, [*values, request.result or ""])


def milliseconds(seconds: float) -> int:
    """A life in Redis, where none is no life."""
    return max(1, int(seconds * 1000))


def _release(request: Release, site: Site) -> Call:
    names = site.keys.request(request.key)
    keys = [names.bucket, names.binding, names.kept]
    values = _asker(request.owner, site, request.seen)
    return Call("release", keys, [*values, owner_text(request.owner), request.fence])


def _renew(request: Renew, site: Site) -> Call:
    assert len(request.held) <= BINDINGS_PER_REQUEST_MAX
    keys = [site.keys.bucket(request.bucket), site.keys.kept(request.bucket)]
    keys += [site.keys.binding(held.key) for held in request.held]
    values = _asker(request.owner, site, request.seen)
    age_ms = site.terms.lease_ms if request.lapses else 0
    values += [owner_text(request.owner), site.terms.binding_ms, age_ms]
    return Call("renew", keys, [*values, *(held.fence for held in request.held)])


def _move(request: Move, site: Site) -> Call:
    names = site.keys.request(request.key)
    keys = [names.bucket, names.binding]
    values = _asker(request.owner, site, request.seen)
    values += [owner_text(request.owner), request.fence, request.attempt, request.to]
    return Call("move", keys, values)


def _touch(request: Touch, site: Site) -> Call:
    values = _asker(request.owner, site, request.seen)
    return Call("touch", [site.keys.bucket(request.bucket)], values)


def _freeze(request: Freeze, site: Site) -> Call:
    values = _asker(request.owner, site, NOTHING_SEEN)
    values += [f"{site.reign}:{request.proposal}", request.against]
    return Call("freeze", [site.keys.bucket(request.bucket)], values)


def _thaw(request: Thaw, site: Site) -> Call:
    values = _asker(request.owner, site, NOTHING_SEEN)
    values += [request.generation, int(request.overdue), *request.members]
    return Call("thaw", [site.keys.bucket(request.bucket)], values)


def _republish(request: Republish, site: Site) -> Call:
    assert len(request.bindings) <= BINDINGS_PER_REQUEST_MAX
    keys = [site.keys.bucket(request.bucket), site.keys.kept(request.bucket)]
    keys += [site.keys.binding(binding.key) for binding in request.bindings]
    values = _asker(request.owner, site, NOTHING_SEEN)
    values += [owner_text(request.owner), request.generation, int(request.last)]
    values.append(site.terms.binding_ms)
    for binding in request.bindings:
        values += _binding(binding)
    return Call("republish", keys, values)


def _binding(binding: Binding) -> list[Value]:
    values: list[Value] = [packed(binding.key), binding.job_id, binding.body]
    values += [_fence(binding.fence), binding.state, binding.attempt, int(binding.ok)]
    values += [milliseconds(binding.keep_s), int(binding.keep is not None), binding.keep or ""]
    return [*values, int(binding.result is not None), binding.result or ""]


def _kept(request: Kept, site: Site) -> Call:
    keys = [site.keys.bucket(request.bucket), site.keys.kept(request.bucket)]
    values = _asker(request.owner, site, request.seen)
    values += [site.terms.lease_ms, site.terms.binding_ms, request.count_max]
    return Call("kept", keys, values)


def _session_read(request: SessionRead, site: Site) -> Call:
    return Call("session_read", [site.keys.session(request.key)], [SESSION_OWNER_MS])


def _session_write(request: SessionWrite, site: Site) -> Call:
    notes = msgspec.msgpack.encode(request.notes)
    return Call("session_write", [site.keys.session(request.key)], [notes, SESSION_MS])


CALLS: dict[type[Request], Callable[[Any, Site], Call]] = {
    Bind: _bind,
    Lookup: _lookup,
    End: _end,
    Release: _release,
    Renew: _renew,
    Move: _move,
    Touch: _touch,
    Freeze: _freeze,
    Thaw: _thaw,
    Republish: _republish,
    Kept: _kept,
    SessionRead: _session_read,
    SessionWrite: _session_write,
    Send: inboxes.send,
    Acknowledge: inboxes.acknowledge,
    Bury: inboxes.bury,
    ReadDead: inboxes.read_dead,
    Redrive: inboxes.redrive,
    Discard: inboxes.discard,
    FleetAsk: fleet.ask,
    FleetTell: fleet.tell,
    FleetSettle: fleet.settle,
    FleetLeave: fleet.leave,
    FleetPair: fleet.pair,
    FleetRedeem: fleet.redeem,
}

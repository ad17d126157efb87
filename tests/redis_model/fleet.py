"""The model's scripts about the fleet: who lives, what they show, which settings rule."""

from collections.abc import Callable
from typing import Any

import msgspec
from redis_model.store import Store

from pointsman_wire.coordination.fleet_requests import (
    CODE_MS,
    LEADER_MS,
    NAMED_MS,
    NAMES_MAX,
    NODES_MS,
    SETTINGS_MS,
    USED_CODE_MS,
    WRONG_CODES_MAX,
    WRONG_CODES_OF_PLACE_MAX,
    FleetAsk,
    FleetHeard,
    FleetLeave,
    FleetLeft,
    FleetPair,
    FleetPaired,
    FleetRedeem,
    FleetRedeemed,
    FleetSettle,
    FleetSettled,
    FleetTell,
    FleetTold,
)
from pointsman_wire.coordination.keys import digest_of
from pointsman_wire.coordination.requests import Answer, Request


class PresenceRow(msgspec.Struct):
    """Who has a name ("": nobody has it any more), and what it told."""

    uid: str
    blob: bytes | None = None


class SettingsRow(msgspec.Struct):
    """The settings that rule, and whose they are."""

    version: int
    by: str
    blob: bytes


class CodeRow(msgspec.Struct):
    """A pairing code: who issued it, for which node, and whose it is."""

    by: str
    node: bytes
    wrong: int  # codes that had been wrong when it was issued
    session: str = ""


def fleet_ask(store: Store, request: FleetAsk) -> FleetHeard:
    """See `fleet_requests.FleetAsk`."""
    keys = store.keys
    own = store.get(keys.presence(request.name), PresenceRow)
    if own is None or not own.uid:
        own = PresenceRow(request.uid, own.blob if own is not None else None)
        store.put(keys.presence(request.name), own, request.presence_ms)
    if own.uid == request.uid:
        _stay(store, request, own)
    settings = store.get(keys.settings(), SettingsRow)
    if settings is not None:
        store.put(keys.settings(), settings, SETTINGS_MS)
    names: dict[str, int] = store.get(keys.names(), dict) or {}
    found = {name: store.get(keys.presence(name), PresenceRow) for name in request.known}
    found[request.name] = own
    blobs = {name: row.blob for name, row in found.items() if row is not None}
    is_wanted = settings is not None and settings.version != request.settings_version
    parts = {part: _nodes(store, part.instance).get(part.field) for part in request.parts}
    return FleetHeard(
        number=request.number,
        outcome="done",
        holder=own.uid,
        leader=store.get(keys.leader(), str) or "",
        own_part_count=len(_nodes(store, request.name)),
        names=tuple(sorted(names, key=lambda name: (names[name], name))),
        presences={name: blob for name, blob in blobs.items() if blob is not None},
        parts={part: blob for part, blob in parts.items() if blob is not None},
        settings_version=settings.version if settings is not None else 0,
        settings_by=settings.by if settings is not None else "",
        settings=settings.blob if settings is not None and is_wanted else b"",
    )


def _stay(store: Store, request: FleetAsk, own: PresenceRow) -> None:
    """Renew what is the asker's, and lead if nobody does."""
    keys = store.keys
    store.put(keys.presence(request.name), own, request.presence_ms)
    names: dict[str, int] = store.get(keys.names(), dict) or {}
    names[request.name] = store.now_ms
    newest = sorted(names.items(), key=lambda item: item[1])[-NAMES_MAX:]
    kept = {name: at_ms for name, at_ms in newest if at_ms > store.now_ms - NAMED_MS}
    store.put(keys.names(), kept, NAMED_MS)
    if (store.get(keys.leader(), str) or request.name) == request.name:
        store.put(keys.leader(), request.name, LEADER_MS)


def _nodes(store: Store, name: str) -> dict[str, bytes]:
    return store.get(store.keys.nodes(name), dict) or {}


def fleet_tell(store: Store, request: FleetTell) -> FleetTold:
    """See `fleet_requests.FleetTell`."""
    keys = store.keys
    own = store.get(keys.presence(request.name), PresenceRow)
    if own is not None and own.uid not in ("", request.uid):
        return FleetTold(number=request.number, outcome="taken")
    row = PresenceRow(request.uid, request.presence)
    store.put(keys.presence(request.name), row, request.presence_ms)
    nodes = {**_nodes(store, request.name), **dict(request.parts)}
    if nodes:
        store.put(keys.nodes(request.name), nodes, NODES_MS)
    return FleetTold(number=request.number, outcome="done")


def fleet_settle(store: Store, request: FleetSettle) -> FleetSettled:
    """See `fleet_requests.FleetSettle`."""
    keys = store.keys
    settings = store.get(keys.settings(), SettingsRow)
    if settings is not None and settings.version >= request.version:
        return FleetSettled(number=request.number, outcome="behind")
    row = SettingsRow(request.version, request.name, request.settings)
    store.put(keys.settings(), row, SETTINGS_MS)
    store.put(keys.leader(), request.name, LEADER_MS)
    return FleetSettled(number=request.number, outcome="done")


def fleet_leave(store: Store, request: FleetLeave) -> FleetLeft:
    """See `fleet_requests.FleetLeave`."""
    keys = store.keys
    own = store.get(keys.presence(request.name), PresenceRow)
    if own is not None and own.uid not in ("", request.uid):
        return FleetLeft(number=request.number, outcome="taken")
    store.put(keys.presence(request.name), PresenceRow("", request.presence), request.presence_ms)
    store.drop(keys.nodes(request.name))
    names: dict[str, int] = store.get(keys.names(), dict) or {}
    if request.name in names:
        left = {name: at_ms for name, at_ms in names.items() if name != request.name}
        store.put(keys.names(), left, NAMED_MS)
    if store.get(keys.leader(), str) == request.name:
        store.drop(keys.leader())
    return FleetLeft(number=request.number, outcome="done")


def fleet_pair(store: Store, request: FleetPair) -> FleetPaired:
    """See `fleet_requests.FleetPair`."""
    name = store.keys.pairing(request.code)
    if store.get(name, CodeRow) is not None:
        return FleetPaired(number=request.number, outcome="taken")
    wrong = store.get(store.keys.wrong_codes(), int) or 0
    store.put(name, CodeRow(request.name, request.node, wrong), CODE_MS)
    return FleetPaired(number=request.number, outcome="done")


def fleet_redeem(store: Store, request: FleetRedeem) -> FleetRedeemed:
    """See `fleet_requests.FleetRedeem`."""
    name, session = store.keys.pairing(request.code), digest_of(request.session)
    code = store.get(name, CodeRow)
    wrong = store.get(store.keys.wrong_codes(), int) or 0
    of_place = store.keys.wrong_codes_of(request.place)
    here = store.get(of_place, int) or 0
    is_open = (
        code is not None
        and not code.session
        and here < WRONG_CODES_OF_PLACE_MAX
        and wrong - code.wrong < WRONG_CODES_MAX
    )
    if code is not None and (is_open or code.session == session):
        code.session = session
        store.put(name, code, USED_CODE_MS)
        return FleetRedeemed(number=request.number, outcome="paired", by=code.by, node=code.node)
    if request.is_guess:
        store.put(store.keys.wrong_codes(), wrong + 1, USED_CODE_MS)
        store.put(of_place, here + 1, CODE_MS)
    return FleetRedeemed(number=request.number, outcome="wrong")


FLEET_SCRIPTS: dict[type[Request], Callable[[Store, Any], Answer]] = {
    FleetAsk: fleet_ask,
    FleetTell: fleet_tell,
    FleetSettle: fleet_settle,
    FleetLeave: fleet_leave,
    FleetPair: fleet_pair,
    FleetRedeem: fleet_redeem,
}

"""Requests of managers as calls of scripts, and what comes back, judged like network input."""

import re
from typing import Any

from pointsman_wire.coordination.fleet_requests import (
    CODE_MS,
    LEADER_MS,
    NAMED_MS,
    NAMES_MAX,
    NODES_MS,
    PARTS_MAX,
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
    Part,
)
from pointsman_wire.coordination.keys import digest_of
from pointsman_wire.coordination.scripting.call import Call, Site, Value

INSTANCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def ask(request: FleetAsk, site: Site) -> Call:
    """The call that a FleetAsk is."""
    assert len(request.known) <= NAMES_MAX
    assert len(request.parts) <= PARTS_MAX
    keys = site.keys
    names = [keys.names(), keys.leader(), keys.settings()]
    for name in (request.name, *request.known):
        names += [keys.presence(name), keys.nodes(name)]
    values: list[Value] = [request.name, request.uid, request.settings_version]
    values += [request.presence_ms, LEADER_MS, SETTINGS_MS, NAMED_MS, NAMES_MAX]
    number_of = {name: number for number, name in enumerate(request.known, 1)}
    for part in request.parts:
        values += [number_of[part.instance], part.field]
    return Call("fleet_ask", names, values)


def tell(request: FleetTell, site: Site) -> Call:
    """The call that a FleetTell is."""
    assert len(request.parts) <= PARTS_MAX
    values: list[Value] = [request.uid, request.presence, request.presence_ms, NODES_MS]
    for field, blob in request.parts:
        values += [field, blob]
    names = [site.keys.presence(request.name), site.keys.nodes(request.name)]
    return Call("fleet_tell", names, values)


def settle(request: FleetSettle, site: Site) -> Call:
    """The call that a FleetSettle is."""
    values: list[Value] = [request.name, request.version, request.settings]
    names = [site.keys.settings(), site.keys.leader()]
    return Call("fleet_settle", names, [*values, SETTINGS_MS, LEADER_MS])


def leave(request: FleetLeave, site: Site) -> Call:
    """The call that a FleetLeave is."""
    keys = site.keys
    names = [keys.names(), keys.leader(), keys.presence(request.name), keys.nodes(request.name)]
    values: list[Value] = [request.name, request.uid, request.presence, request.presence_ms]
    return Call("fleet_leave", names, values)


def pair(request: FleetPair, site: Site) -> Call:
    """The call that a FleetPair is."""
    names = [site.keys.pairing(request.code), site.keys.wrong_codes()]
    return Call("fleet_pair", names, [request.name, request.node, CODE_MS])


def redeem(request: FleetRedeem, site: Site) -> Call:
    """The call that a FleetRedeem is."""
    keys = site.keys
    names = [keys.pairing(request.code), keys.wrong_codes(), keys.wrong_codes_of(request.place)]
    values: list[Value] = [digest_of(request.session), USED_CODE_MS]
    values += [WRONG_CODES_MAX, WRONG_CODES_OF_PLACE_MAX, USED_CODE_MS, CODE_MS]
    return Call("fleet_redeem", names, [*values, int(request.is_guess)])


def heard(request: FleetAsk, reply: list[Any]) -> FleetHeard:
    """What a FleetAsk is answered; names that no instance can have are left out."""
    holder, leader, own_part_count, names, own, presences, parts, version, by, blob = reply
    found = dict(zip(request.known, presences, strict=True))
    found[request.name] = own
    told = zip(request.parts, parts, strict=True)
    return FleetHeard(
        number=request.number,
        outcome="done",
        holder=holder.decode(),
        leader=_name(leader),
        own_part_count=int(own_part_count),
        names=tuple(name for name in map(_name, names[:NAMES_MAX]) if name),
        presences={name: _blob(value) for name, value in found.items() if value is not None},
        parts={Part(*part): _blob(value) for part, value in told if value is not None},
        settings_version=int(version or 0),
        settings_by=_name(by),
        settings=_blob(blob) if blob is not None else b"",
    )


def _name(value: bytes | None) -> str:
    text = value.decode("ascii", "replace") if value is not None else ""
    return text if INSTANCE_NAME.fullmatch(text) else ""


def _blob(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is not a blob")
    return value


def _outcome(reply: list[Any], otherwise: str) -> Any:
    """Return the word that says how it went: done, or that which the script has for it was not."""
    word = reply[0].decode()
    if word not in ("done", otherwise):
        raise ValueError(f"{word!r} is no outcome")
    return word


def told(request: FleetTell, reply: list[Any]) -> FleetTold:
    """What a FleetTell is answered."""
    return FleetTold(number=request.number, outcome=_outcome(reply, "taken"))


def settled(request: FleetSettle, reply: list[Any]) -> FleetSettled:
    """What a FleetSettle is answered."""
    return FleetSettled(number=request.number, outcome=_outcome(reply, "behind"))


def left(request: FleetLeave, reply: list[Any]) -> FleetLeft:
    """What a FleetLeave is answered."""
    return FleetLeft(number=request.number, outcome=_outcome(reply, "taken"))


def paired(request: FleetPair, reply: list[Any]) -> FleetPaired:
    """What a FleetPair is answered."""
    return FleetPaired(number=request.number, outcome=_outcome(reply, "taken"))


def redeemed(request: FleetRedeem, reply: list[Any]) -> FleetRedeemed:
    """What a FleetRedeem is answered."""
    if reply[0] == b"wrong":
        return FleetRedeemed(number=request.number, outcome="wrong")
    word, by, node = reply
    if word != b"paired":
        raise ValueError(f"{word!r} is no outcome")
    return FleetRedeemed(number=request.number, outcome="paired", by=_name(by), node=_blob(node))

"""What managers ask of the coordination: who lives, what they show, and which settings rule.

All of it lies under one hash tag, so each request is one script on one server:

    FleetAsk     claim the own name if it is free, and read who lives and what is new
    FleetTell    write the own presence and parts of the own nodes
    FleetSettle  make settings the fleet's, unless newer ones stand
    FleetLeave   give the name up, and leave a last word for who asks in the next seconds
    FleetPair    a pairing code is good at every instance
    FleetRedeem  a session came with a code: one session has it, wherever several ask at once

Blobs are the asker's affair (and signed by it); here they are bytes.
"""

from typing import Literal, NamedTuple

from pointsman_wire.coordination.requests import ANSWERS, Answer, Request, SessionKey

PRESENCE_MS = 30_000
NODES_MS = 45_000
LEADER_MS = 60_000
SETTINGS_MS = 60_000
# An instance that was not there for so long is no longer named.
NAMED_MS = 3_600_000
NAMES_MAX = 128
PARTS_MAX = 64
# A pairing code; the session that has used it may come again for so long, wherever.
CODE_MS = 600_000
USED_CODE_MS = 3_600_000
# So many wrong codes, tried anywhere after a code was issued, burn it; so many from one place,
# without a quiet time as long as a code is good, burn all codes for that place.
WRONG_CODES_MAX = 25
WRONG_CODES_OF_PLACE_MAX = 5


class Part(NamedTuple):
    """One part of what an instance shows of its nodes: `field` is the asker's affair."""

    instance: str
    field: str


class FleetAsk(Request, frozen=True, kw_only=True):
    """Claim `name` for `uid`, and read.

    known: the names whose presences are wanted, as an earlier answer named them.
    settings_version: those are had already; the blob of others is wanted.
    """

    name: str
    uid: str
    presence_ms: int = PRESENCE_MS  # how long the name is kept for who does not renew it
    known: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    settings_version: int = 0


class FleetHeard(Answer, frozen=True, kw_only=True):
    """The answer to FleetAsk; of presences and parts only those that are there."""

    outcome: Literal["done", "down", "unknown"]
    holder: str = ""  # who has the name: the asker's uid, unless another was first
    leader: str = ""  # whose settings rule
    own_part_count: int = 0
    names: tuple[str, ...] = ()  # who was there last stands last
    presences: dict[str, bytes] = {}  # the own one too
    parts: dict[Part, bytes] = {}
    settings_version: int = 0
    settings_by: str = ""
    settings: bytes = b""  # empty when they are of the asked version


class FleetTell(Request, frozen=True, kw_only=True):
    """Write the own presence and these fields of the own nodes, and renew their lives."""

    name: str
    uid: str
    presence: bytes
    presence_ms: int = PRESENCE_MS
    parts: tuple[tuple[str, bytes], ...] = ()


class FleetTold(Answer, frozen=True, kw_only=True):
    """The answer to FleetTell; taken: another uid has the name, nothing was written."""

    outcome: Literal["done", "taken", "down", "unknown"]


class FleetSettle(Request, frozen=True, kw_only=True):
    """Make settings of this version the fleet's, and lead from now on."""

    name: str
    version: int
    settings: bytes


class FleetSettled(Answer, frozen=True, kw_only=True):
    """The answer to FleetSettle; behind: settings of this or a higher version stand."""

    outcome: Literal["done", "behind", "down", "unknown"]


class FleetLeave(Request, frozen=True, kw_only=True):
    """Give the own name, nodes and lead up; `presence` stands for a while as the last word."""

    name: str
    uid: str
    presence: bytes
    presence_ms: int = PRESENCE_MS


class FleetLeft(Answer, frozen=True, kw_only=True):
    """The answer to FleetLeave; taken: another uid has the name, nothing was changed."""

    outcome: Literal["done", "taken", "down", "unknown"]


class FleetPair(Request, frozen=True, kw_only=True):
    """Make a code good for one session, at every instance.

    code: in the core the code itself, in the backing what the carrier made of it under the
    cluster's key.  node: the id of the node, signed by the instance `name`.
    """

    name: str
    code: str
    node: bytes


class FleetPaired(Answer, frozen=True, kw_only=True):
    """The answer to FleetPair; taken: there is such a code."""

    outcome: Literal["done", "taken", "down", "unknown"]


class FleetRedeem(Request, frozen=True, kw_only=True):
    """Which node is this code for?  Unless it is another session's already.

    place: where the session comes from.  is_guess: a wrong one counts against every open code.
    """

    code: str
    session: SessionKey
    place: str = ""
    is_guess: bool = True


class FleetRedeemed(Answer, frozen=True, kw_only=True):
    """The answer to FleetRedeem: the node's id, signed by the instance `by`."""

    outcome: Literal["paired", "wrong", "down", "unknown"]
    by: str = ""
    node: bytes = b""


ANSWERS[FleetAsk] = FleetHeard
ANSWERS[FleetTell] = FleetTold
ANSWERS[FleetSettle] = FleetSettled
ANSWERS[FleetLeave] = FleetLeft
ANSWERS[FleetPair] = FleetPaired
ANSWERS[FleetRedeem] = FleetRedeemed

"""The federation's port: what it asks of the shared store, and what it is told of it.

One round a second: AskFleet (claim the name, read who lives and what is new), FleetHeard; TellFleet
(what we are and show), FleetTold.  Any of them may end in FleetAway instead.  Nothing waits for an
answer: a round that has not ended is given up by the shell, and the core's clock goes on.
"""

import msgspec


class Part(msgspec.Struct, frozen=True, gc=False):
    """One part of a page of an instance: kind is "r" for records, "w" for words."""

    instance: str
    kind: str
    page: int


class AskFleet(msgspec.Struct, frozen=True, kw_only=True):
    """Claim our name if it is free, and read: all presences, these parts, the pool settings."""

    number: int
    name: str
    uid: str
    parts: tuple[Part, ...]


class FleetHeard(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to AskFleet.  What is not there, or is not rightly signed, is left out."""

    number: int
    # The uid that holds our name now: ours, unless another instance has it.
    holder: str
    # Of ours, how many the store has.
    own_part_count: int
    presences: dict[str, bytes]
    parts: dict[Part, bytes]
    pools: bytes = b""
    # Who holds the leader's lock: an instance's name, or "".
    leader: str = ""


class TellFleet(msgspec.Struct, frozen=True, kw_only=True):
    """Write our presence and these parts of ours, and renew their lives."""

    number: int
    name: str
    presence: bytes
    parts: dict[Part, bytes]


class FleetTold(msgspec.Struct, frozen=True):
    """The answer to TellFleet."""

    number: int


class FleetAway(msgspec.Struct, frozen=True):
    """The store did not do what was asked, or not in time; words say why."""

    number: int
    words: str

"""What is asked of inboxes: the streams in which other instances' messages arrive.

One entry holds what one turn had for one receiver.  Sending, acknowledging and burying travel in
the pipeline of the turn; receiving waits on a connection of its own (`connection.InboxReader`).
"""

from typing import Literal, NamedTuple

from pointsman_wire.coordination.requests import ANSWERS, Answer, Request

GROUP = "shard"  # the one consumer group of an inbox; its consumer has the shard's lock


class Place(NamedTuple):
    """A shard of an instance: whose inbox it is."""

    instance: str
    shard: int


class Entry(NamedTuple):
    """What a receiver is given: acknowledge it by its id."""

    id: str
    blob: bytes
    deliveries: int = 1  # this one included
    age_ms: int = 0  # since it was sent


class Send(Request, frozen=True, kw_only=True):
    """Append an entry to the inbox of a shard of another instance."""

    instance: str
    shard: int
    blob: bytes


class Sent(Answer, frozen=True, kw_only=True):
    """The answer to Send."""

    outcome: Literal["sent", "full", "down", "unknown"]


class Acknowledge(Request, frozen=True, kw_only=True):
    """Remove entries of the own inbox that have been absorbed, 1,000 at most."""

    instance: str
    shard: int
    ids: tuple[str, ...]


class Bury(Request, frozen=True, kw_only=True):
    """Move an entry of the own inbox to the dead letters, saying why."""

    instance: str
    shard: int
    id: str
    why: str


class Absorbed(Answer, frozen=True, kw_only=True):
    """The answer to Acknowledge and Bury; missing: there was no such entry to bury."""

    outcome: Literal["done", "missing", "down", "unknown"]


ANSWERS[Send] = Sent
ANSWERS[Acknowledge] = Absorbed
ANSWERS[Bury] = Absorbed

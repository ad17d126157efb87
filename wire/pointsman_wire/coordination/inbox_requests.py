"""What is asked of inboxes: the streams in which other instances' messages arrive.

One entry holds what one turn had for one receiver.  Sending, acknowledging and burying travel in
the pipeline of the turn; receiving waits on a connection of its own (`reach/inbox.py`).
What was buried is a dead letter: an operator looks at it, sends it in again or throws it away.
"""

from typing import Literal, NamedTuple

from pointsman_wire.coordination.requests import ANSWERS, Answer, Request

LETTERS_PER_REQUEST_MAX = 1_000
LETTER_HEAD_BYTES = 1_024  # of each that is listed
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
    is_redriven: bool = False  # it was a dead letter: it was never absorbed, however old it is


class DeadLetter(NamedTuple):
    """An entry that could not be absorbed, and why."""

    id: str
    why: str
    size: int
    blob: bytes  # the first LETTER_HEAD_BYTES of it, or all where one was asked for by its id
    age_ms: int = 0  # since it was buried


class Send(Request, frozen=True, kw_only=True):
    """Append an entry to the inbox of a shard of another instance."""

    instance: str
    shard: int
    blob: bytes


class Sent(Answer, frozen=True, kw_only=True):
    """The answer to Send; `length` is how many entries the inbox holds now."""

    outcome: Literal["sent", "full", "down", "unknown"]
    length: int = 0


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
    """The answer to Acknowledge and Bury; missing: there was no such entry to bury.

    To Acknowledge, `length` is how many entries the inbox holds now.
    """

    outcome: Literal["done", "missing", "down", "unknown"]
    length: int = 0


class ReadDead(Request, frozen=True, kw_only=True):
    """Look at the dead letters of an inbox, the newest first, or at the one with this id."""

    instance: str
    shard: int
    id: str = ""
    count_max: int = 100


class DeadFound(Answer, frozen=True, kw_only=True):
    """The answer to ReadDead; `total` counts all dead letters of the inbox."""

    outcome: Literal["done", "down", "unknown"]
    letters: tuple[DeadLetter, ...] = ()
    total: int = 0


class Redrive(Request, frozen=True, kw_only=True):
    """Move dead letters to the end of the inbox again, in this order, while it has room."""

    instance: str
    shard: int
    ids: tuple[str, ...]


class Discard(Request, frozen=True, kw_only=True):
    """Throw dead letters away."""

    instance: str
    shard: int
    ids: tuple[str, ...]


class Settled(Answer, frozen=True, kw_only=True):
    """The answer to Redrive and Discard: how many were there; full: the inbox took no more."""

    outcome: Literal["done", "full", "down", "unknown"]
    count: int = 0


ANSWERS[Send] = Sent
ANSWERS[Acknowledge] = Absorbed
ANSWERS[Bury] = Absorbed
ANSWERS[ReadDead] = DeadFound
ANSWERS[Redrive] = Settled
ANSWERS[Discard] = Settled

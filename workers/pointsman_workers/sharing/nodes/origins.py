"""Whose a guest is, as a text that its node repeats when it reports it.

    instance/uid/shard/epoch/dispatch

So a worker that starts anew learns from the nodes alone which of their jobs are guests, and of
whom: nothing of them stands in its journal.
"""

from typing import NamedTuple

from pointsman_workers.sharing.nodes.nouns import Guest

ORIGIN_LENGTH_MAX = 256
NUMBER_MAX = 1 << 63


class Origin(NamedTuple):
    """The worker whose job it is, and its fence there."""

    instance: str
    uid: str
    shard: int
    epoch: int
    dispatch: int


def origin_text(guest: Guest) -> str:
    """What the node is given to repeat."""
    borrower, fence = guest.borrower, guest.fence
    place = f"{borrower.shard}/{fence.epoch}/{fence.dispatch}"
    return f"{borrower.instance}/{borrower.uid}/{place}"


def origin_of(text: str) -> Origin | None:
    """Read it again; None for anything that is none, as it comes from a node."""
    parts = text.split("/") if len(text) <= ORIGIN_LENGTH_MAX else []
    if len(parts) != len(Origin._fields):
        return None
    instance, uid, *digits = parts
    if not all(part.isascii() and part.isdecimal() for part in digits):
        return None
    shard, epoch, dispatch = (int(part) for part in digits)
    if max(shard, epoch, dispatch) >= NUMBER_MAX:
        return None
    return Origin(instance, uid, shard, epoch, dispatch)

"""The nouns of sharing: links to homes, and the guests of borrowers.

A *home* is the instance to which a node is connected, a *borrower* one that uses it from afar.  An
instance is both at once, to different others.
"""

from typing import TYPE_CHECKING

import msgspec

from pointsman_wire.coordination.instance_messages import GuestFence
from pointsman_wire.lane_messages import NodeResult

if TYPE_CHECKING:
    from pointsman_workers.core.state import Hold, Lane

Place = tuple[int, int]  # epoch, dispatch


class Link(msgspec.Struct, eq=False, kw_only=True):
    """Our way to the nodes of one home, over one worker of it: a virtual connection."""

    instance: str
    uid: str  # of the home, as the table of instances tells
    shard: int  # of the home's worker
    number: int = 0  # of this opening, 0 = none was tried yet
    is_open: bool = False  # the home has reported: nodes may be used
    tried_at_ns: int = 0  # when it was last opened; meaningful while it is not open
    lanes: "dict[str, Lane]" = {}  # by node id
    # The last assignment on this opening, by node id: numbers go on when a lane is made anew, as
    # its home takes a number that it has read for an assignment that came twice.
    assigned: dict[str, int] = {}
    # At least as high as that of any node that is not among them: of those that left long ago.
    assigned_before: int = 0
    # Of them, the last one that has an offer of its own (wants.py), by node id.
    offered: dict[str, int] = {}
    # Nodes that the home told of and that we do not know yet: when they come, it reports anew.
    strangers: set[str] = set()
    pending: set[str] = set()  # nodes that the home has yet to report on
    running: list[GuestFence] = []  # what a report in several parts has told so far
    held: list[GuestFence] = []
    ping_number: int = 0
    pong_number: int = 0
    pinged_at_ns: int = 0
    asked_at_ns: int = 0  # when the oldest ping was sent that has no answer
    asking: "dict[Lane, None]" = {}  # lanes that wait for a sign of life
    is_congested: bool = False  # what is sent does not arrive for now: no new jobs
    is_full: bool = False  # because the home's inbox takes no more


class Guest(msgspec.Struct, eq=False, kw_only=True):
    """A borrower's job on one of our nodes, until the borrower has its result for certain."""

    borrower: "Borrower"
    node_id: str
    fence: GuestFence  # the borrower's
    number: int = 0  # of the assignment on this link; 0: it came over an earlier one
    hold: "Hold | None" = None  # until the node has ended it
    place: Place = (0, 0)  # our own fence at the node
    result: NodeResult | None = None  # from then on
    result_number: int = 0  # under which it was told on this link; 0: it was not
    payload: bytes = b""


class GuestLane(msgspec.Struct, eq=False):
    """One of our nodes as one borrower's worker numbers what it says to it on this link."""

    read: int = 0  # the highest assignment that came
    unstarted: dict[int, None] = {}  # those that the node has not read yet, ascending
    told: int = 0  # up to which the borrower knows that they were read
    next_result: int = 1
    results: dict[int, Guest] = {}  # told, and not known to be safe, by number, ascending


class Borrower(msgspec.Struct, eq=False, kw_only=True):
    """One worker of another instance that uses nodes of ours through this worker."""

    instance: str
    shard: int
    uid: str
    epoch: int = 0
    link: int = 0  # the number of the link as it opened it last
    is_open: bool = False
    heard_at_ns: int = 0
    lease_from_ns: int = 0  # what it runs here is stopped when this is too long ago
    lanes: dict[str, GuestLane] = {}  # by node id
    guests: dict[Place, Guest] = {}  # by the borrower's fence
    pending: dict[str, None] = {}  # nodes on which it waits for a report
    result_count: int = 0  # of guests that have ended and are kept for it
    result_bytes: int = 0

"""Messages between workers of different instances; they travel through inbox streams.

A node is connected to one instance, its *home*.  Another instance, the *borrower*, reaches it over
a link: worker w of the borrower has one link to worker (w mod workers) of each home.  A link is a
virtual connection.  Its number is the borrower's, given anew whenever either end began a new life,
and everything said on a link names it, so that what an older link left in a stream is told apart.

    borrower                                home
    link_open {who I am, what I expect} -->
             <-- link_accepted {who I am}
             <-- link_report {what its nodes run and hold for this worker of the borrower}
    for_node {assign | cancel_job | node_result_ack | turn_granted} -->
             <-- from_node {assign_ack | job_refused | turn_ask | node_result | node_partial |
                            node_progress}
    waits {tenants} -->      <-- offer {a slot of a node}
    offer_declined -->
    link_ping -->            <-- link_pong

What travels in for_node and from_node is what travels on a lane: the borrower speaks as the node's
worker, under its own fences and numbers, and the home answers for the node.  The home reserves the
slot in its own ledger when an assignment arrives, or refuses it; so capacity has one judge.
"""

from typing import Literal

import msgspec

from pointsman_wire.lane_messages import (
    Assign,
    AssignAck,
    CancelJob,
    JobRefused,
    NodePartial,
    NodeProgress,
    NodeResult,
    NodeResultAck,
    TurnAsk,
    TurnGranted,
)
from pointsman_wire.messages import Message, Number
from pointsman_wire.session_messages import Result

FENCES_MAX = 1_000  # in one link_report; what is more comes in further ones
WAITERS_MAX = 64  # in one waits, those whose turn is next


class GuestFence(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A borrower's job on a node of the home: [node_id, job_id, epoch, dispatch, tenant,
    session_id, request_id], epoch and dispatch being the borrower's."""

    node_id: str
    job_id: str
    epoch: Number
    dispatch: Number
    tenant: str = ""
    session_id: str = ""
    request_id: str = ""


class EntryHead(Message, tag="entry_head", frozen=True, kw_only=True):
    """First frame of a stream entry: which worker wrote it, in which life, as its how-manyeth.

    An entry whose number is not above the last one of that life was read before.
    """

    instance: str
    uid: str
    shard: Number
    epoch: Number
    number: Number


class LinkMessage(Message, frozen=True, kw_only=True):
    """Base of what is said on a link; the number is the borrower's."""

    link: Number


class LinkOpen(LinkMessage, tag="link_open", frozen=True, kw_only=True):
    """A worker of the borrower wants to reach the nodes of the home over this worker of it."""

    uid: str  # of the borrower, with its epoch: its fences
    epoch: Number
    # Nodes that have dispatches of the borrower, as far as it knows; each is reported on.
    expected: list[str] = []


class LinkAccepted(LinkMessage, tag="link_accepted", frozen=True, kw_only=True):
    """The home answers; which life of its worker that is."""

    uid: str
    epoch: Number


class LinkReport(LinkMessage, tag="link_report", frozen=True, kw_only=True):
    """What nodes of the home run and hold for this worker of the borrower.

    `nodes` names those that it is about; nil: all that the home has but for `pending`, whose lanes
    have yet to come up: each is reported on when its lane is up, or is given up.  Held results
    follow in from_node.
    """

    running: list[GuestFence] = []
    held: list[GuestFence] = []
    nodes: list[str] | None = None
    pending: list[str] = []
    more: bool = False  # a further report belongs to this one


class LinkClosed(LinkMessage, tag="link_closed", frozen=True, kw_only=True):
    """The home does not know this link: open a new one."""

    reason: str = ""


class LinkPing(LinkMessage, tag="link_ping", frozen=True, kw_only=True):
    """Sent by the borrower, each second while jobs are on the link."""

    number: Number


class LinkPong(LinkMessage, tag="link_pong", frozen=True, kw_only=True):
    """The home reads the link."""

    number: Number


class ForNode(LinkMessage, tag="for_node", frozen=True, kw_only=True):
    """A frame of the borrower for a node of the home; the payload is the frame's.

    `node_epoch` is the node's registration as the borrower knows it.
    """

    node_id: str
    frame: Assign | CancelJob | NodeResultAck | TurnGranted
    node_epoch: Number = 0
    waited_ms: Number = 0  # of an assignment: how long ago its job was accepted


class FromNode(LinkMessage, tag="from_node", frozen=True, kw_only=True):
    """The answer for a node, in the fences and numbers of the borrower."""

    node_id: str
    frame: AssignAck | JobRefused | NodeResult | NodePartial | NodeProgress | TurnAsk


class NodeGone(LinkMessage, tag="node_gone", frozen=True, kw_only=True):
    """The home gave the node up: what the borrower has on it will not end there."""

    node_id: str
    reason: str = ""
    is_leaving: bool = False  # it drained: that it went is no job's fault


class Waiter(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Jobs that wait at the borrower: [tenant, priority, waited_ms], of the oldest of them."""

    tenant: str
    priority: str
    waited_ms: Number = 0


class Waits(LinkMessage, tag="waits", frozen=True, kw_only=True):
    """Whose jobs wait for that node, which had no slot for one of them: all stand in its order."""

    node_id: str
    waiters: list[Waiter]


class Offer(LinkMessage, tag="offer", frozen=True, kw_only=True):
    """A slot of the node is reserved for the borrower, for 500 ms: it was this tenant's turn.

    The borrower's next assignment for that node after `read` takes it, unless an offer before this
    one has that.
    """

    node_id: str
    tenant: str = ""
    read: Number = 0  # the last assignment for that node that had come


class OfferDeclined(LinkMessage, tag="offer_declined", frozen=True, kw_only=True):
    """The borrower has no job of this tenant for that node any more: one offer is free again."""

    node_id: str
    tenant: str = ""


class Attach(Message, tag="attach", frozen=True, kw_only=True):
    """A follower asks the owner of a job for its result, now or when it has ended."""

    tenant: str
    session_id: str
    request_id: str
    job_id: str
    cancel: bool = False  # the follower's client wants no result any more


class AttachAnswer(Message, tag="attach_answer", frozen=True, kw_only=True):
    """How the job stands; with its result, whose output is the payload, when it has ended."""

    tenant: str
    session_id: str
    request_id: str
    job_id: str
    state: Literal["running", "ended", "unknown"] = "running"
    result: Result | None = None


BetweenInstances = (
    LinkOpen
    | LinkAccepted
    | LinkReport
    | LinkClosed
    | LinkPing
    | LinkPong
    | ForNode
    | FromNode
    | NodeGone
    | Waits
    | Offer
    | OfferDeclined
    | Attach
    | AttachAnswer
)
Entry = EntryHead | BetweenInstances

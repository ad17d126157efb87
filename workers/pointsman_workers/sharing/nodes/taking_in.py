"""Taking a guest in: a slot of the home's own ledger, and the way onto its node.

These are the two acts of placing (desks/placing.py) without the choice, which its borrower made.
"""

from msgspec.structs import replace

from pointsman_shm.memory.ledger import Reserve
from pointsman_shm.memory.rows import CLASS_MASK, CLASS_SHIFT, GENERATION_SHIFT
from pointsman_wire.coordination.instance_messages import ForNode
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import Assign
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Hold, Lane
from pointsman_workers.core.turns.waiting import can_do
from pointsman_workers.placement.checks import CHOOSABLE, CHOOSABLE_IF_MARKED_MASK
from pointsman_workers.sharing.nodes.nouns import Guest
from pointsman_workers.sharing.nodes.origins import origin_text

Refusal = tuple[Code, str]


def reserve(shard: Shard, message: ForNode) -> Lane | Refusal:
    """Take a slot of the node for a guest; the node's lane, or why there is none."""
    lane = own_lane(shard, message.node_id)
    if lane is None:
        return Code.NODE_UNAVAILABLE, f"node {message.node_id} is not connected here"
    if shard.is_stopping or not lane.is_up or lane.is_stuck or message.node_epoch != lane.epoch:
        return Code.NODE_OVERLOADED, "the node takes nothing from here at the moment"
    fleet = shard.fleet
    word = fleet.standing[lane.row]
    if not takes_jobs(word) or word >> GENERATION_SHIFT != lane.generation:
        return Code.NODE_OVERLOADED, "the node takes no jobs at the moment"
    if _is_waited_for(shard, word >> CLASS_SHIFT & CLASS_MASK):
        return Code.NODE_OVERLOADED, "others wait for its slots"
    if fleet.own.reserve(lane.row, fleet.standing, word) is not Reserve.OK:
        return Code.NODE_OVERLOADED, "no slot is free"
    fleet.change_room(lane.row, -1)
    return lane


def takes_jobs(word: int) -> bool:
    """Does a node of this standing get any, or does it drain, or is its pool paused?"""
    return word & CHOOSABLE_IF_MARKED_MASK == CHOOSABLE


def own_lane(shard: Shard, node_id: str) -> Lane | None:
    """The lane of a node that is connected to this instance."""
    row = shard.rows_by_node.get(node_id)
    lane = shard.lanes.get(row) if row is not None else None
    return lane if lane is not None and lane.link is None else None


def _is_waited_for(shard: Shard, class_number: int) -> bool:
    """Does anybody here wait for slots of this class?  A newcomer does not overtake them."""
    waiting = shard.waiting
    if any(can_do(kind, class_number) for kind in waiting.kinds):
        return True
    return waiting.is_queued_elsewhere(class_number)


def dispatch(shard: Shard, lane: Lane, guest: Guest, assign: Assign, payload: bytes) -> None:
    """Hand the guest to its node, under our own fence; the slot is ours already."""
    assert lane.connection is not None, lane.node_id
    shard.last_dispatch = number = shard.last_dispatch + 1
    hold = Hold(
        lane=lane,
        job=None,
        job_id=assign.job_id,
        epoch=shard.setup.epoch,
        dispatch=number,
        number=lane.next_assignment,
        sent_at_ns=shard.now_ns,
        guest=guest,
    )
    lane.next_assignment += 1
    guest.hold, guest.place = hold, (hold.epoch, number)
    lane.holds[guest.place] = hold
    lane.unacknowledged.append(hold)
    frame = replace(
        assign,
        number=hold.number,
        dispatch=number,
        origin=origin_text(guest),
    )
    shard.outbox.send(lane.connection, frame, payload)
    if lane.untold_bytes:
        shard.outbox.acknowledge_now(lane)
    shard.watch(lane)

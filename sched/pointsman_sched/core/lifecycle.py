"""A node's health as it changes: the move, and everything that must follow from it.

What follows: the standing word, the pools' counts, the node being told, the timer filed anew.
"""

from pointsman_sched.core.events import NodeNews
from pointsman_sched.core.fleet.health import Verb, move
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.fleet.pauses import OVER
from pointsman_sched.core.state import NEVER_NS, ManagementState
from pointsman_shm.logs.events import Event
from pointsman_shm.memory.rows import NodeState
from pointsman_shm.memory.stats_names import Counter, Gauge
from pointsman_wire.control_messages import NodeStateChanged

READY = NodeState.READY
DRAINED = "drained by an operator"
# States that an operator reads of; that a node registers is told by its registration.
NEWS = {
    NodeState.READY: Event.NODE_READY,
    NodeState.SUSPECT: Event.NODE_UNWELL,
    NodeState.DEGRADED: Event.NODE_UNWELL,
    NodeState.DRAINING: Event.NODE_DRAINING,
    NodeState.OFFLINE: Event.NODE_LOST,
}


def change(state: ManagementState, node: Node, verb: Verb, reason: str) -> None:
    """Move a living node to its next state and let everybody know."""
    was_ready = node.state is NodeState.READY
    before = node.state
    move(node, verb, state.clock_ns)
    node.reason = reason
    if node.state is before:
        return
    is_ready = node.state is NodeState.READY
    assert node.is_lanes_ready or not is_ready, f"{node.node_id} is Ready without its lanes"
    state.stats.add(Counter.STATE_CHANGES)
    if node.state in NEWS:
        _tell(state, node, before, reason)
    if was_ready is not is_ready:
        state.count_ready(node)
    if node.state is NodeState.OFFLINE:
        retire(state, node)
    state.show_row(node)
    # A welcome is told by the answer to the registration itself.
    if node.connection is not None and verb is not Verb.WELCOME:
        told = NodeStateChanged(state=node.state.name.lower(), reason=reason)
        state.outbox.send(node.connection, told)
    if node.state is NodeState.OFFLINE:
        hang_up(state, node, reason)
    refile(state, node)


def _tell(state: ManagementState, node: Node, before: NodeState, reason: str) -> None:
    now = node.state.name.lower()
    fields = (("node_id", node.node_id), ("state", now), ("before", before.name.lower()))
    words = f"node {node.node_id} is {now}: {reason}"
    state.outbox.wish(NodeNews(NEWS[node.state], words, fields))


def settle_if_able(state: ManagementState, node: Node) -> None:
    """Make a node Ready that has its lanes and beats well, whatever it was before.

    A Suspect node that is heard again but has no lanes waits for them; Draining stays.
    """
    may_settle = node.was_good and node.is_lanes_ready and not node.is_silent
    if node.state is NodeState.SUSPECT and not may_settle:
        verb = Verb.WAIT if node.was_good else Verb.AIL
        change(state, node, verb, "heard again")
    elif may_settle and node.state in (
        NodeState.REGISTERING,
        NodeState.DEGRADED,
        NodeState.SUSPECT,
    ):
        node.bad_window = 0
        change(state, node, Verb.SETTLE, "lanes are up and the heartbeat is good")


def drain(state: ManagementState, node: Node, deadline_ns: int, reason: str) -> None:
    """Take no new jobs; Offline at the deadline (core's clock).  A second drain moves it."""
    node.drain_deadline_ns = deadline_ns
    if node.state is not NodeState.DRAINING:
        change(state, node, Verb.DRAIN, reason)
    refile(state, node)


def drain_by_order(state: ManagementState, node: Node, deadline_ns: int, reason: str) -> None:
    """Drain it as an operator wishes: until that is taken back, however often it registers."""
    state.pauses.drain(node.node_id, deadline_ns)
    state.dirty.add(state.layout.policy)
    node.is_drained_by_operator = True
    drain(state, node, deadline_ns, reason)
    state.show_row(node)


def stay_drained(state: ManagementState, node: Node) -> None:
    """Drain a node that has just got a row, if an operator has drained it before."""
    until_ns = state.pauses.drains.get(node.node_id)
    if until_ns is not None:
        node.is_drained_by_operator = True
        drain(state, node, until_ns if until_ns != OVER else NEVER_NS, DRAINED)


def end_drain(state: ManagementState, node: Node) -> None:
    """The time of a drain is up."""
    if node.node_id in state.pauses.drains and node.is_drained_by_operator:
        state.pauses.drains[node.node_id] = OVER
        state.dirty.add(state.layout.policy)
    change(state, node, Verb.END, "drained: the deadline came")


def undrain(state: ManagementState, node: Node) -> None:
    """Take jobs again as soon as the node is able to."""
    if state.pauses.drains.pop(node.node_id, None) is not None:
        state.dirty.add(state.layout.policy)
    if node.state is not NodeState.DRAINING:
        return
    node.is_drained_by_operator = False
    if node.is_silent:
        change(state, node, Verb.WAIT, "undrained")
        change(state, node, Verb.MISS, "undrained while silent")
        return
    change(state, node, Verb.WAIT, "undrained")
    settle_if_able(state, node)


def hang_up(state: ManagementState, node: Node, reason: str) -> None:
    """End the node's control connection, if it has one."""
    if node.connection is None:
        return
    peer = state.peers[node.connection]
    peer.node = None
    peer.is_ended = True
    state.outbox.close(node.connection, reason)
    node.connection = None


def forget(state: ManagementState, node: Node) -> None:
    """Drop an Offline node: its row waits for its next owner."""
    move(node, Verb.FORGET, state.clock_ns)
    node.filed_tick = 0
    state.nodes.remove(node)
    if state.marks.forget(node.row, node.generation):
        state.dirty.add(state.layout.marks)
    node.flags = 0
    node.slots_max = 0
    state.show_row(node)
    state.rows.free(node.row)
    state.dirty.add(state.layout.node_page(node.row))
    state.tell_others(node)
    state.stats.gauge(Gauge.NODES, len(state.nodes))


def deadline_ns(state: ManagementState, node: Node) -> int:
    """Return when the node must next be looked at if nothing is heard of it (core's clock)."""
    intervals = state.intervals
    if node.state is READY and not node.is_silent:  # nearly all, nearly always
        return node.heard_at_ns + intervals.suspect_intervals * node.interval_ns
    if node.state is NodeState.OFFLINE:
        return node.state_since_ns + intervals.remember_ns
    missed = intervals.offline_intervals if node.is_silent else intervals.suspect_intervals
    deadline = node.heard_at_ns + missed * node.interval_ns
    if node.state is NodeState.DRAINING:
        return min(deadline, node.drain_deadline_ns)
    if node.state is NodeState.REGISTERING:
        return min(deadline, node.state_since_ns + intervals.warm_up_ns)
    return deadline


def refile(state: ManagementState, node: Node) -> None:
    """File the node's next deadline."""
    state.timers.file(node, deadline_ns(state, node))


def retire(state: ManagementState, node: Node) -> None:
    """Offline nodes leave their pools at once and no longer count as silent."""
    state.nodes.retire(node)
    state.leave_pools(node)
    state.touch_record(node)
    if node.is_silent:
        node.is_silent = False
        state.silent_count -= 1
    state.count_fleet()

"""Nodes of other instances as rows of this one's catalog: taken, changed and lost as told.

Their health is judged by the instance to which they are connected; here it is only shown, so they
have no timers while they live, no connection and no part in the mass-loss guard.  What is true of
a node that two instances tell of:

    ours, living, not silent            ours wins, whatever others tell
    ours, silent, the other's is newer  it has moved: ours ends at once, and its jobs fail over
    two others tell of it               the higher epoch wins, else who told first

Our own nodes come first: rows of others end where a tenth of the rows would be left, and give way
when even that is used up.
"""

from enum import Enum, auto

from pointsman_sched.core.events import RegistryEntry
from pointsman_sched.core.federation.told import NodeTold, NodeWords
from pointsman_sched.core.fleet.class_interner import ClassesFull
from pointsman_sched.core.fleet.health import Verb
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.joining.declaration import check_record_size, flags_of
from pointsman_sched.core.lifecycle import change, forget, refile, retire
from pointsman_sched.core.state import ManagementState
from pointsman_shm.memory.rows import UNKNOWN_LOAD, NodeState, RowFlag, pack_load
from pointsman_shm.memory.stats_names import Counter, Gauge
from pointsman_shm.rules.load import foreign_load
from pointsman_shm.snapshot.records import CapabilityClass

# Rows kept free for our own nodes: one of so many.
RESERVED_SHARE = 10
TOLD_STATE_FLAGS = RowFlag.PAUSED | RowFlag.OVERLOADED


class Merged(Enum):
    """What came of a node that was told of."""

    TAKEN = auto()
    OURS_WINS = auto()
    OTHER_WINS = auto()
    NO_ROOM = auto()
    NO_CLASS = auto()


def upsert_node_from_snapshot(
    state: ManagementState, instance: str, told: NodeTold, capability: CapabilityClass
) -> Merged:
    """Show a node of another instance, as new or changed; what is shown of it stands in a row."""
    node = state.nodes.by_id.get(told.node_id)
    if node is not None:
        trouble = _claimed(state, node, instance, told)
        if trouble is not None:
            return trouble
    number = state.intern_class(capability, told.node_id)
    if isinstance(number, ClassesFull):
        return Merged.NO_CLASS
    if check_record_size(told.node_id, capability, state.config) is not None:
        return Merged.NO_ROOM
    if node is None or node.instance != instance or not node.is_live:
        node = _place(state, instance, told)
    if node is None:
        return Merged.NO_ROOM
    if told.key_hash:
        state.identities.learn(RegistryEntry(told.node_id, told.key_hash, told.epoch, True))
    node.slots_max = told.slots_max
    node.class_number, node.capability = number, capability
    node.flags = int(flags_of(capability) | RowFlag.REMOTE | node.flags & TOLD_STATE_FLAGS)
    node.epoch = told.epoch
    state.setup.memory.rows.epoch[node.row] = told.epoch
    state.show_row(node)
    state.enter_pools(node)
    state.follow_record(node)
    return Merged.TAKEN


def _claimed(state: ManagementState, node: Node, instance: str, told: NodeTold) -> Merged | None:
    """Whose word holds of a node that is known?  None: what is told, and nothing stands in its way.

    A former holder is out of the fleet then.
    """
    if not node.is_live or node.instance == instance:
        return None
    if node.instance:
        if told.epoch <= node.epoch:
            return Merged.OTHER_WINS
        lose_remote(state, node, f"it has moved to instance {instance}")
        return None
    if not node.is_silent or told.epoch <= node.epoch:
        return Merged.OURS_WINS
    change(state, node, Verb.END, f"it has moved to instance {instance}")
    return None


def _place(state: ManagementState, instance: str, told: NodeTold) -> Node | None:
    """Find a row, if our own nodes have enough left; who was there before is forgotten."""
    former = state.nodes.by_id.get(told.node_id)
    if former is not None:
        forget(state, former)
    rows = state.rows
    taken = rows.take(
        lambda: state.workers.applied_version(state.now_ns), left_min=reserved_rows(state)
    )
    if taken is None:
        return None
    row, generation = taken
    node = Node(told.node_id, row, generation, state.clock_ns)
    node.instance = instance
    node.reason = f"connected to instance {instance}"
    # Its own instance sees to it that a node is Ready only with its lanes.
    node.is_lanes_ready = True
    state.nodes.add(node)
    columns = state.setup.memory.rows
    columns.load[row] = UNKNOWN_LOAD
    columns.heartbeat_at_ns[row] = state.now_ns
    state.stats.gauge(Gauge.NODES, len(state.nodes))
    return node


def reserved_rows(state: ManagementState) -> int:
    """Return how many rows nodes of other instances leave free."""
    return max(1, len(state.nodes.by_row) // RESERVED_SHARE)


def show_words(state: ManagementState, node: Node, words: NodeWords) -> None:
    """Show a remote node's state and load as they were told."""
    memory = state.setup.memory
    load = words.load
    memory.rows.load[node.row] = pack_load(
        cpu=load.cpu,
        gpu=load.gpu,
        gpu_memory=load.gpu_memory,
        memory=load.memory,
        foreign=foreign_load(load.foreign, memory.ledger.held(node.row)),
    )
    memory.rows.heartbeat_at_ns[node.row] = state.now_ns
    node.flags = int(flags_of(node.capability) | RowFlag.REMOTE | words.flags & TOLD_STATE_FLAGS)
    was_ready = node.is_ready
    if node.state is not words.state:
        node.state = words.state
        node.state_since_ns = state.clock_ns
        state.stats.add(Counter.STATE_CHANGES)
    if node.is_ready is not was_ready:
        state.count_ready(node)
    node.slots_max = words.slots_max
    state.show_row(node)
    state.follow_record(node)


def mark_aged(state: ManagementState, node: Node) -> None:
    """Show that nothing was heard of a remote node's instance for a while."""
    node.flags |= int(RowFlag.STALE)
    state.show_row(node)


def lose_remote(state: ManagementState, node: Node, reason: str) -> None:
    """A remote node is no longer told of: Offline at once, remembered for a while like ours."""
    assert node.instance, node.node_id
    if not node.is_live:
        return
    node.state = NodeState.OFFLINE
    node.state_since_ns = state.clock_ns
    node.reason = reason
    state.stats.add(Counter.STATE_CHANGES)
    retire(state, node)
    state.show_row(node)
    refile(state, node)

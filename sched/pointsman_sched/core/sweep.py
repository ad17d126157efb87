"""What happens because time passed: misses, deaths, drains that are over, memories that fade."""

from pointsman_sched.core.fleet.health import Verb
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.lifecycle import change, deadline_ns, end_drain, forget, refile
from pointsman_sched.core.state import ManagementState
from pointsman_shm.memory.rows import NodeState

# Nodes looked at in one turn: about 20 µs each, so a turn stays far below 10 ms.
NODES_PER_TURN = 128


def sweep_nodes(state: ManagementState) -> None:
    """Look at nodes whose deadline may have come; some may be left for the next turn."""
    now_ns = state.clock_ns
    for node in state.timers.take_due(now_ns, NODES_PER_TURN):
        due_ns = deadline_ns(state, node)
        if due_ns <= now_ns:
            _expire(state, node)
            state.setup.crash("manager-mid-sweep")
        else:
            state.timers.file(node, due_ns)


def sweep_marks(state: ManagementState) -> None:
    """Let model marks end."""
    for row, generation in state.marks.expire(state.now_ns):
        state.dirty.add(state.layout.marks)
        node = state.nodes.find(row, generation)
        if node is not None:
            state.show_row(node)


def _expire(state: ManagementState, node: Node) -> None:
    now_ns = state.clock_ns
    intervals = state.intervals
    if node.state is NodeState.OFFLINE:
        forget(state, node)
        return
    if node.state is NodeState.DRAINING and now_ns >= node.drain_deadline_ns:
        end_drain(state, node)
        return
    silence_ns = now_ns - node.heard_at_ns
    if silence_ns >= intervals.suspect_intervals * node.interval_ns and not node.is_silent:
        _miss(state, node)
    elif silence_ns >= intervals.offline_intervals * node.interval_ns:
        _die(state, node)
    elif node.state is NodeState.REGISTERING:
        warm_up_s = intervals.warm_up_ns // 1_000_000_000
        change(state, node, Verb.AIL, f"not ready {warm_up_s} s after registration")
    else:
        refile(state, node)


def _miss(state: ManagementState, node: Node) -> None:
    state.set_silent(node, True)
    if node.state in (NodeState.REGISTERING, NodeState.READY, NodeState.DEGRADED):
        count = state.intervals.suspect_intervals
        change(state, node, Verb.MISS, f"{count} heartbeats missed")
    refile(state, node)


def _die(state: ManagementState, node: Node) -> None:
    is_coming = state.homecoming.is_going_on(state.clock_ns)
    if not is_coming and state.guard.may_declare(state.clock_ns):
        count = state.intervals.offline_intervals
        change(state, node, Verb.END, f"{count} heartbeats missed")
    else:
        state.timers.file(node, state.clock_ns + node.interval_ns)

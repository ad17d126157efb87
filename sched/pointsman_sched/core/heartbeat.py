"""A heartbeat: what it says of the node, written to its row, and what follows for its health.

Nothing is published for a heartbeat as such; the load and heartbeat words are plain stores.  Only
what *differs* is a change: a list of services that equals the old one is none.

Thousands come in a second, and they are most of what an idle service does.  So what holds for all
of a turn was worked out when it began, and the ordinary heartbeat of a node that is well makes few
calls: what is rare has functions of its own.
"""

from pointsman_sched.core.fleet.class_interner import ClassesFull
from pointsman_sched.core.fleet.health import Verb
from pointsman_sched.core.fleet.intervals import STEPS
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.joining.declaration import (
    check_class_size,
    check_services,
    flags_of,
    with_services,
)
from pointsman_sched.core.joining.identities import Refusal
from pointsman_sched.core.lifecycle import READY, change, settle_if_able
from pointsman_sched.core.state import PAUSED, ManagementState
from pointsman_shm.memory.rows import PERCENT_UNKNOWN as UNKNOWN
from pointsman_shm.memory.rows import NodeState, RowFlag, pack_load
from pointsman_shm.rules.load import foreign_load
from pointsman_wire.control_messages import Heartbeat, HeartbeatAck, LanesReady, Service
from pointsman_wire.errors import Code
from pointsman_wire.link import Connection, Send

OUT_OF_RANGE = -1
# As plain numbers: the operators of enum flags cost microseconds, at every heartbeat.
OVERLOADED = int(RowFlag.OVERLOADED)
DRAINING = NodeState.DRAINING
STEADY_FLAGS = ~(PAUSED | OVERLOADED)
DECLARED = int(RowFlag.PUBLIC | RowFlag.GPU)
STATE_NAMES = {state: state.name.lower() for state in NodeState}


def take_heartbeat(
    state: ManagementState, connection: Connection, node: Node, message: Heartbeat
) -> None:
    """Judge a heartbeat, show what it says, and answer it."""
    state.heartbeat_count += 1
    node.heard_at_ns = state.clock_ns
    if node.is_silent or not node.is_proven:
        hear(state, node)
    services = message.services
    is_taken = (
        services is None
        or tuple(services) == node.declared_services
        or _change_services(state, connection, node, tuple(services))
    )
    is_sound = _write_load(state, node, message)
    is_bad = not (is_taken and node.is_serving and is_sound)
    node.was_good = not is_bad
    if is_bad or node.bad_window:
        node.bad_window = state.bad_window.push(node.bad_window, is_bad=is_bad)
    if is_bad:
        _weigh_bad_one(state, node, message)
    elif node.state is not READY:
        settle_if_able(state, node)
    _answer(state, connection, node, message.number)


def take_ordinary(
    state: ManagementState,
    connection: Connection,
    node: Node,
    message: Heartbeat,
    heard_at_ns: int,
) -> None:
    """Take a heartbeat that is ordinary, or was when it came, as of then (core's clock)."""
    if (
        node.state is not READY
        or node.is_silent
        or node.bad_window  # as of a Ready node whose last one was bad, or that serves nothing
        or not _write_load(state, node, message)
    ):
        take_heartbeat(state, connection, node, message)
        return
    state.heartbeat_count += 1
    node.heard_at_ns = heard_at_ns
    interval_ns = node.interval_ns = state.intervals_ns[node.row % STEPS]
    answer = HeartbeatAck(
        number=message.number,
        state="ready",
        config_version=state.config_version,
        heartbeat_interval_s=interval_ns / 1e9,
        server_time_ms=state.wall_ms,
    )
    state.outbox.commands.append(Send(connection, answer))


def take_lanes_ready(
    state: ManagementState, connection: Connection, node: Node, message: LanesReady
) -> None:
    """All lanes of this registration stand."""
    hear(state, node)
    node.is_lanes_ready = True
    settle_if_able(state, node)


def hear(state: ManagementState, node: Node) -> None:
    """Note that the node is alive, and has read the answer to its registration."""
    if not node.is_proven:
        node.is_proven = True
        entry = state.identities.prove(node.node_id)
        if entry is not None:
            state.outbox.record(entry)
    node.heard_at_ns = state.clock_ns
    state.set_silent(node, False)


def _write_load(state: ManagementState, node: Node, message: Heartbeat) -> bool:
    """Write load, heartbeat instant and flags; False when a number is out of range."""
    row = node.row
    state.beat_words[row] = state.now_ns
    running = message.running
    foreign = foreign_load(running, state.held(row)) if running > 0 else running
    said = (
        message.cpu_percent,
        message.gpu_percent,
        message.gpu_memory_percent,
        message.memory_percent,
        foreign,
        message.pause,
        message.pause_reason,
        state.overload_percent,
    )
    if said == node.said:
        return True  # the row says it already
    # Rounded down; written out, as most heartbeats take it.
    part = said[0]
    cpu = UNKNOWN if part is None else int(part) if 0.0 <= part <= 100.0 else OUT_OF_RANGE
    part = said[1]
    gpu = UNKNOWN if part is None else int(part) if 0.0 <= part <= 100.0 else OUT_OF_RANGE
    part = said[2]
    gpu_memory = UNKNOWN if part is None else int(part) if 0.0 <= part <= 100.0 else OUT_OF_RANGE
    part = said[3]
    used = UNKNOWN if part is None else int(part) if 0.0 <= part <= 100.0 else OUT_OF_RANGE
    flags = node.flags & STEADY_FLAGS
    if message.pause:
        flags |= PAUSED
        node.pause_reason = message.pause_reason
    is_sound = cpu | gpu | gpu_memory | used >= 0 and foreign >= 0
    node.said = said if is_sound else None
    if is_sound:
        state.load_words[row] = pack_load(cpu, gpu, gpu_memory, used, foreign)
        threshold = state.overload_percent
        if threshold <= cpu < UNKNOWN or threshold <= gpu < UNKNOWN or threshold <= used < UNKNOWN:
            flags |= OVERLOADED
    if flags != node.flags:
        node.flags = flags
        state.show_row(node)
    return is_sound


def _change_services(
    state: ManagementState, connection: Connection, node: Node, services: tuple[Service, ...]
) -> bool:
    """Give the node the class that its new services make; False when they cannot be taken."""
    capability = with_services(node.capability, services, has_gpus=node.has_gpus)
    refusal = check_services(services, state.config) or check_class_size(capability)
    if refusal is None:
        number = state.intern_class(capability, node.node_id)
        if isinstance(number, ClassesFull):
            refusal = Refusal(Code.CAPABILITY_CLASSES_FULL, number.words)
    if refusal is not None:
        # What it has now is not what its class says: no jobs until it can be said again.
        state.outbox.complain(connection, refusal.code, refusal.words)
        node.declare(())
        if node.state is READY:
            change(state, node, Verb.AIL, refusal.words)
        return False
    assert isinstance(number, int)
    node.declare(services)
    if number == node.class_number:
        return True
    node.class_number, node.capability = number, capability
    node.flags = node.flags & ~DECLARED | int(flags_of(capability))
    state.enter_pools(node)
    state.touch_record(node)
    state.show_row(node)
    return True


def _weigh_bad_one(state: ManagementState, node: Node, message: Heartbeat) -> None:
    if node.state is NodeState.SUSPECT:
        settle_if_able(state, node)
    elif node.state is READY and state.bad_window.is_too_many(node.bad_window):
        change(state, node, Verb.AIL, f"bad heartbeats: {_fault(node, message)}")


def _fault(node: Node, message: Heartbeat) -> str:
    """Say what is bad about a heartbeat."""
    if not node.is_serving:
        return "none of its services runs"
    percentages = {
        "cpu_percent": message.cpu_percent,
        "gpu_percent": message.gpu_percent,
        "gpu_memory_percent": message.gpu_memory_percent,
        "memory_percent": message.memory_percent,
    }
    return ", ".join(
        f"{name} is {part:g}, which is not within 0..100"
        for name, part in percentages.items()
        if part is not None and not 0.0 <= part <= 100.0
    )


def _answer(state: ManagementState, connection: Connection, node: Node, number: int) -> None:
    interval_ns = node.interval_ns = state.intervals_ns[node.row % STEPS]
    answer = HeartbeatAck(
        number=number,
        state=STATE_NAMES[node.state],
        desired="drain" if node.state is DRAINING else "run",
        config_version=state.config_version,
        heartbeat_interval_s=interval_ns / 1e9,
        server_time_ms=state.wall_ms,
    )
    state.outbox.send(connection, answer)

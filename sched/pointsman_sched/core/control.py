"""Control connections: who dialled, what it said, and that it is gone."""

from collections.abc import Callable, Sequence

from pointsman_sched.core.fleet.health import Verb
from pointsman_sched.core.fleet.intervals import to_ns
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.heartbeat import hear, take_heartbeat, take_lanes_ready, take_ordinary
from pointsman_sched.core.joining.enrolment import enrol, judge_life, renew
from pointsman_sched.core.joining.registration import lose_connection, register, tell_refused
from pointsman_sched.core.lifecycle import READY, change, drain
from pointsman_sched.core.state import PAUSED, ManagementState, Peer
from pointsman_shm.memory.stats_names import Counter, Timing
from pointsman_wire.control_messages import (
    Drain,
    Enrol,
    Heartbeat,
    LanesReady,
    Leave,
    Register,
    Renew,
)
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.link import Accepted, Closed, Connection, Frame, Received, Waited
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Role

CROWDED_RETRY_MS = 500


def accepted(state: ManagementState, event: Accepted) -> None:
    """Take a new connection; above the bound of strangers the newest is dropped."""
    state.peers[event.connection] = Peer(event.peer, event.preamble.secured)
    strangers_max = state.config.limits.unauthenticated_max
    state.strangers.add(event.connection)
    if event.preamble.role is not Role.CONTROL:
        words = f"a {event.preamble.role.name.lower()} connection does not belong to the manager"
        _end(state, event.connection, Code.INVALID_MESSAGE, words)
    elif len(state.strangers) > strangers_max:
        _end(
            state,
            event.connection,
            Code.RATE_LIMITED,
            f"{strangers_max} connections wait to register; try again",
            retry_after_ms=CROWDED_RETRY_MS,
        )


def admit(state: ManagementState) -> None:
    """Begin a turn with those who wait to register, as many as a turn takes."""
    state.lobby.begin_turn(state.outbox.held_count)
    for since_ns, connection, frames in state.lobby.admit():
        state.stats.observe(Timing.MANAGEMENT_WAIT, state.now_ns - since_ns)
        _hear(state, connection, frames)


def received(state: ManagementState, event: Received) -> None:
    """Take the messages of one read, in order; behind a registration that waits, all wait."""
    if state.lobby.has(event.connection):
        _let_wait(state, event.connection, event.frames)
    else:
        _hear(state, event.connection, event.frames)


def waited(state: ManagementState, event: Waited) -> None:
    """Take a heartbeat that came a moment ago, as of then.

    What `may_wait` said of it holds still, but for what the turn began with: as `_hear` looks.
    """
    came = event.event  # a Received of one Heartbeat
    connection = came.connection
    peer = state.peers[connection]
    node = peer.node
    if node is None or peer.is_ended or state.now_ns >= peer.look_at_ns:
        received(state, came)
        return
    # When it came on the core's clock, or now if this process stood since: never too early, as how
    # long a node may be silent begins when it was heard.
    heard_at_ns = state.clock_ns if state.has_paused else event.came_at_ns - state.late_ns
    take_ordinary(state, connection, node, came.frames[0][0], heard_at_ns)


def may_wait(state: ManagementState, event: object) -> bool:
    """Is this nothing but an ordinary heartbeat, no news if it was taken a moment later?"""
    if type(event) is not Received or len(frames := event.frames) != 1:
        return False
    connection = event.connection
    message = frames[0][0]
    if type(message) is not Heartbeat or message.services is not None:
        return False
    peer = state.peers.get(connection)
    if peer is None or connection in state.lobby.waiting:
        return False
    node = peer.node
    return (
        node is not None
        and node.state is READY
        and node.was_good
        and not node.is_silent
        and message.pause is (node.flags & PAUSED != 0)
    )


def _hear(state: ManagementState, connection: Connection, frames: Sequence[Frame]) -> None:
    peer = state.peers[connection]
    for at, (message, _payload) in enumerate(frames):
        if peer.is_ended:
            return
        handler = NODE_HANDLERS.get(type(message))
        if handler is not None and peer.node is not None and state.now_ns < peer.look_at_ns:
            handler(state, connection, peer.node, message)
            continue
        if isinstance(message, Register) and not state.lobby.may_enter():
            _let_wait(state, connection, frames[at:])
            return
        _take(state, connection, message)


def _let_wait(state: ManagementState, connection: Connection, frames: Sequence[Frame]) -> None:
    # It has said who it is, and is bounded by the lobby from now on.
    state.strangers.discard(connection)
    if not state.lobby.wait(state.now_ns, connection, frames):
        state.lobby.leave(connection)
        words = "more nodes wait to register than there is room for; try again"
        _end(state, connection, Code.RATE_LIMITED, words, retry_after_ms=CROWDED_RETRY_MS)


def closed(state: ManagementState, event: Closed) -> None:
    """A connection is gone; if it was a node's, the node is Suspect at once."""
    peer = state.peers.pop(event.connection)
    state.strangers.discard(event.connection)
    state.lobby.leave(event.connection)
    if peer.node is not None:
        lose_connection(state, peer.node, f"the control connection broke: {event.reason}")


def _take(state: ManagementState, connection: Connection, message: Message | Unreadable) -> None:
    if isinstance(message, Register):
        register(state, connection, message)
        return
    if isinstance(message, Unreadable):
        _unreadable(state, connection, message)
        return
    if isinstance(message, Enrol):
        _enrol(state, connection, message)
        return
    peer = state.peers[connection]
    node = peer.node
    if state.now_ns >= peer.look_at_ns and (fault := judge_life(state, peer)):
        state.stats.add(Counter.CERTIFICATES_REFUSED)
        _end(state, connection, Code.UNAUTHORIZED, fault)
        return
    handler = NODE_HANDLERS.get(type(message))
    if handler is None:
        return
    if node is None:
        _end(state, connection, Code.INVALID_MESSAGE, "register first, then say anything else")
        return
    handler(state, connection, node, message)


def _unreadable(state: ManagementState, connection: Connection, frame: Unreadable) -> None:
    """A bad registration ends the connection, an unknown message is only answered."""
    state.stats.add(Counter.BAD_FRAMES)
    if frame.name == "register":
        state.stats.add(Counter.REGISTRATIONS_REFUSED)
        words = _field_first(frame.reason)
        tell_refused(state, state.peers[connection], "", Code.INVALID_CAPABILITY_SCHEMA, words)
        _end(state, connection, Code.INVALID_CAPABILITY_SCHEMA, words)
    elif state.peers[connection].node is None:
        _end(state, connection, Code.INVALID_MESSAGE, f"{frame.name or 'a frame'}: {frame.reason}")
    else:
        words = f"message {frame.name or '(no type)'}: {frame.reason}"
        state.outbox.complain(connection, Code.INVALID_MESSAGE, words)


def _field_first(reason: str) -> str:
    """Turn "Expected `int` <= 9 - at `$.slots`" into words that begin with the field."""
    what, _, where = reason.partition(" - at `$")
    field = where.rstrip("`").lstrip(".")
    return f"{field}: {what}" if field else what


def _end(
    state: ManagementState,
    connection: Connection,
    code: Code,
    words: str,
    *,
    retry_after_ms: int | None = None,
) -> None:
    peer = state.peers[connection]
    state.outbox.refuse(connection, code, words, retry_after_ms=retry_after_ms)
    peer.is_ended = True
    if peer.node is not None:
        lose_connection(state, peer.node, words)


def _drain(state: ManagementState, connection: Connection, node: Node, message: Drain) -> None:
    """The node asks for no new jobs."""
    hear(state, node)
    deadline_ns = state.clock_ns + to_ns(message.deadline_s)
    drain(state, node, deadline_ns, message.reason or "asked by the node")


def _leave(state: ManagementState, connection: Connection, node: Node, message: Leave) -> None:
    """The node goes for good: what it still runs fails over at once, its id is free again."""
    is_enrolled = state.peers[connection].secured is not None
    change(state, node, Verb.END, message.reason or "left")
    if is_enrolled:
        return  # its certificate is its own until it ends, or is revoked
    freed = state.identities.release(node.node_id)
    if freed is not None:
        state.outbox.record(freed)


def _enrol(state: ManagementState, connection: Connection, message: Enrol) -> None:
    """A machine wants to become a node: it gets its certificate and comes again, or it is told."""
    refusal = enrol(state, connection, message)
    if refusal is not None:
        state.stats.add(Counter.ENROLMENTS_REFUSED)
        retry_ms = refusal.retry_after_ms
        _end(state, connection, refusal.code, refusal.words, retry_after_ms=retry_ms)


def _renew(state: ManagementState, connection: Connection, node: Node, message: Renew) -> None:
    hear(state, node)
    refusal = renew(state, connection, message)
    if refusal is not None:
        state.outbox.complain(connection, refusal.code, refusal.words)


NODE_HANDLERS: dict[type, Callable[..., None]] = {
    Heartbeat: take_heartbeat,
    LanesReady: take_lanes_ready,
    Drain: _drain,
    Leave: _leave,
    Renew: _renew,
}

"""How a node joins: everything that can refuse it first, then every change at once.

order: schema -> key -> fields -> capability class -> quarantine -> damping -> row.  A living node
that registers again keeps row and generation and goes up one epoch; one that was Offline gets a new
row, as workers may still settle what they had on the old one.
"""

from pointsman_sched.core.events import NodeNews
from pointsman_sched.core.federation.merging import lose_remote
from pointsman_sched.core.fleet.class_interner import ClassesFull
from pointsman_sched.core.fleet.health import Verb
from pointsman_sched.core.fleet.intervals import NANOSECONDS
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.fleet.quarantine import ASK_AGAIN_NS
from pointsman_sched.core.joining.certified import certified
from pointsman_sched.core.joining.declaration import (
    capability_of,
    check_declaration,
    check_schema,
    flags_of,
)
from pointsman_sched.core.joining.identities import Admission, Refusal
from pointsman_sched.core.lifecycle import change, forget, hang_up, refile, stay_drained
from pointsman_sched.core.state import ManagementState, Peer
from pointsman_shm.logs.events import Event
from pointsman_shm.memory.rows import UNKNOWN_LOAD, NodeState
from pointsman_shm.memory.stats_names import Counter, Gauge
from pointsman_shm.tls.exposure import needs_certificate
from pointsman_wire.control_messages import Register, Registered
from pointsman_wire.errors import Code
from pointsman_wire.limits import PROTOCOL_VERSION
from pointsman_wire.link import Connection
from pointsman_wire.preamble import Secured
from pointsman_wire.tickets import lane_ticket

ROW_WAIT_MS = 1_000
NOT_IN_PLAINTEXT = (
    'auth.loopback = "required": nodes of this machine too show a certificate, so enrol this one '
    "(pointsman enrol) and have it come over TLS (tls.enabled)"
)


def register(state: ManagementState, connection: Connection, message: Register) -> None:
    """Take a node into the fleet, or tell it why not."""
    refusal = _try_register(state, connection, message)
    peer = state.peers[connection]
    if refusal is None:
        state.stats.add(Counter.REGISTRATIONS)
        _tell_joined(state, peer)
        return
    state.stats.add(Counter.REGISTRATIONS_REFUSED)
    tell_refused(state, peer, message.node_id, refusal.code, refusal.words)
    state.outbox.refuse(
        connection, refusal.code, refusal.words, retry_after_ms=refusal.retry_after_ms
    )
    peer.is_ended = True
    if peer.node is not None:
        lose_connection(state, peer.node, refusal.words)


def _tell_joined(state: ManagementState, peer: Peer) -> None:
    node = peer.node
    assert node is not None, "a registration that is not refused makes a node"
    fields = (("node_id", node.node_id), ("address", peer.address), ("epoch", node.epoch))
    words = f"node {node.node_id} registered from {peer.address}"
    state.outbox.wish(NodeNews(Event.NODE_JOINED, words, fields))


def tell_refused(state: ManagementState, peer: Peer, node_id: str, code: Code, words: str) -> None:
    """Write down that a registration was refused, by whom it came and why."""
    fields = (("node_id", node_id), ("address", peer.address), ("code", code.value))
    news = f"a registration from {peer.address} was refused: {code.value}: {words}"
    state.outbox.wish(NodeNews(Event.NODE_REFUSED, news, fields))


def lose_connection(state: ManagementState, node: Node, reason: str) -> None:
    """A control connection broke: no new jobs at once, the running ones go on until Offline."""
    assert node.is_live, f"{node.node_id} is Offline and had no connection to lose"
    peer = state.peers.get(node.connection) if node.connection is not None else None
    if peer is not None:
        peer.node = None
    node.connection = None
    state.set_silent(node, True)
    if node.state in (NodeState.REGISTERING, NodeState.READY, NodeState.DEGRADED):
        change(state, node, Verb.MISS, reason or "the control connection broke")
    refile(state, node)


def _try_register(
    state: ManagementState, connection: Connection, message: Register
) -> Refusal | None:
    config = state.config
    refusal = check_schema(message.schema_version)
    if refusal is not None:
        return refusal
    meant = _proven(state, state.peers[connection].secured, message)
    if isinstance(meant, Refusal):
        state.stats.add(Counter.CERTIFICATES_REFUSED)
        return meant
    message = meant
    admission = state.identities.examine(message.node_id, message.key, state.setup.entropy)
    if isinstance(admission, Refusal):
        return admission
    refusal = check_declaration(message, admission.entry.node_id, config)
    if refusal is not None:
        return refusal
    capability = capability_of(message, message.services)
    number = state.intern_class(capability, admission.entry.node_id)
    if isinstance(number, ClassesFull):
        return Refusal(Code.CAPABILITY_CLASSES_FULL, number.words)
    known = state.nodes.by_id.get(admission.entry.node_id)
    refusal = _kept_out(state, admission.entry.node_id, connection, known)
    if refusal is not None:
        return refusal
    is_here = known is not None and known.is_live and not known.instance
    node = known if known is not None and is_here else _place(state, admission)
    if isinstance(node, Refusal):
        return node
    state.damping.admitted(node.node_id, state.clock_ns)
    node.declare(tuple(message.services))
    node.slots_max = message.max_concurrency
    node.has_gpus = bool(message.hardware.gpus)
    node.flags = int(flags_of(capability))
    node.said = None
    node.class_number, node.capability = number, capability
    _enter(state, node, connection, admission)
    return None


def _proven(
    state: ManagementState, secured: Secured | None, message: Register
) -> Register | Refusal:
    """Return the registration under the name that its sender may have, or why he has none."""
    loopback = state.config.auth.loopback
    if secured is None and needs_certificate(is_tls=False, loopback=loopback):
        return Refusal(Code.UNAUTHORIZED, NOT_IN_PLAINTEXT)
    authority = state.setup.authority
    is_shared = authority is not None and authority.is_shared
    return certified(message, secured, state.identities, state.wall_s, is_shared=is_shared)


def _kept_out(
    state: ManagementState, node_id: str, connection: Connection, node: Node | None
) -> Refusal | None:
    """Refuse an id that two machines fight over, and one that comes and goes all the time."""
    clock_ns = state.clock_ns
    if left_ns := state.quarantine.left_ns(node_id, clock_ns):
        return _quarantined(state, node_id, left_ns)
    if node is not None and node.connection not in (None, connection):
        return _take_over(state, node)
    wait_ns = state.damping.wait_ns(node_id, clock_ns)
    if not wait_ns:
        return None
    state.stats.add(Counter.REGISTRATIONS_DAMPED)
    seconds = -(-wait_ns // NANOSECONDS)
    if node is not None:
        node.reason = f"flapping: it comes and goes, and is kept away for {seconds} s"
    words = f"node {node_id!r} comes and goes all the time: it may register again in {seconds} s"
    return Refusal(Code.RATE_LIMITED, words, _in_ms(wait_ns))


def _take_over(state: ManagementState, node: Node) -> Refusal | None:
    """The newer connection wins; three times a minute means two machines with one id (N7)."""
    assert node.connection is not None
    if not state.quarantine.note_takeover(node.node_id, state.clock_ns):
        words = f"a newer connection registered as {node.node_id!r} with the same key"
        state.outbox.complain(node.connection, Code.CONFLICT, words)
        hang_up(state, node, words)
        return None
    state.stats.add(Counter.QUARANTINES)
    left_ns = state.quarantine.left_ns(node.node_id, state.clock_ns)
    refusal = _quarantined(state, node.node_id, left_ns)
    state.outbox.complain(
        node.connection, refusal.code, refusal.words, retry_after_ms=refusal.retry_after_ms
    )
    change(state, node, Verb.END, "quarantined: two machines claim this id with the same key")
    return refusal


def _quarantined(state: ManagementState, node_id: str, left_ns: int) -> Refusal:
    if ordered := state.quarantine.words_of(node_id):
        words = f"node id {node_id!r} is kept out for {left_ns // NANOSECONDS} s: {ordered}"
        return Refusal(Code.RATE_LIMITED, words, _in_ms(min(left_ns, ASK_AGAIN_NS)))
    words = (
        f"node id {node_id!r} is claimed by two machines with the same key (a copied disk?); "
        f"both are kept out for {state.config.nodes.quarantine_s:g} s: "
        "remove the state of one of them"
    )
    return Refusal(Code.NODE_ID_CONFLICT, words, _in_ms(left_ns))


def _in_ms(duration_ns: int) -> int:
    return duration_ns // 1_000_000 + 1


def _place(state: ManagementState, admission: Admission) -> Node | Refusal:
    """Find a row for a node that has none; the one longest Offline gives way in a full fleet."""
    node_id = admission.entry.node_id
    former = state.nodes.by_id.get(node_id)
    if former is not None:
        if former.is_live:
            lose_remote(state, former, "it has moved here")
        forget(state, former)
    taken = state.rows.take(lambda: state.workers.applied_version(state.now_ns))
    if taken is None and not state.rows.waiting_count:
        _make_room(state)
    if taken is None:
        max_nodes = state.config.nodes.max_nodes
        if state.rows.waiting_count:
            words = "a place in the fleet becomes free in a moment; try again"
            return Refusal(Code.FLEET_FULL, words, ROW_WAIT_MS)
        words = f"the fleet has {max_nodes} nodes, as many as nodes.max_nodes allows"
        return Refusal(Code.FLEET_FULL, words)
    row, generation = taken
    state.setup.crash("manager-mid-registration")
    node = Node(node_id, row, generation, state.clock_ns)
    state.nodes.add(node)
    stay_drained(state, node)
    state.stats.gauge(Gauge.NODES, len(state.nodes))
    return node


def _make_room(state: ManagementState) -> None:
    """Have a row freed in a full fleet: of who is gone, or else of another instance's node."""
    nodes = state.nodes
    if not nodes.offline and nodes.remote:
        newest = nodes.remote[next(reversed(nodes.remote))]
        lose_remote(state, newest, "it gives way to a node of this instance")
    if nodes.offline:
        forget(state, next(iter(nodes.offline.values())))


def _enter(
    state: ManagementState, node: Node, connection: Connection, admission: Admission
) -> None:
    """Make a placed node what it declared to be, show it, and answer it."""
    peer = state.peers[connection]
    if peer.node is not None and peer.node is not node:
        # One connection that registers under another id: the former node has no connection now.
        lose_connection(state, peer.node, "its connection registered as another node")
    peer.node = node
    state.strangers.discard(connection)
    node.connection = connection
    node.epoch = admission.entry.epoch
    node.is_proven = admission.entry.is_proven
    node.is_lanes_ready = node.was_good = False
    node.bad_window = 0
    node.heard_at_ns = state.clock_ns
    node.interval_ns = state.interval_ns(node.row)
    state.homecoming.came(node.node_id, state.clock_ns)
    state.remember(admission.entry)
    _write_words(state, node)
    if node.is_drained_by_operator:
        state.show_row(node)
    else:
        change(state, node, Verb.WELCOME, "registered")
        node.state_since_ns = state.clock_ns
        state.show_row(node)
    state.enter_pools(node)
    state.follow_record(node)
    state.set_silent(node, False)
    state.count_fleet()
    refile(state, node)
    state.setup.crash("manager-before-registered")
    answer = _answer(state, node, admission.issued_key, peer.secured)
    state.outbox.answer_recorded(admission.entry, connection, answer)


def _write_words(state: ManagementState, node: Node) -> None:
    """The words beside the standing word, which is written last."""
    rows = state.setup.memory.rows
    rows.epoch[node.row] = node.epoch
    rows.load[node.row] = UNKNOWN_LOAD
    rows.heartbeat_at_ns[node.row] = state.now_ns


def _answer(
    state: ManagementState, node: Node, issued_key: str, secured: Secured | None
) -> Registered:
    setup = state.setup
    return Registered(
        node_id=node.node_id,
        key=issued_key,
        row=node.row,
        generation=node.generation,
        epoch=node.epoch,
        worker_count=setup.worker_count,
        lane_ticket=lane_ticket(
            setup.ticket_key,
            (node.node_id, node.row, node.generation, node.epoch),
            b"" if secured is None else secured.key_digest,
        ),
        instance=setup.instance,
        instance_uid=setup.instance_uid,
        server_version=setup.server_version,
        protocol_version=PROTOCOL_VERSION,
        heartbeat_interval_s=node.interval_ns / 1e9,
        offline_intervals=state.intervals.offline_intervals,
        lanes_stay=True,
    )

"""What workers tell: models that were missing, nodes that do not read their lanes."""

from collections.abc import Callable

from pointsman_sched.core.events import TellWorker, WorkerGone, WorkerSaid
from pointsman_sched.core.federation.shared_pairing import pairing_answer
from pointsman_sched.core.fleet.model_marks import NAME_BYTES_MAX
from pointsman_sched.core.joining.pairing import Claim
from pointsman_sched.core.joining.registration import lose_connection
from pointsman_sched.core.lifecycle import hang_up
from pointsman_sched.core.state import ManagementState
from pointsman_shm.memory.rows import NodeState
from pointsman_shm.uplink import (
    ManagerWelcome,
    ModelUnavailable,
    NameHeld,
    NodeZombie,
    PairingAsked,
    WorkerHello,
    WorkerPressed,
)
from pointsman_wire.errors import Code


def worker_said(state: ManagementState, event: WorkerSaid) -> None:
    """Take what one worker tells; a stranger's words count for nothing."""
    if state.workers.is_worker(event.worker_index):
        UPLINK_HANDLERS[type(event.message)](state, event.worker_index, event.message)


def worker_gone(state: ManagementState, event: WorkerGone) -> None:
    """A worker's uplink broke."""
    if state.workers.is_worker(event.worker_index):
        state.workers.left(event.worker_index, state.now_ns)


def _hello(state: ManagementState, worker_index: int, message: WorkerHello) -> None:
    state.workers.arrived(worker_index)
    setup = state.setup
    welcome = ManagerWelcome(worker_count=setup.worker_count, instance_uid=setup.instance_uid)
    state.outbox.wish(TellWorker(worker_index, welcome))
    if state.federation is not None:
        has_name = state.federation.has_name
        if has_name is not None:  # else it is told when Redis has said so
            state.outbox.wish(TellWorker(worker_index, NameHeld(is_ours=has_name)))
        state.outbox.wish(TellWorker(worker_index, state.federation.shares.message()))
        state.outbox.wish(TellWorker(worker_index, state.federation.elsewhere.message))


def _model_unavailable(
    state: ManagementState, worker_index: int, message: ModelUnavailable
) -> None:
    """Skip this service of this node for a while."""
    node = state.nodes.find(message.row, message.generation)
    if node is None or not node.is_live:
        return
    if max(len(message.service.encode()), len(message.version.encode())) > NAME_BYTES_MAX:
        return
    key = (message.row, message.generation, message.service, message.version)
    if state.marks.mark(key, state.now_ns):
        state.dirty.add(state.layout.marks)
        state.show_row(node)


def _node_zombie(state: ManagementState, worker_index: int, message: NodeZombie) -> None:
    """A node beats but does not read its lane: it has to register anew before it gets jobs."""
    node = state.nodes.find(message.row, message.generation)
    if node is None or node.epoch != message.epoch or node.instance:
        return
    if node.state not in (NodeState.REGISTERING, NodeState.READY, NodeState.DEGRADED):
        return
    words = f"a worker's lane is not read: {message.reason}"
    node.is_lanes_ready = False
    if node.connection is not None:
        state.outbox.complain(node.connection, Code.NODE_UNAVAILABLE, words)
    hang_up(state, node, words)
    lose_connection(state, node, words)


def _pairing_asked(state: ManagementState, worker_index: int, message: PairingAsked) -> None:
    """A session came with a pairing code."""
    claim = Claim(message.code, message.tenant, message.session_id, message.address)
    if state.federation is not None:
        state.federation.pairing.ask(state, worker_index, message.number, claim)
        return
    found = state.pairing.redeem(claim, state.now_ns)
    state.outbox.wish(TellWorker(worker_index, pairing_answer(message.number, found)))


def _worker_pressed(state: ManagementState, worker_index: int, message: WorkerPressed) -> None:
    """While a worker has too much to do, nodes beat half as often."""
    state.workers.pressed(worker_index, state.clock_ns, is_pressed=message.step > 0)


UPLINK_HANDLERS: dict[type, Callable[..., None]] = {
    WorkerHello: _hello,
    ModelUnavailable: _model_unavailable,
    NodeZombie: _node_zombie,
    PairingAsked: _pairing_asked,
    WorkerPressed: _worker_pressed,
}

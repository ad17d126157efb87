"""What operators order of nodes and pools: drain, pause, quarantine, and each taken back.

An order names a node or a pool; one that names nothing that is there changes nothing and is
answered with an error.  What is ordered of a pool is ordered of the nodes that are in it now, a
pause also of those that come.
"""

from collections.abc import Callable
from typing import Any

from pointsman_sched.core.events import Answer, OrderGiven
from pointsman_sched.core.fleet.health import Verb
from pointsman_sched.core.fleet.intervals import to_ns
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.fleet.quarantine import ASK_AGAIN_NS
from pointsman_sched.core.lifecycle import DRAINED, change, drain_by_order, undrain
from pointsman_sched.core.orders.standing import ORDERS_MAX
from pointsman_sched.core.state import ManagementState
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, Message, error_answer
from pointsman_wire.queries.operating_messages import (
    DrainOrder,
    OrderDone,
    PauseOrder,
    QuarantineOrder,
    ReleaseOrder,
    ResumeOrder,
    UndrainOrder,
)

WORDS_LENGTH_MAX = 120  # of a reason that is kept


def order_given(state: ManagementState, event: OrderGiven) -> None:
    """Carry out an order, and answer it: at once if it cannot be, else when it is published.

    From then on every worker goes by it, and a manager after this one.
    """
    answer = Answer(event.ticket, _CARRIED_OUT[type(event.order)](state, event.order))
    if isinstance(answer.message, Error):
        state.outbox.wish(answer)
    else:
        state.outbox.when_published.append(answer)
        state.dirty.add(state.layout.policy)


def _drain(state: ManagementState, order: DrainOrder) -> Message:
    nodes = _nodes_of(state, order.node_id, order.pool)
    if isinstance(nodes, Error):
        return nodes
    wanted_s = order.deadline_s
    left_s = state.config.nodes.drain_s if wanted_s is None else wanted_s
    for node in nodes:
        drain_by_order(state, node, state.clock_ns + to_ns(left_s), order.reason or DRAINED)
    return OrderDone(
        words=f"{_count(nodes)} takes no new jobs and is offline in {left_s:g} s",
        nodes=len(nodes),
        jobs=_held(state, nodes),
        left_s=left_s,
    )


def _undrain(state: ManagementState, order: UndrainOrder) -> Message:
    node = state.nodes.by_id.get(order.node_id)
    is_away = node is None or not node.is_live
    if is_away and order.pool is None and state.pauses.drains.pop(order.node_id, None) is not None:
        if node is not None:  # a manager after this one goes by its row
            node.is_drained_by_operator = False
            state.show_row(node)
        words = f"node {order.node_id} gets jobs again when it is back"
        return OrderDone(words=words, nodes=1)
    nodes = _nodes_of(state, order.node_id, order.pool)
    if isinstance(nodes, Error):
        return nodes
    drained = [node for node in nodes if node.is_drained_by_operator]
    if not drained:
        which = f"node {order.node_id}" if order.node_id else f"no node of pool {order.pool}"
        not_it = "not " if order.node_id else ""
        return error_answer(Code.CONFLICT, f"{which} is {not_it}drained by an operator")
    for node in drained:
        undrain(state, node)
    words = f"{_count(drained)} gets jobs again as soon as it is ready"
    return OrderDone(words=words, nodes=len(drained))


def _pause(state: ManagementState, order: PauseOrder) -> Message:
    if order.pool is None:
        state.pauses.is_paused = True
        return OrderDone(words="new jobs are refused; those that were accepted go on")
    nodes = _nodes_of(state, "", order.pool)
    if isinstance(nodes, Error):
        return nodes
    if len(state.pauses.pools) >= ORDERS_MAX:
        return error_answer(Code.RATE_LIMITED, f"{ORDERS_MAX} pools are paused: pause the service")
    state.pauses.pools[order.pool] = None
    _show_pool(state, order.pool)
    words = f"pool {order.pool} gets no new jobs; those that run go on"
    return OrderDone(words=words, nodes=len(nodes), jobs=_held(state, nodes))


def _resume(state: ManagementState, order: ResumeOrder) -> Message:
    if order.pool is None:
        if not state.pauses.is_paused:
            return error_answer(Code.CONFLICT, "the service is not paused")
        state.pauses.is_paused = False
        return OrderDone(words="new jobs are taken again")
    if order.pool not in state.pauses.pools:
        return error_answer(Code.NOT_FOUND, f"pool {order.pool} is not paused")
    del state.pauses.pools[order.pool]
    nodes = _members(state, order.pool)
    _show_pool(state, order.pool)
    return OrderDone(words=f"pool {order.pool} gets jobs again", nodes=len(nodes))


def _quarantine(state: ManagementState, order: QuarantineOrder) -> Message:
    if not state.identities.is_known(order.node_id):
        return error_answer(Code.NOT_FOUND, f"no node {order.node_id!r} has ever joined")
    if len(state.quarantine.by_operator(state.clock_ns)) >= ORDERS_MAX:
        words = f"{ORDERS_MAX} nodes are quarantined, as many as may be: release some"
        return error_answer(Code.RATE_LIMITED, words)
    words = f"quarantined by an operator: {order.reason[:WORDS_LENGTH_MAX]}".removesuffix(": ")
    state.quarantine.keep_out(order.node_id, state.clock_ns + to_ns(order.lasts_s), words)
    node = state.nodes.by_id.get(order.node_id)
    is_here = node is not None and node.is_live and not node.instance
    jobs = 0
    if node is not None and is_here:
        jobs = state.setup.memory.ledger.held(node.row)
        if node.connection is not None:
            retry_ms = min(to_ns(order.lasts_s), ASK_AGAIN_NS) // 1_000_000
            state.outbox.complain(
                node.connection, Code.NODE_UNAVAILABLE, words, retry_after_ms=retry_ms
            )
        change(state, node, Verb.END, words)
    return OrderDone(
        words=f"node {order.node_id} is kept out for {order.lasts_s:g} s",
        nodes=int(is_here),
        jobs=jobs,
        left_s=order.lasts_s,
    )


def _release(state: ManagementState, order: ReleaseOrder) -> Message:
    if not state.quarantine.left_ns(order.node_id, state.clock_ns):
        return error_answer(Code.NOT_FOUND, f"node {order.node_id!r} is not quarantined")
    state.quarantine.release(order.node_id)
    return OrderDone(words=f"node {order.node_id} may register again", nodes=1)


def _nodes_of(state: ManagementState, node_id: str, pool: int | None) -> list[Node] | Error:
    """The living nodes of this instance that an order names; an Error when it names nothing."""
    if (pool is None) is (not node_id):
        return error_answer(Code.INVALID_MESSAGE, "name a node or a pool, and not both")
    if pool is not None:
        if all(record.id != pool for record in state.planner.page().pools):
            return error_answer(Code.NOT_FOUND, f"there is no pool {pool}")
        return _members(state, pool)
    node = state.nodes.by_id.get(node_id)
    if node is None or not node.is_live:
        return error_answer(Code.NOT_FOUND, f"no node {node_id!r} is in the fleet")
    if node.instance:
        words = f"node {node_id!r} is of instance {node.instance}: ask there"
        return error_answer(Code.CONFLICT, words)
    return [node]


def _members(state: ManagementState, pool: int) -> list[Node]:
    pools_of = state.planner.pools_of
    nodes = state.nodes.by_id.values()
    own = (node for node in nodes if node.is_live and not node.instance)
    return [node for node in own if pool in pools_of(node.node_id)]


def _show_pool(state: ManagementState, pool: int) -> None:
    """Say in the rows of all that are in it whether it is paused: here also of others' nodes."""
    pools_of = state.planner.pools_of
    for node in state.nodes.by_id.values():
        if pool in pools_of(node.node_id):
            state.show_row(node)


def _held(state: ManagementState, nodes: list[Node]) -> int:
    return sum(state.setup.memory.ledger.held(node.row) for node in nodes)


def _count(nodes: list[Node]) -> str:
    return f"node {nodes[0].node_id}" if len(nodes) == 1 else f"each of {len(nodes)} nodes"


_CARRIED_OUT: dict[type, Callable[[ManagementState, Any], Message]] = {
    DrainOrder: _drain,
    UndrainOrder: _undrain,
    PauseOrder: _pause,
    ResumeOrder: _resume,
    QuarantineOrder: _quarantine,
    ReleaseOrder: _release,
}

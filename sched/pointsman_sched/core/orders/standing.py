"""Orders that stand until they are taken back: pauses, drains and quarantines.

They are published with the policy page, where workers read what concerns them and a successor of
this manager finds all of them; so they last as long as the service, whichever process dies.
"""

from pointsman_sched.core.fleet.pauses import OVER
from pointsman_sched.core.state import ManagementState
from pointsman_shm.rules.pools import PoolMode
from pointsman_shm.snapshot.records import OrdersRecord

# Of each kind but drains: they take less than ORDERS_BYTES_MAX of the policy page.
ORDERS_MAX = 64
_DRAIN_BYTES = 12  # of a drain beside its node's id
_DRAINS_HEAD_BYTES = 8


def orders_record(state: ManagementState) -> OrdersRecord:
    """Return what the policy page says of standing orders, drains apart."""
    pauses = state.pauses
    aside = pauses.pools_aside
    return OrdersRecord(
        is_paused=pauses.is_paused,
        paused_pools=tuple(sorted(pauses.pools)),
        kept_out=state.quarantine.by_operator(state.clock_ns)[:ORDERS_MAX],
        pool_keys=state.planner.keys_of([*pauses.pools, *aside.get(PoolMode.LANGUAGE, ())]),
        paused_aside=tuple((mode, tuple(sorted(pools))) for mode, pools in sorted(aside.items())),
    )


def drains_that_fit(state: ManagementState, room: int) -> tuple[tuple[str, int], ...]:
    """Return the drains that a successor must be told of, in at most so many bytes, oldest first.

    That a node of the fleet is drained is in its row as well: of too many drains (some thousands)
    their times are left out, and only then who is away, the oldest first.
    """
    drains = state.pauses.drains
    told: set[str] = set()
    room -= _DRAINS_HEAD_BYTES
    newest_first = [*reversed(drains)]
    newest_first.sort(key=lambda node_id: _is_in_row(state, node_id))
    for node_id in newest_first:
        room -= _DRAIN_BYTES + len(node_id.encode())
        if room < 0:
            break
        told.add(node_id)
    return tuple([drain for drain in drains.items() if drain[0] in told])


def _is_in_row(state: ManagementState, node_id: str) -> bool:
    node = state.nodes.by_id.get(node_id)
    is_over = state.pauses.drains[node_id] == OVER
    return not is_over and node is not None and node.is_live and node.is_drained_by_operator


def restore_orders(state: ManagementState, record: OrdersRecord) -> None:
    """Take over what a predecessor was ordered; call before its nodes are recovered."""
    state.pauses.is_paused = record.is_paused
    state.pauses.pools.update(dict.fromkeys(record.paused_pools))
    for mode, pools in record.paused_aside:
        state.pauses.pools_aside[mode] = dict.fromkeys(pools)
    state.pauses.drains.update(record.drains)
    for node_id, until_ns, words in record.kept_out:
        state.quarantine.keep_out(node_id, until_ns, words)

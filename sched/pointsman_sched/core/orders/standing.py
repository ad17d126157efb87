"""Orders that stand until they are taken back: pauses, drains and quarantines.

They are published with the policy page, where workers read what concerns them and a successor of
this manager finds all of them; so they last as long as the service, whichever process dies.
"""

from pointsman_sched.core.state import ManagementState
from pointsman_shm.rules.pools import PoolMode
from pointsman_shm.snapshot.records import OrdersRecord

# Of each kind: they take less than ORDERS_BYTES_MAX of the policy page.
ORDERS_MAX = 64
# That a living node is drained is in its row as well; of more than these the time is forgotten.
DRAINS_MAX = 200


def orders_record(state: ManagementState) -> OrdersRecord:
    """Return what the policy page says of standing orders."""
    pauses = state.pauses
    aside = pauses.pools_aside
    return OrdersRecord(
        is_paused=pauses.is_paused,
        paused_pools=tuple(sorted(pauses.pools)),
        kept_out=state.quarantine.by_operator(state.clock_ns)[:ORDERS_MAX],
        drains=tuple([*pauses.drains.items()][-DRAINS_MAX:]),
        pool_keys=state.planner.keys_of([*pauses.pools, *aside.get(PoolMode.LANGUAGE, ())]),
        paused_aside=tuple((mode, tuple(sorted(pools))) for mode, pools in sorted(aside.items())),
    )


def restore_orders(state: ManagementState, record: OrdersRecord) -> None:
    """Take over what a predecessor was ordered; call before its nodes are recovered."""
    state.pauses.is_paused = record.is_paused
    state.pauses.pools.update(dict.fromkeys(record.paused_pools))
    for mode, pools in record.paused_aside:
        state.pauses.pools_aside[mode] = dict.fromkeys(pools)
    state.pauses.drains.update(record.drains)
    for node_id, until_ns, words in record.kept_out:
        state.quarantine.keep_out(node_id, until_ns, words)

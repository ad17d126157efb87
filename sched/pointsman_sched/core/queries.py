"""Answers to typed questions: read from the registry, changing nothing."""

from pointsman_sched.core.federation.listing import instances
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.state import ManagementState
from pointsman_shm.memory.rows import PERCENT_UNKNOWN, NodeState, RowFlag, unpack_load
from pointsman_shm.rules.languages import describe_languages
from pointsman_wire.admin_messages import (
    NodeLine,
    Nodes,
    NodesQuery,
    SnapshotQuery,
    SnapshotView,
    Status,
    StatusQuery,
)
from pointsman_wire.errors import Code
from pointsman_wire.messages import Message, error_answer
from pointsman_wire.queries.fleet_messages import InstancesQuery, PoolLine, Pools, PoolsQuery


def answer(state: ManagementState, query: object) -> Message:
    """Return the answer to an admin query, an Error for one that the manager cannot answer."""
    if isinstance(query, StatusQuery):
        return _status(state)
    if isinstance(query, NodesQuery):
        return _nodes(state, query)
    if isinstance(query, SnapshotQuery):
        return _snapshot(state)
    if isinstance(query, InstancesQuery):
        return instances(state)
    if isinstance(query, PoolsQuery):
        return _pools(state)
    words = f"the manager does not answer {type(query).__name__}; ask a worker"
    return error_answer(Code.INVALID_MESSAGE, words)


def _age_ms(state: ManagementState, at_ns: int) -> float:
    return max(0, state.now_ns - at_ns) / 1e6


def _status(state: ManagementState) -> Status:
    setup = state.setup
    view = state.stats.read()
    catalog = setup.memory.catalog
    return Status(
        process="manager",
        pid=setup.process_id,
        uptime_s=(state.now_ns - setup.started_at_ns) / 1e9,
        instance=setup.instance,
        version=setup.server_version,
        address=setup.address,
        worker_count=setup.worker_count,
        snapshot_version=catalog.version,
        snapshot_age_ms=_age_ms(state, catalog.published_at_ns),
        counters={name: count for name, count in view.counters.items() if count},
        gauges={name: value for name, value in view.gauges.items() if value},
        timings_us={
            name: timing.figures_us() for name, timing in view.timings.items() if timing.count
        },
    )


def _nodes(state: ManagementState, query: NodesQuery) -> Nodes:
    if query.node_id:
        found = [node for node in [state.nodes.by_id.get(query.node_id)] if node is not None]
    else:
        found = state.nodes.after(query.after, query.limit + 1)
    names = {pool.id: pool.name for pool in state.planner.page().pools}
    catalog = state.setup.memory.catalog
    return Nodes(
        nodes=[_line(state, node, names) for node in found[: query.limit]],
        total=len(state.nodes),
        more=len(found) > query.limit,
        snapshot_version=catalog.version,
        snapshot_age_ms=_age_ms(state, catalog.published_at_ns),
    )


def _pools(state: ManagementState) -> Pools:
    page = state.planner.page()
    return Pools(
        pools=[
            PoolLine(
                id=pool.id,
                name=pool.name,
                services=[*pool.required_types],
                languages=[*pool.languages],
                nodes=sum(online for _, online, _ in pool.classes),
                ready=sum(ready for _, _, ready in pool.classes),
                paused=pool.id in state.pauses.pools,
            )
            for pool in page.pools
        ],
        mode=page.mode,
        paused=state.pauses.is_paused,
        snapshot_version=state.setup.memory.catalog.version,
    )


def _line(state: ManagementState, node: Node, pool_names: dict[int, str]) -> NodeLine:
    memory = state.setup.memory
    load = unpack_load(memory.rows.load[node.row])
    return NodeLine(
        node_id=node.node_id,
        state=node.state.name.lower(),
        services=list(node.capability.types_ready),
        languages=describe_languages(node.capability.languages),
        pools=[pool_names.get(pool, str(pool)) for pool in state.planner.pools_of(node.node_id)],
        held=memory.ledger.held(node.row),
        slots_max=node.slots_max,
        cpu_percent=_percent(load.cpu),
        memory_percent=_percent(load.memory),
        gpu_percent=_percent(load.gpu),
        heartbeat_age_ms=_age_ms(state, memory.rows.heartbeat_at_ns[node.row]),
        row=node.row,
        generation=node.generation,
        epoch=node.epoch,
        class_number=node.class_number,
        reason=_reason(state, node),
        paused=bool(node.flags & RowFlag.PAUSED) or state.is_paused(node),
        instance=node.instance,
    )


def _reason(state: ManagementState, node: Node) -> str:
    """Why the node is as it is: of one that is Ready the pause, as that is what keeps jobs away."""
    pause = ""
    if node.flags & RowFlag.PAUSED and node.is_live:
        pause = f"paused by its owner: {node.pause_reason}".removesuffix(": ")
    elif node.is_live and state.is_paused(node):
        pause = "an operator has paused its pool"
    if not pause or node.is_ready:
        return pause or node.reason
    return f"{node.reason}; {pause}" if node.reason else pause


def _percent(value: int) -> float | None:
    return None if value == PERCENT_UNKNOWN else float(value)


def _snapshot(state: ManagementState) -> SnapshotView:
    memory = state.setup.memory
    counts: dict[str, int] = {}
    slots_total = 0
    for node in state.nodes.by_id.values():
        name = node.state.name.lower()
        counts[name] = counts.get(name, 0) + 1
        slots_total += node.slots_max if node.state is NodeState.READY else 0
    pools = state.planner.page()
    return SnapshotView(
        version=memory.catalog.version,
        age_ms=_age_ms(state, memory.catalog.published_at_ns),
        nodes=len(state.nodes),
        nodes_by_state=counts,
        classes=len(state.classes.classes),
        pools={pool.name: sum(online for _, online, _ in pool.classes) for pool in pools.pools},
        pool_mode=pools.mode,
        slots_total=slots_total,
        slots_held=memory.ledger.held_by_worker(),
        manager_alive=True,
    )

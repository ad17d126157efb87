"""Answers to admin queries from what the worker sees; they change nothing and are bounded."""

from heapq import nsmallest

from pointsman_shm.memory.rows import (
    PERCENT_UNKNOWN,
    NodeState,
    RowFlag,
    unpack_load,
    unpack_standing,
)
from pointsman_shm.rules.languages import describe_languages
from pointsman_shm.snapshot.records import NodeRecord
from pointsman_wire.admin_messages import (
    NodeLine,
    Nodes,
    NodesQuery,
    SessionLine,
    Sessions,
    SessionsQuery,
    SnapshotQuery,
    SnapshotView,
)
from pointsman_wire.errors import Code
from pointsman_wire.messages import Message, error_answer
from pointsman_wire.queries.explain_messages import (
    CoverageQuery,
    ExplainQuery,
    WhereQuery,
    WhyNotQuery,
)
from pointsman_wire.queries.work_messages import (
    DecisionsQuery,
    JobsQuery,
    QueuesQuery,
    ReasonsQuery,
)
from pointsman_workers.core.shard import MILLISECOND_NS, Shard
from pointsman_workers.core.state import Session
from pointsman_workers.explain.answering import Explainer
from pointsman_workers.explain.names import find_record
from pointsman_workers.operating.listing import list_decisions, list_jobs, list_queues

MANAGER_SILENT_MS = 1_000.0


def answer_query(shard: Shard, explainer: Explainer, query: Message) -> Message:
    """Answer one query, or say that this process cannot."""
    if isinstance(query, ExplainQuery):
        return explainer.explain(query)
    if isinstance(query, WhereQuery):
        return explainer.where(query)
    if isinstance(query, WhyNotQuery):
        return explainer.why_not(query)
    if isinstance(query, CoverageQuery):
        return explainer.coverage(query)
    if isinstance(query, NodesQuery):
        return _nodes(shard, query)
    if isinstance(query, SnapshotQuery):
        return _snapshot(shard)
    if isinstance(query, SessionsQuery):
        return _sessions(shard, query)
    return _about_work(shard, query)


def _about_work(shard: Shard, query: Message) -> Message:
    if isinstance(query, JobsQuery):
        return list_jobs(shard, query)
    if isinstance(query, QueuesQuery):
        return list_queues(shard, query)
    if isinstance(query, DecisionsQuery):
        return list_decisions(shard, query)
    if isinstance(query, ReasonsQuery):
        return shard.reasons.tell(shard.now_ns, query.minutes)
    return error_answer(Code.NOT_FOUND, "a worker does not answer this query")


def _nodes(shard: Shard, query: NodesQuery) -> Nodes:
    snapshot = shard.fleet.snapshot
    found, total = shard.fleet.nodes_by_name.after(snapshot, query.after, query.limit + 1)
    if query.node_id:
        named = find_record(snapshot, query.node_id)
        found = [named] if named is not None else []
    return Nodes(
        nodes=[_node_line(shard, record) for record in found[: query.limit]],
        total=total,
        more=len(found) > query.limit,
        snapshot_version=snapshot.version,
        snapshot_age_ms=shard.fleet.age_ns() / MILLISECOND_NS,
    )


def _node_line(shard: Shard, record: NodeRecord) -> NodeLine:
    fleet = shard.fleet
    standing = unpack_standing(fleet.standing[record.row])
    load = unpack_load(fleet.load[record.row])
    capability = fleet.snapshot.class_of(record.class_number)
    pools = fleet.snapshot.pool_view.pools
    beat_at_ns = shard.setup.memory.rows.heartbeat_at_ns[record.row]
    return NodeLine(
        node_id=record.node_id,
        state=standing.state.name.lower(),
        services=list(capability.types_ready) if capability is not None else [],
        languages=describe_languages(capability.languages) if capability is not None else "",
        pools=[pools[pool].name if pool in pools else str(pool) for pool in record.pools],
        held=fleet.held(record.row),
        slots_max=standing.slots_max,
        cpu_percent=_percent(load.cpu),
        memory_percent=_percent(load.memory),
        gpu_percent=_percent(load.gpu),
        heartbeat_age_ms=(fleet.clock_ns - beat_at_ns) / MILLISECOND_NS if beat_at_ns else 0.0,
        row=record.row,
        generation=record.generation,
        epoch=record.epoch,
        class_number=record.class_number,
        paused=bool(standing.flags & RowFlag.PAUSED),
        instance=record.instance,
    )


def _percent(value: int) -> float | None:
    return None if value == PERCENT_UNKNOWN else float(value)


def _snapshot(shard: Shard) -> SnapshotView:
    fleet = shard.fleet
    snapshot = fleet.snapshot
    by_state: dict[str, int] = {}
    slots_total = 0
    rows = 0
    ledger = shard.setup.memory.ledger
    held = [0] * shard.worker_count
    for page in snapshot.node_pages:
        for record in page:
            if record is None:
                continue
            rows += 1
            standing = unpack_standing(fleet.standing[record.row])
            by_state[standing.state.name.lower()] = by_state.get(standing.state.name.lower(), 0) + 1
            if standing.state is NodeState.READY:
                slots_total += standing.slots_max
            for worker in range(shard.worker_count):
                held[worker] += ledger.cells[record.row * ledger.stride + worker]
    age_ms = fleet.age_ns() / MILLISECOND_NS
    return SnapshotView(
        version=snapshot.version,
        age_ms=(fleet.clock_ns - snapshot.published_at_ns) / MILLISECOND_NS,
        beat_age_ms=age_ms,
        nodes=rows,
        nodes_by_state=by_state,
        classes=snapshot.classes.count,
        pools={
            pool.name: snapshot.pool_view.counts(pool.id).online
            for pool in snapshot.pool_view.all.records
        },
        pool_mode=snapshot.pools.mode,
        slots_total=slots_total,
        slots_held=held,
        manager_alive=age_ms < MANAGER_SILENT_MS,
    )


def _sessions(shard: Shard, query: SessionsQuery) -> Sessions:
    after, tenant = query.after, query.after_tenant
    later = [
        session
        for session in shard.sessions.values()
        if session.session_id > after
        or (tenant is not None and session.session_id == after and session.tenant > tenant)
    ]
    chosen = nsmallest(query.limit, later, key=lambda one: (one.session_id, one.tenant))
    return Sessions(
        sessions=[_session_line(shard, session) for session in chosen],
        total=len(shard.sessions),
        more=len(later) > len(chosen),
    )


def _session_line(shard: Shard, session: Session) -> SessionLine:
    binding = session.binding
    pool = shard.fleet.snapshot.pool_view.pools.get(binding.pool_id) if binding else None
    return SessionLine(
        session_id=session.session_id,
        tenant=session.tenant,
        pair=f"{session.src_lang}>{session.tgt_lang}",
        pool=pool.name if pool is not None else "",
        connected=session.peer is not None,
        jobs=len(session.open_jobs),
        last_node=session.last_node_id,
    )

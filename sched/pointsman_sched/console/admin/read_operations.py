"""The operations that change nothing."""

from typing import Annotated

import msgspec

from pointsman_sched.console.admin.operations import (
    Api,
    Call,
    Limit,
    Operation,
    PageParameters,
    Parameters,
)
from pointsman_sched.console.admin.views import (
    AuditView,
    CoveragePage,
    DecisionsView,
    ExplainedView,
    InstancesView,
    JobsPage,
    NodesPage,
    PoisonView,
    PoolsView,
    ProcessesView,
    QueuesView,
    ReasonsView,
    SessionsPage,
)
from pointsman_sched.console.admin.walking import walk_jobs, walk_sessions
from pointsman_wire.admin_messages import NodeLine
from pointsman_wire.messages import Name, Number, RequestId, SessionId
from pointsman_wire.queries.explain_messages import (
    CoverageQuery,
    ExplainQuery,
    JobAsk,
    WhatIfs,
    Where,
    WhereQuery,
    WhyNot,
    WhyNotQuery,
)
from pointsman_wire.queries.work_messages import DecisionsLimit, JobsQuery, Minutes


class ListLimit(Parameters, frozen=True):
    """How much of a list that has no pages."""

    limit: Limit = 100


class JobsParameters(PageParameters, frozen=True):
    """Which jobs."""

    session_id: SessionId = ""
    tenant: Name = ""


class DecisionsParameters(Parameters, frozen=True):
    """Which decisions; refused: only refusals, and placements after a failure."""

    limit: DecisionsLimit = 20
    refused: bool = False


class ExplainParameters(Parameters, frozen=True):
    """Which request; replay: decide again from the record, and compare."""

    request_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    session_id: SessionId = ""
    replay: bool = False


class WhyNotParameters(Parameters, frozen=True):
    """Beside which request; without one, beside the jobs of late."""

    request_id: RequestId = ""


class CoverageParameters(PageParameters, frozen=True):
    """Which kinds of work; empty lets everything through."""

    service: Name = ""
    src_lang: Name = ""
    tgt_lang: Name = ""
    feature: Name = ""
    tenant: Name = ""
    nodes_max: Number | None = None


class ReasonsParameters(Parameters, frozen=True):
    """How far back."""

    minutes: Minutes = 5


class WhereBody(Parameters, frozen=True):
    """What a job would ask for, and assumptions such as node=pc-17:gone or pool=3:slots+4."""

    ask: JobAsk
    what_if: WhatIfs = []


async def _status(api: Api, _: Call) -> ProcessesView:
    return await api.reading.status()


async def _nodes(api: Api, call: Call) -> NodesPage:
    return await api.reading.nodes(call.query.limit, call.query.cursor)


async def _node(api: Api, call: Call) -> NodeLine:
    return await api.reading.node(call.path["node_id"])


async def _why_not(api: Api, call: Call) -> WhyNot:
    node_id, request_id = call.path["node_id"], call.query.request_id
    return await api.reading.why_not(WhyNotQuery(node_id=node_id, request_id=request_id))


async def _pools(api: Api, _: Call) -> PoolsView:
    return await api.reading.pools()


async def _instances(api: Api, _: Call) -> InstancesView:
    return await api.reading.instances()


async def _sessions(api: Api, call: Call) -> SessionsPage:
    return await walk_sessions(api.reading.processes, call.query.limit, call.query.cursor)


async def _jobs(api: Api, call: Call) -> JobsPage:
    asked = call.query
    wanted = JobsQuery(limit=asked.limit, session_id=asked.session_id, tenant=asked.tenant)
    return await walk_jobs(api.reading.processes, wanted, asked.cursor)


async def _queues(api: Api, call: Call) -> QueuesView:
    return await api.reading.queues(call.query.limit)


async def _audit(api: Api, call: Call) -> AuditView:
    return await api.reading.audit(call.query.limit)


async def _poison(api: Api, call: Call) -> PoisonView:
    return await api.reading.poison(call.query.limit)


async def _decisions(api: Api, call: Call) -> DecisionsView:
    return await api.reading.decisions(call.query.limit, refused=call.query.refused)


async def _explain(api: Api, call: Call) -> ExplainedView:
    asked = call.query
    query = ExplainQuery(
        request_id=asked.request_id, session_id=asked.session_id, replay=asked.replay
    )
    return await api.reading.explain(query)


async def _where(api: Api, call: Call) -> Where:
    return await api.reading.where(WhereQuery(ask=call.body.ask, what_if=call.body.what_if))


async def _coverage(api: Api, call: Call) -> CoveragePage:
    asked = call.query
    query = CoverageQuery(
        limit=asked.limit,
        service=asked.service,
        src_lang=asked.src_lang,
        tgt_lang=asked.tgt_lang,
        feature=asked.feature,
        tenant=asked.tenant,
        nodes_max=asked.nodes_max,
    )
    return await api.reading.coverage(query, asked.cursor)


async def _reasons(api: Api, call: Call) -> ReasonsView:
    return await api.reading.reasons(call.query.minutes)


READ_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/v1/status",
        name="status",
        summary="Every process: pid, uptime, counters, timings",
        answer=ProcessesView,
        run=_status,
    ),
    Operation(
        path="/v1/nodes",
        name="nodes",
        summary="Nodes by id, page by page",
        query=PageParameters,
        answer=NodesPage,
        run=_nodes,
    ),
    Operation(
        path="/v1/nodes/{node_id}",
        name="node",
        summary="One node",
        answer=NodeLine,
        run=_node,
    ),
    Operation(
        path="/v1/nodes/{node_id}/why-not",
        name="why_not",
        summary="Why a node gets so few jobs, or not this one",
        query=WhyNotParameters,
        answer=WhyNot,
        run=_why_not,
    ),
    Operation(
        path="/v1/pools",
        name="pools",
        summary="All pools",
        answer=PoolsView,
        run=_pools,
    ),
    Operation(
        path="/v1/instances",
        name="instances",
        summary="The instances that share the fleet",
        answer=InstancesView,
        run=_instances,
    ),
    Operation(
        path="/v1/sessions",
        name="sessions",
        summary="Sessions by worker and id, page by page",
        query=PageParameters,
        answer=SessionsPage,
        run=_sessions,
    ),
    Operation(
        path="/v1/jobs",
        name="jobs",
        summary="Jobs that have not ended, page by page",
        query=JobsParameters,
        answer=JobsPage,
        run=_jobs,
    ),
    Operation(
        path="/v1/queues",
        name="queues",
        summary="What waits for a free slot, by what it asks for",
        query=ListLimit,
        answer=QueuesView,
        run=_queues,
    ),
    Operation(
        path="/v1/poison",
        name="poison",
        summary="Jobs that failed wherever they ran",
        query=ListLimit,
        answer=PoisonView,
        run=_poison,
    ),
    Operation(
        path="/v1/audit",
        name="audit",
        summary="Who ordered what, the newest first",
        query=ListLimit,
        answer=AuditView,
        run=_audit,
    ),
    Operation(
        path="/v1/decisions",
        name="decisions",
        summary="The latest decisions, the newest first",
        query=DecisionsParameters,
        answer=DecisionsView,
        run=_decisions,
    ),
    Operation(
        path="/v1/explain",
        name="explain",
        summary="Why a request went where it went",
        query=ExplainParameters,
        answer=ExplainedView,
        run=_explain,
    ),
    Operation(
        path="/v1/coverage",
        name="coverage",
        summary="How many nodes and slots there are for each kind of work",
        query=CoverageParameters,
        answer=CoveragePage,
        run=_coverage,
    ),
    Operation(
        path="/v1/reasons",
        name="reasons",
        summary="Why jobs were refused or waited lately, and what to change first",
        query=ReasonsParameters,
        answer=ReasonsView,
        run=_reasons,
    ),
    Operation(
        method="POST",
        path="/v1/where",
        name="where",
        summary="Where a job would go now, and where if something were so; nothing is reserved",
        body=WhereBody,
        answer=Where,
        run=_where,
    ),
)

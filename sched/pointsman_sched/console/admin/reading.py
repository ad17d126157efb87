"""What can be read of the service: each function asks its processes and puts answers together.

None changes anything.  Lists that workers hold are walked worker by worker, so a page costs no
more than a page; what is summed up is asked of all at once.
"""

from msgspec.structs import replace

from pointsman_sched.console.admin.asking import CONSOLE, MANAGER, SUPERVISOR, Processes
from pointsman_sched.console.admin.cursors import (
    Cursor,
    decode_cursor,
    encode_cursor,
    number_of,
)
from pointsman_sched.console.admin.problems import ApiError, not_found
from pointsman_sched.console.admin.views import (
    AuditView,
    CoveragePage,
    DecisionsView,
    ExplainedView,
    InstancesView,
    NodesPage,
    PoisonOfWorker,
    PoisonView,
    PoolsView,
    ProcessesView,
    QueueOfWorker,
    QueuesView,
    ReasonsView,
)
from pointsman_wire.admin_messages import NodeLine, Nodes, NodesQuery, Status, StatusQuery
from pointsman_wire.queries.explain_messages import (
    Coverage,
    CoverageQuery,
    Explained,
    ExplainQuery,
    Where,
    WhereQuery,
    WhyNot,
    WhyNotQuery,
)
from pointsman_wire.queries.fleet_messages import Instances, InstancesQuery, Pools, PoolsQuery
from pointsman_wire.queries.job_messages import PoisonJobs, PoisonQuery
from pointsman_wire.queries.operating_messages import Audit, AuditQuery
from pointsman_wire.queries.reason_sums import add_up, best_change
from pointsman_wire.queries.work_messages import (
    Decisions,
    DecisionsQuery,
    Queues,
    QueuesQuery,
    Reasons,
    ReasonsQuery,
)
from pointsman_wire.shards import shard_of

REQUEST_ADVICE = "take an id from GET /v1/decisions; what is long past is kept no more"


class Reading:
    """Reads one service."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    async def status(self) -> ProcessesView:
        """Every process: pid, uptime, counters, timings."""
        names = [MANAGER, *self.processes.workers, CONSOLE, SUPERVISOR]
        answers, faults = await self.processes.each(names, StatusQuery(), Status)
        silent = {name: fault.detail for name, fault in faults.items() if name != SUPERVISOR}
        return ProcessesView(processes=answers, no_answer=silent)

    async def nodes(self, limit: int = 100, cursor: str = "") -> NodesPage:
        """A page of nodes: from the manager, or with it gone, from a worker."""
        after = decode_cursor(cursor).key
        answered_by, page = await self._nodes(NodesQuery(limit=limit, after=after))
        last = page.nodes[-1].node_id if page.more and page.nodes else ""
        return NodesPage(
            nodes=page.nodes,
            total=page.total,
            answered_by=answered_by,
            snapshot_version=page.snapshot_version,
            next_cursor=encode_cursor(Cursor(key=last)) if last else "",
        )

    async def node(self, node_id: str) -> NodeLine:
        """One node; raises ApiError (404) when nobody knows it."""
        _, page = await self._nodes(NodesQuery(limit=1, node_id=node_id))
        if not page.nodes:
            raise not_found(f"no node {node_id!r} is known", "GET /v1/nodes lists those that are")
        return page.nodes[0]

    async def _nodes(self, query: NodesQuery) -> tuple[str, Nodes]:
        try:
            return MANAGER, await self.processes.one(MANAGER, query, Nodes)
        except ApiError:
            return "worker", await self.processes.any_worker(query, Nodes)

    async def pools(self) -> PoolsView:
        """All pools."""
        found = await self.processes.one(MANAGER, PoolsQuery(), Pools)
        return PoolsView(pools=found.pools, mode=found.mode, paused=found.paused)

    async def instances(self) -> InstancesView:
        """The instances that share the fleet."""
        found = await self.processes.one(MANAGER, InstancesQuery(), Instances)
        return InstancesView(instances=found.instances, shared=found.shared, trouble=found.trouble)

    async def queues(self, limit: int = 100) -> QueuesView:
        """What waits, at all workers."""
        answers, silent = await self.processes.all_workers(QueuesQuery(limit=limit), Queues)
        lines = [
            QueueOfWorker(worker=worker, queue=line)
            for worker, found in answers.items()
            for line in found.queues
        ]
        lines.sort(key=lambda line: -line.queue.waiting)
        return QueuesView(
            queues=lines[:limit],
            waiting=sum(found.waiting for found in answers.values()),
            waiting_bytes=sum(found.waiting_bytes for found in answers.values()),
            more=len(lines) > limit or any(found.more for found in answers.values()),
            no_answer=silent,
        )

    async def poison(self, limit: int = 100) -> PoisonView:
        """Jobs that were given up because they failed wherever they ran."""
        answers, silent = await self.processes.all_workers(PoisonQuery(limit=limit), PoisonJobs)
        lines = [
            PoisonOfWorker(worker=worker, job=line)
            for worker, found in answers.items()
            for line in found.jobs
        ]
        lines.sort(key=lambda line: line.job.ended_ago_s)
        total = sum(found.total for found in answers.values())
        return PoisonView(jobs=lines[:limit], total=total, no_answer=silent)

    async def audit(self, limit: int = 100) -> AuditView:
        """Who ordered what of any process."""
        # Who should be there, and the supervisor where there is one.
        names = dict.fromkeys(
            [MANAGER, *self.processes.workers, CONSOLE, *self.processes.present()]
        )
        answers, faults = await self.processes.each([*names], AuditQuery(limit=limit), Audit)
        lines = [line for found in answers.values() for line in found.lines]
        lines.sort(key=lambda line: line.at, reverse=True)
        silent = {name: fault.detail for name, fault in faults.items()}
        return AuditView(lines=lines[:limit], no_answer=silent)

    # ---- decisions

    async def decisions(self, limit: int = 20, *, refused: bool = False) -> DecisionsView:
        """The latest decisions of all workers."""
        query = DecisionsQuery(limit=limit, refused=refused)
        answers, silent = await self.processes.all_workers(query, Decisions)
        views = [view for found in answers.values() for view in found.decisions]
        views.sort(key=lambda view: view.age_ms)
        return DecisionsView(decisions=views[:limit], no_answer=silent)

    async def explain(self, query: ExplainQuery) -> ExplainedView:
        """All that is kept of one request; raises ApiError (404) when that is nothing."""
        answers, silent = await self.processes.all_workers(query, Explained)
        decisions = [view for found in answers.values() for view in found.decisions]
        jobs = [job for found in answers.values() for job in found.jobs]
        if not decisions and not jobs and not silent:
            what = f"nobody remembers a request {query.request_id!r}"
            raise not_found(what, REQUEST_ADVICE)
        return ExplainedView(decisions=decisions, jobs=jobs, no_answer=silent)

    async def where(self, query: WhereQuery) -> Where:
        """Where such a job would go now; nothing is reserved."""
        session_id = query.ask.session_id
        if not session_id:
            return await self.processes.any_worker(query, Where)
        owner = shard_of(session_id, self.processes.worker_count)
        return await self.processes.one(self.processes.workers[owner], query, Where)

    async def why_not(self, query: WhyNotQuery) -> WhyNot:
        """A node beside a job, or beside the jobs of late, as the first worker sees it."""
        found = await self.processes.any_worker(query, WhyNot)
        if not found.known:
            what = f"no node {query.node_id!r} is known"
            raise not_found(what, "GET /v1/nodes lists those that are")
        return found

    async def coverage(self, query: CoverageQuery, cursor: str = "") -> CoveragePage:
        """A page of who can do what; `query.offset` is set by the cursor."""
        offset = number_of(decode_cursor(cursor))
        found = await self.processes.any_worker(replace(query, offset=offset), Coverage)
        following = str(offset + len(found.lines)) if found.more else ""
        return CoveragePage(
            lines=found.lines,
            total=found.total,
            single=found.single,
            truncated=found.truncated,
            next_cursor=encode_cursor(Cursor(key=following)) if following else "",
        )

    async def reasons(self, minutes: int = 5) -> ReasonsView:
        """Why jobs were refused or waited lately, over all workers."""
        answers, silent = await self.processes.all_workers(ReasonsQuery(minutes=minutes), Reasons)
        lines = add_up([line for found in answers.values() for line in found.reasons])
        change, jobs = best_change(lines)
        return ReasonsView(
            reasons=lines,
            minutes=minutes,
            refused=sum(found.refused for found in answers.values()),
            waited=sum(found.waited for found in answers.values()),
            best_change=change,
            best_change_jobs=jobs,
            no_answer=silent,
        )

"""Lists of what a worker has at hand: open jobs, queues, the latest decisions.

They are put together when somebody asks, in the loop that places jobs: so each looks at no more
than a bound, whatever there is.
"""

from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice

from pointsman_wire.queries.work_messages import (
    Decisions,
    DecisionsQuery,
    JobLine,
    Jobs,
    JobsQuery,
    QueueLine,
    Queues,
    QueuesQuery,
)
from pointsman_workers.core.shard import MILLISECOND_NS, Shard
from pointsman_workers.core.state import Job
from pointsman_workers.explain.records import decode_record
from pointsman_workers.explain.telling import Teller
from pointsman_workers.placement.kinds import PRIORITIES, Kind

LOOKED_AT_MAX = 20_000  # sessions, or jobs: some 5 ms


def list_jobs(shard: Shard, query: JobsQuery) -> Jobs:
    """The open jobs that were accepted first, after the one that was listed last."""
    jobs = [*islice(_open_jobs(shard, query), LOOKED_AT_MAX)]
    later = [job for job in jobs if job.arrival > query.after]
    chosen = nsmallest(query.limit, later, key=lambda job: job.arrival)
    is_filtered = bool(query.session_id or query.tenant)
    return Jobs(
        jobs=[_job_line(shard, job) for job in chosen],
        total=len(jobs) if is_filtered else shard.open_job_count,
        more=len(later) > len(chosen),
        truncated=len(jobs) == LOOKED_AT_MAX or len(shard.sessions) > LOOKED_AT_MAX,
    )


def _open_jobs(shard: Shard, query: JobsQuery) -> Iterator[Job]:
    for (tenant, session_id), session in islice(shard.sessions.items(), LOOKED_AT_MAX):
        if query.session_id in ("", session_id) and query.tenant in ("", tenant):
            yield from (job for job in session.open_jobs.values() if job.is_open)


def _job_line(shard: Shard, job: Job) -> JobLine:
    tenant, session_id, request_id = job.key
    requirement, hold = job.kind.requirement, job.hold
    return JobLine(
        job_id=job.job_id,
        request_id=request_id,
        session_id=session_id,
        tenant=tenant,
        state=job.state.name.lower(),
        services=[*requirement.types],
        src_lang=requirement.src,
        tgt_lang=requirement.tgt,
        priority=job.submit.priority,
        attempt=job.attempt,
        node_id=hold.lane.node_id if hold is not None else "",
        age_ms=(shard.now_ns - job.accepted_at_ns) / MILLISECOND_NS,
        waits=job.is_queued,
        arrival=job.arrival,
    )


def list_queues(shard: Shard, query: QueuesQuery) -> Queues:
    """What waits, by what it asks for; the longest queues first."""
    waiting = shard.waiting
    lines = [line for kind in waiting.kinds for line in _queue_lines(shard, kind)]
    lines.sort(key=lambda line: -line.waiting)
    return Queues(
        queues=lines[: query.limit],
        total=len(lines),
        waiting=waiting.count,
        waiting_bytes=waiting.bytes,
        more=len(lines) > query.limit,
    )


def _queue_lines(shard: Shard, kind: Kind) -> Iterator[QueueLine]:
    requirement = kind.requirement
    for priority, queue in zip(PRIORITIES, kind.queues, strict=True):
        if not queue:
            continue
        yield QueueLine(
            services=[*requirement.types],
            src_lang=requirement.src,
            tgt_lang=requirement.tgt,
            features=[*requirement.features],
            tenant=requirement.tenant,
            priority=priority,
            # Those that have left amid the queue are few, and gone as soon as its head is.
            waiting=min(len(queue), kind.waiting_count),
            oldest_ms=(shard.now_ns - queue[0].accepted_at_ns) / MILLISECOND_NS,
        )


def list_decisions(shard: Shard, query: DecisionsQuery) -> Decisions:
    """The latest placements and refusals, in words."""
    recorder = shard.recorder
    teller = Teller(shard.fleet, recorder)
    found = recorder.troubled.latest(query.limit)
    if not query.refused:
        found += recorder.placed.latest(query.limit)
    told = [(key, decode_record(data)) for key, data in found]
    told.sort(key=lambda one: -one[1].at_ns)
    return Decisions(decisions=[teller.tell(key, record) for key, record in told[: query.limit]])

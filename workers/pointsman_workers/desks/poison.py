"""Poison: jobs that failed wherever they ran, kept for the operator to look at.

A job is poison when it has failed by itself on several nodes, or when several went down with it.
It ends with POISON; nothing of it is held against the nodes.  The list keeps the newest ones for
as long as the worker lives.
"""

from collections import deque
from itertools import islice

import msgspec

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.queries.job_messages import PoisonJobs, PoisonLine, PoisonQuery
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Job

KEPT_MAX = 256
# A reason is some node's own words; what is kept of them is bounded.
REASON_LENGTH_MAX = 500


class PoisonJob(msgspec.Struct, frozen=True):
    """One job that was given up for good."""

    line: PoisonLine
    ended_at_ns: int


class PoisonDesk:
    """Judges jobs, and keeps those that are poison."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.total = 0
        self._kept: deque[PoisonJob] = deque(maxlen=KEPT_MAX)

    def is_poison(self, job: Job) -> bool:
        """Has it failed on enough nodes, or brought enough of them down?"""
        jobs = self.shard.config.jobs
        return job.crash_count >= jobs.poison_crashes or len(job.blamed_on) >= jobs.poison_failures

    def note(self, job: Job) -> ErrorInfo:
        """Keep the job for the operator; return what its client is told."""
        self.total += 1
        self.shard.count(Counter.JOBS_POISON)
        tenant, session_id, request_id = job.key
        line = PoisonLine(
            job_id=job.job_id,
            tenant=tenant,
            session_id=session_id,
            request_id=request_id,
            services=[*job.kind.requirement.types],
            nodes=[*job.blamed_on],
            crashes=job.crash_count,
            attempts=[reason[:REASON_LENGTH_MAX] for reason in job.reasons],
        )
        self._kept.append(PoisonJob(line, self.shard.now_ns))
        if job.crash_count >= self.shard.config.jobs.poison_crashes:
            text = f"nodes went down {job.crash_count} times while they ran this job"
        else:
            text = f"this job failed on each of {len(job.blamed_on)} nodes"
        return error_info(Code.POISON, text, attempts=[*job.reasons])

    def list(self, query: PoisonQuery) -> PoisonJobs:
        """The newest first."""
        now_ns = self.shard.now_ns
        lines = [
            msgspec.structs.replace(kept.line, ended_ago_s=(now_ns - kept.ended_at_ns) / SECOND_NS)
            for kept in islice(reversed(self._kept), query.limit)
        ]
        return PoisonJobs(jobs=lines, total=self.total, more=len(self._kept) > len(lines))

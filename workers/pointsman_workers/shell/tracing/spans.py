"""What an ended job is in spans: one for all of it, below it one for each stage it went through.

    pointsman.job    accepted -> ended      below the span of the client, where its trace names one
    pointsman.wait   accepted -> given to the node that had it last
    pointsman.run    given to that node -> ended

Only jobs with a trace id of W3C are told, as a whole `traceparent` or as the 32 digits alone; what
its client did not sample is not sampled here.
"""

import re
from typing import NamedTuple

from pointsman_workers.core.events import JobTraced

SAMPLED = 1
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_TRACE = re.compile(r"[0-9a-f]{32}")


class Trace(NamedTuple):
    """Which trace, and below which span; a parent of 0: below none."""

    trace: int
    parent: int = 0


class Stage(NamedTuple):
    """One span: its name, and when it began and ended, in ns since 1970."""

    name: str
    began_ns: int
    ended_ns: int


def trace_of(text: str) -> Trace | None:
    """Return the trace that a job's id names; None for what is no such id, or not sampled."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        trace = int(text, 16) if _TRACE.fullmatch(text) else 0
        return Trace(trace) if trace else None
    trace, parent, flags = (int(digits, 16) for digits in found.groups())
    return Trace(trace, parent) if trace and parent and flags & SAMPLED else None


def stages_of(job: JobTraced, ended_ns: int) -> list[Stage]:
    """Return its spans, the one above the others first; ended_ns is by the wall clock."""
    began_ns = ended_ns - job.lasted_ns
    stages = [Stage("pointsman.job", began_ns, ended_ns)]
    if job.ran_ns is None:
        return [*stages, Stage("pointsman.wait", began_ns, ended_ns)]
    given_ns = ended_ns - job.ran_ns
    return [
        *stages,
        Stage("pointsman.wait", began_ns, given_ns),
        Stage("pointsman.run", given_ns, ended_ns),
    ]


def attributes_of(job: JobTraced) -> dict[str, str | int]:
    """Return what is told of a job beside its times; never what is in it."""
    told: dict[str, str | int] = {
        "pointsman.job_id": job.job_id,
        "pointsman.request_id": job.request_id,
        "pointsman.tenant": job.tenant,
        "pointsman.status": job.status,
        "pointsman.error": job.error_code,
        "pointsman.node_id": job.node_id,
        "pointsman.attempt": job.attempt,
        "pointsman.failovers": job.failovers,
        "pointsman.placement_us": job.placement_ns // 1_000,
    }
    return {name: value for name, value in told.items() if value != ""}

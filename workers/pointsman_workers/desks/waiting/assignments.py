"""Assignments: what a node is told of a job.

Most of it is alike for all jobs of a session that wish for the same, so it is put together once
(terms.py) and what is each one's own is replaced in it.
"""

from msgspec.structs import replace

from pointsman_wire.lane_messages import Assign
from pointsman_workers.core.shard import MILLISECOND_NS
from pointsman_workers.core.state import Hold, Job, Session
from pointsman_workers.placement.kinds import Kind


def assignment_of(job: Job, hold: Hold, now_ns: int, silence_ms: int) -> Assign:
    """What the node gets that `hold` is of; what is rare comes by replacing once more."""
    usual, submit = job.usual, job.submit
    if usual is None:
        usual = job.usual = usual_assignment(
            job.session,
            job.kind,
            priority=submit.priority,
            timeout_ns=job.timeout_ns,
            silence_ms=0 if job.line is None else silence_ms,
        )
    assignment = replace(
        usual,
        number=hold.number,
        job_id=job.job_id,
        dispatch=hold.dispatch,
        request_id=job.key[2],
    )
    is_rare = submit.trace_id or submit.stream or submit.content_type or job.ends_at_ns
    if not is_rare and job.attempt == 1 and submit.meta is None:
        return assignment
    left_ms = None
    if job.ends_at_ns:
        left_ms = max(1, (job.ends_at_ns - now_ns) // MILLISECOND_NS)
    return replace(
        assignment,
        attempt=job.attempt,
        content_type=submit.content_type,
        meta=submit.meta,
        trace_id=submit.trace_id or usual.trace_id,
        deadline_ms=left_ms,
        stream=submit.stream,
    )


def usual_assignment(
    session: Session, kind: Kind, *, priority: str, timeout_ns: int, silence_ms: int
) -> Assign:
    """What assignments of all such jobs have in common; `silence_ms` is 0 but for serial ones."""
    requirement = kind.requirement
    return Assign(
        number=0,
        job_id="",
        dispatch=0,
        services=kind.services,
        features=[*requirement.features],
        src_lang=requirement.src,
        tgt_lang=requirement.tgt,
        auto_langs=[*requirement.auto_langs],
        tenant=session.tenant,
        session_id=session.session_id,
        priority=priority,
        trace_id=session.trace_id,
        timeout_ms=timeout_ns // MILLISECOND_NS,
        silence_ms=silence_ms,
    )

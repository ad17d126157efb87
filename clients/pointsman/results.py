"""What comes back: results, and the pieces of streaming ones."""

from typing import Any

import msgspec

from pointsman.errors import JobCancelled, JobExpired, JobFailed, JobRefused
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import AcceptedJob, Partial, Placement, Result

COMPLETED = frozenset({"completed", "completed_no_text"})


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """A job that ended well: its output, and where and how it ran."""

    payload: bytes
    meta: dict[str, Any]
    content_type: str
    job_id: str
    request_id: str
    node_id: str
    # 1-based; failovers says how many attempts were lost with their nodes.
    attempt: int
    failovers: int
    # Why each attempt before this one failed, oldest first.
    attempts: list[str]
    # A second node was asked as well, because the first was slow.
    hedged: bool
    # completed, or completed_no_text when there was nothing to say.
    status: str
    # From the read submit to the chosen node, and how long the job waited for a slot.
    placement_us: float
    queued_ms: float
    use_semantic: bool
    utterance_index: int | None
    # Set when the submit asked to explain.
    placement: Placement | None
    # How safely the server held the job, as its acceptance said.
    durability: str
    # The submit's or else the session's; the node had it as job.trace_id.
    trace_id: str = ""

    @property
    def text(self) -> str:
        """The payload as UTF-8; raises UnicodeDecodeError when it is no text."""
        return self.payload.decode()


class JobPartial(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a streaming result; a new attempt starts again with seq 0, and so does
    a new job in place of one that its worker has lost."""

    payload: bytes
    meta: dict[str, Any]
    content_type: str
    attempt: int
    seq: int
    request_id: str = ""

    @property
    def text(self) -> str:
        """The payload as UTF-8; raises UnicodeDecodeError when it is no text."""
        return self.payload.decode()


def job_partial(partial: Partial, payload: bytes) -> JobPartial:
    """Return a piece as users see it."""
    return JobPartial(
        payload=payload,
        meta=partial.meta or {},
        content_type=partial.content_type,
        attempt=partial.attempt,
        seq=partial.seq,
        request_id=partial.request_id,
    )


def job_result(result: Result, payload: bytes, accepted: AcceptedJob | None) -> JobResult:
    """Return a result as users see it.  Raises JobFailed, JobExpired or JobCancelled."""
    if result.status not in COMPLETED:
        raise job_error(result)
    return JobResult(
        payload=payload,
        meta=result.meta or {},
        content_type=result.content_type,
        job_id=result.job_id,
        request_id=result.request_id,
        node_id=result.node_id,
        attempt=result.attempt,
        failovers=result.failovers,
        attempts=result.attempts,
        hedged=result.hedged,
        status=result.status,
        placement_us=result.placement_us,
        queued_ms=result.queued_ms,
        use_semantic=result.use_semantic,
        utterance_index=result.utterance_index,
        placement=result.placement,
        durability=accepted.durability if accepted else "",
        trace_id=result.trace_id,
    )


def job_error(result: Result) -> JobFailed:
    """Return the typed error of a job that did not end well."""
    kind = {"expired": JobExpired, "cancelled": JobCancelled}.get(result.status, JobFailed)
    return kind(
        result.error or _unsaid(result.status),
        request_id=result.request_id,
        job_id=result.job_id,
        node_id=result.node_id,
        attempt=result.attempt,
    )


def request_error(
    error: ErrorInfo, request_id: str, accepted: AcceptedJob | None
) -> JobRefused | JobFailed:
    """Return the typed error of a request that ended without a result."""
    if error.code == Code.CANCELLED:
        kind: type[JobFailed] = JobCancelled
    elif accepted is None:
        return JobRefused(error, request_id=request_id)
    else:
        kind = JobExpired if error.code == Code.JOB_TIMEOUT else JobFailed
    return kind(error, request_id=request_id, job_id=accepted.job_id if accepted else "")


def _unsaid(status: str) -> ErrorInfo:
    code = {"expired": Code.JOB_TIMEOUT, "cancelled": Code.CANCELLED}.get(status)
    return error_info(code or Code.INTERNAL_ERROR, f"the job {status}, the server says no more")

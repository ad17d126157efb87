"""What goes wrong on the client's and the node's side, typed; every error says what to do.

PointsmanError
  Unreachable      the server could not be reached in time
  SessionError     the session was refused, or is over
  JobRefused       the job was not accepted, as far as this client was told
  JobFailed        the job was accepted and failed
    JobExpired     it found no node, or no end, in its time
    JobCancelled   it was cancelled
  NodeRefused      the server does not take this node
HandlerUnstoppable a handler goes on although its job must be over: end the process
"""

from pointsman_wire.messages import Breakdown, ErrorInfo


class PointsmanError(Exception):
    """An error of the service: `code` is the protocol's, `hint` says what may help.

    `retryable`: trying again can help, after `retry_after_ms` if that is set.  `breakdown` says
    node by node why nothing could take a job; `attempts` why each attempt failed.
    """

    def __init__(self, info: ErrorInfo) -> None:
        words = f"{info.code}: {info.message}" if info.message else info.code
        super().__init__(f"{words} ({info.hint})" if info.hint else words)
        self.info = info
        self.code: str = info.code
        self.message: str = info.message
        self.retryable: bool = info.retryable
        self.fault: str = info.fault
        self.hint: str = info.hint
        self.retry_after_ms: int | None = info.retry_after_ms
        self.breakdown: Breakdown | None = info.breakdown
        self.attempts: list[str] = info.attempts


class Unreachable(PointsmanError):
    """The server could not be reached in time."""


class SessionError(PointsmanError):
    """The session was refused, or is over."""


class JobRefused(PointsmanError):
    """The job was not accepted, as far as this client was told."""

    def __init__(self, info: ErrorInfo, *, request_id: str = "") -> None:
        super().__init__(info)
        self.request_id = request_id


class JobFailed(PointsmanError):
    """The job was accepted and failed; `job_id`, `node_id` and `attempt` say where."""

    def __init__(
        self,
        info: ErrorInfo,
        *,
        request_id: str = "",
        job_id: str = "",
        node_id: str = "",
        attempt: int = 0,
    ) -> None:
        super().__init__(info)
        self.request_id = request_id
        self.job_id = job_id
        self.node_id = node_id
        self.attempt = attempt


class JobExpired(JobFailed):
    """The job found no node, or no end, in its time."""


class JobCancelled(JobFailed):
    """The job was cancelled."""


class NodeRefused(PointsmanError):
    """The server does not take this node."""


class HandlerUnstoppable(Exception):
    """The node has left because a handler does not end although another node takes its place.

    The job is of a serial session, no worker is heard that could confirm it, and the handler is a
    thread or a coroutine that takes no notice.  End the process, which ends the handler, and
    start it again; `job_id` names the job.
    """

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"the handler of job {job_id} goes on although the job must be over, since the next "
            "one of its session may start elsewhere: end this process, and let handlers return "
            "when job.cancelled is set"
        )
        self.job_id = job_id

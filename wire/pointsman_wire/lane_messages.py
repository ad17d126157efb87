"""Messages between a node and one worker on the lane that joins them.

The fence of a dispatch is (instance_uid, shard, epoch, dispatch): the first two are fixed for a
lane, so frames carry epoch and dispatch.  A node keeps the highest epoch for each shard and
refuses what is older.  Assignments and results are numbered from 1 on each lane connection;
acknowledgements are cumulative.  A node starts what it accepts: acknowledged means started.
"""

from typing import Any, Literal

import msgspec

from pointsman_wire.messages import Error, Message, Number, check_meta


class JobFence(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A job in one dispatch: [job_id, epoch, dispatch, tenant, session_id, request_id, origin].

    The last four repeat the assignment's: a worker that lost its memory binds the job to its
    request again when the client repeats it, or to the instance that it came from.
    """

    job_id: str
    epoch: Number
    dispatch: Number
    tenant: str = ""
    session_id: str = ""
    request_id: str = ""
    origin: str = ""


class LaneOpen(Message, tag="lane_open", frozen=True, kw_only=True):
    """First frame of a lane: who the node is; the ticket proves it without the manager.

    Again on a lane that stands, after a newer registration: the lane is of that one from now on.
    """

    node_id: str
    row: Number
    generation: Number
    epoch: Number
    ticket: bytes


class LaneAccepted(Message, tag="lane_accepted", frozen=True, kw_only=True):
    """The worker's answer.  Store the epoch, drop older unread assignments, then report."""

    instance_uid: str
    shard: Number
    epoch: Number


class LaneReport(Message, tag="lane_report", frozen=True, kw_only=True):
    """What the node runs and which results it still holds for this shard.

    Held results follow as node_result frames.  After this frame the lane carries jobs.
    """

    running: list[JobFence] = []
    held: list[JobFence] = []


class Assign(Message, tag="assign", frozen=True, kw_only=True):
    """Run this job; the payload of the frame is its body."""

    number: Number
    job_id: str
    dispatch: Number
    attempt: Number = 1
    services: list[str] = []
    features: list[str] = []
    src_lang: str = ""
    tgt_lang: str = ""
    auto_langs: list[str] = []
    content_type: str = ""
    meta: dict[str, Any] | None = None
    tenant: str = ""
    session_id: str = ""
    request_id: str = ""
    priority: str = "default"
    trace_id: str = ""
    # What is left of the attempt's timeout and of the whole job's deadline.
    timeout_ms: Number = 0
    deadline_ms: Number | None = None
    stream: bool = False
    # Not 0: start the job only once the worker has confirmed it (turn_ask), ask again and again,
    # and stop it when no confirmed question is younger than this, since the worker will then give
    # its session's next one to another node.
    silence_ms: Number = 0
    # Whose job it is, when it came from another instance; opaque to the node.
    origin: str = ""


class AssignAck(Message, tag="assign_ack", frozen=True, kw_only=True):
    """Every assignment up to this number was read, and runs unless it was refused or ended."""

    number: Number


class JobRefused(Message, tag="job_refused", frozen=True, kw_only=True):
    """The node did not start the job: no room, a stale fence, or nothing that can do it."""

    job_id: str
    epoch: Number
    dispatch: Number
    code: str
    message: str = ""


class TurnAsk(Message, tag="turn_ask", frozen=True, kw_only=True):
    """Does the worker still count on this dispatch?  Asked before a job with silence_ms starts."""

    job_id: str
    epoch: Number
    dispatch: Number
    asked: Number = 0  # microseconds on a clock of the node's own; the answer repeats it


class TurnGranted(Message, tag="turn_granted", frozen=True, kw_only=True):
    """Yes, for silence_ms from when it was asked.  A no is never said: cancel_job is on its way."""

    job_id: str
    epoch: Number
    dispatch: Number
    asked: Number = 0


class NodeResult(Message, tag="node_result", frozen=True, kw_only=True):
    """A job ended on the node; the payload of the frame is its output."""

    number: Number
    job_id: str
    epoch: Number
    dispatch: Number
    status: Literal["completed", "completed_no_text", "failed", "cancelled"] = "completed"
    content_type: str = ""
    meta: dict[str, Any] | None = None
    duration_us: Number = 0
    code: str = ""
    message: str = ""
    retryable: bool | None = None

    def __post_init__(self) -> None:
        if self.meta is not None:
            check_meta(self.meta)


class NodeResultAck(Message, tag="node_result_ack", frozen=True, kw_only=True):
    """Every result up to this number is safe with the worker: the node may forget it.

    Apart from those that are withheld: read, but not safe yet.  A later acknowledgement that
    does not name them says that they are.
    """

    number: Number
    withheld: list[Number] = []


class CancelJob(Message, tag="cancel_job", frozen=True, kw_only=True):
    """Stop the job; confirmed by a node_result for it, whatever its status."""

    job_id: str
    epoch: Number
    dispatch: Number
    reason: str = ""


class NodePartial(Message, tag="node_partial", frozen=True, kw_only=True):
    """A piece of a streaming result."""

    job_id: str
    epoch: Number
    dispatch: Number
    seq: Number = 0
    content_type: str = ""
    meta: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.meta is not None:
            check_meta(self.meta)


class NodeProgress(Message, tag="node_progress", frozen=True, kw_only=True):
    """The job is alive; it extends the attempt's timeout."""

    job_id: str
    epoch: Number
    dispatch: Number
    percent: float = 0.0
    note: str = ""


class LanePing(Message, tag="lane_ping", frozen=True, kw_only=True):
    """Sent by the worker while jobs are on the lane."""

    number: Number
    last_assigned: Number = 0


class LanePong(Message, tag="lane_pong", frozen=True, kw_only=True):
    """The answer, with the last assignment that the node has read: a zombie never moves it."""

    number: Number
    last_read: Number = 0


class LaneGoingAway(Message, tag="lane_going_away", frozen=True, kw_only=True):
    """The worker is stopping: what runs goes on and may still deliver; no failure is meant.

    When the lane has ended, it is dialled again after the delay.  Only when the whole service is
    not there for a while: one of the others.
    """

    reconnect_after_ms: Number = 0
    alternatives: list[str] = []
    elsewhere_after_ms: Number = 10_000


LaneToWorker = (
    LaneOpen
    | LaneReport
    | AssignAck
    | JobRefused
    | TurnAsk
    | NodeResult
    | NodePartial
    | NodeProgress
    | LanePong
    | Error
)
LaneToNode = (
    LaneAccepted
    | Assign
    | TurnGranted
    | NodeResultAck
    | CancelJob
    | LanePing
    | LaneGoingAway
    | Error
)

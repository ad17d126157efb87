"""Messages between a session's client and the worker that owns the session.

A connection of role `session` carries one session, a `trunk` many; on both, frames name the
session by `session_number` from session_init_ack.  Durations are relative, never wall times.
"""

from typing import Annotated, Any, Literal

import msgspec

from pointsman_wire.messages import (
    Error,
    ErrorInfo,
    Message,
    Name,
    Names,
    Number,
    Priority,
    RequestId,
    SessionId,
    WorkerCount,
    check_meta,
)
from pointsman_wire.talk.talk_messages import (
    AudioChunk,
    RoomJoin,
    RoomLeave,
    RoomName,
    RoomState,
    UiEvent,
    Utterance,
    UtteranceJobs,
)

Durability = Literal["memory", "journal", "fsync", "redis"]
Order = Literal["free", "utterance", "serial"]
Mode = Literal["one_way", "two_way", "auto"]
Labels = Annotated[dict[Name, Name], msgspec.Meta(max_length=64)]
PositiveSeconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
WaitSeconds = Annotated[float, msgspec.Meta(ge=0, le=3_600)]


class SessionInit(Message, tag="session_init", frozen=True, kw_only=True):
    """Open a session, or take one up again with its resume token."""

    # Chosen by the client, repeated in the answer: a trunk opens many sessions at once.
    ref: Number = 0
    session_id: SessionId = ""
    resume_token: str = ""
    tenant: Name = ""
    token: str = ""
    platform: Name = ""
    src_lang: Name = ""
    tgt_lang: Name = ""
    dialect: Name = ""
    features: Names = []
    pairing_code: str = ""
    mode: Mode = "one_way"
    lang_a: Name = ""
    lang_b: Name = ""
    auto_langs: Names = []
    order: Order = "free"
    # The language in which it wants to hear what other sessions say to it; empty: it hears none.
    hears: Name = ""
    # A new session id is made for the worker of this room.
    room: RoomName = ""
    trace_id: Name = ""
    # On resume: request ids without a result yet, and the last result number that was read.
    # Only as many as fit in a first frame; a submit that is repeated finds the others.
    unfinished: list[RequestId] = []
    last_result: Number = 0


class SessionInitAck(Message, tag="session_init_ack", frozen=True, kw_only=True):
    """The session stands; `unfinished` answers each named id: running, ended or unknown."""

    ref: Number = 0
    session_number: Number = 0
    session_id: str = ""
    shard: Number = 0
    worker_count: WorkerCount = 1
    resume_token: str = ""
    resumed: bool = False
    unfinished: dict[str, str] = {}
    protocol_version: int = 1
    server_version: str = ""
    instance: str = ""
    payload_bytes_max: Number = 0
    heartbeat_interval_s: WaitSeconds = 0.0
    idle_timeout_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    resume_window_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    paired_node: str = ""
    order: Order = "free"


class Moved(Message, tag="moved", frozen=True, kw_only=True):
    """The session belongs to another worker: dial again with this shard in the preamble."""

    ref: Number = 0
    session_id: str = ""
    shard: Number = 0
    worker_count: WorkerCount = 1
    address: str = ""
    # Set where it answers room_join: the room is that worker's; session_id is one that fits, and
    # session_number names who asked.
    room: str = ""
    session_number: Number = 0


class Submit(Message, tag="submit", frozen=True, kw_only=True):
    """Run one job; the payload of the frame is the job's body.

    services empty = the pipeline and features decide; src_lang and tgt_lang empty = the
    session's.  timeout_s bounds one attempt, deadline_s the whole job.
    """

    session_number: Number = 0
    request_id: RequestId = ""
    src_lang: Name = ""
    tgt_lang: Name = ""
    auto_langs: Names = []
    services: Names = []
    features: Names = []
    labels_required: Labels = {}
    labels_preferred: Labels = {}
    accept_public: bool = True
    preferred_node: Name = ""
    exclude: Names = []
    priority: Priority = "default"
    durability: Durability | None = None
    timeout_s: PositiveSeconds | None = None
    deadline_s: PositiveSeconds | None = None
    expected_duration_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)] | None = None
    wait_busy_s: WaitSeconds | None = None
    wait_none_s: WaitSeconds | None = None
    idempotent: bool = False
    utterance_index: Number | None = None
    content_type: Name = ""
    trace_id: Name = ""
    meta: dict[str, Any] | None = None
    # Ask for partial results and progress, and for the placement in the result.
    stream: bool = False
    explain: bool = False

    def __post_init__(self) -> None:
        if self.meta is not None:
            check_meta(self.meta)


class AcceptedJob(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One accepted job: what survives (durability), where its key is known (scope), how long."""

    session_number: Number = 0
    request_id: str = ""
    job_id: str = ""
    durability: str = "memory"
    scope: str = "instance"
    # How long a repeated submit of the same key is answered with the same job.
    window_s: float = 0.0
    duplicate: bool = False


class JobAccepted(Message, tag="job_accepted", frozen=True, kw_only=True):
    """Jobs that were accepted since the last such frame on this connection."""

    jobs: list[AcceptedJob]


class Placement(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """Where a job went and why, for clients that asked (submit.explain)."""

    selector: str
    pool: str = ""
    # How the session's pool was found: hit, first, affinity, override, replaced, reset, none.
    session_decision: str = ""
    candidates: Number = 0
    load: float = 0.0
    runner_up: str = ""
    snapshot_version: Number = 0
    snapshot_age_ms: float = 0.0
    # The manager was silent for so long that only the worker's own counts were used.
    stale: bool = False


class Result(Message, tag="result", frozen=True, kw_only=True):
    """A job ended; the payload of the frame is its output.  Numbers count up in a session."""

    session_number: Number = 0
    request_id: str = ""
    job_id: str = ""
    number: Number = 0
    status: str = "completed"
    node_id: str = ""
    attempt: Number = 0
    failovers: Number = 0
    placement_us: float = 0.0
    queued_ms: float = 0.0
    use_semantic: bool = False
    content_type: str = ""
    meta: dict[str, Any] | None = None
    utterance_index: Number | None = None
    placement: Placement | None = None
    # Why each attempt before this one failed, oldest first.
    attempts: list[str] = []
    # A second node was asked as well, because the first was slow; node_id is the faster one.
    hedged: bool = False
    # Set where another session said it: that session, whose request id this is.
    speaker: str = ""
    # The job's, or else its session's.
    trace_id: str = ""
    error: ErrorInfo | None = None


class MissingResult(Message, tag="missing_result", frozen=True, kw_only=True):
    """Utterances that are skipped: others have waited for them long enough.

    `number` is one of the session's result numbers: acknowledged, and told again, like results.
    A result that comes after all is told out of order.
    """

    session_number: Number = 0
    number: Number = 0
    utterance_index: Number = 0
    count: Number = 1
    reason: str = ""


class ResultsWaiting(Message, tag="results_waiting", frozen=True, kw_only=True):
    """Results are held until the client has read those before them; told once, then they follow.

    With count 0 nothing is held any more, and `forgotten` results were given up meanwhile: submit
    again what is still awaited.
    """

    session_number: Number = 0
    count: Number = 0
    forgotten: Number = 0


class ResultAck(Message, tag="result_ack", frozen=True, kw_only=True):
    """Pairs (session_number, number): every result up to that number was received."""

    results: list[tuple[Number, Number]]


class Partial(Message, tag="partial", frozen=True, kw_only=True):
    """A piece of a streaming result; `seq` counts from 0 within an attempt."""

    session_number: Number = 0
    request_id: str = ""
    job_id: str = ""
    attempt: Number = 0
    seq: Number = 0
    content_type: str = ""
    meta: dict[str, Any] | None = None


class Progress(Message, tag="progress", frozen=True, kw_only=True):
    """A job is alive; it extends the job's timeout."""

    session_number: Number = 0
    request_id: str = ""
    job_id: str = ""
    percent: float = 0.0
    note: str = ""


class Cancel(Message, tag="cancel", frozen=True, kw_only=True):
    """Stop a job; its result comes with status cancelled (or as it ended, if it was faster)."""

    session_number: Number = 0
    request_id: RequestId = ""


class ClientHeartbeat(Message, tag="client_heartbeat", frozen=True, kw_only=True):
    """Keep the connection's sessions alive; answered by client_heartbeat_ack."""

    number: Number = 0


class ClientHeartbeatAck(Message, tag="client_heartbeat_ack", frozen=True, kw_only=True):
    """The answer to client_heartbeat with the same number."""

    number: Number = 0


class SessionClose(Message, tag="session_close", frozen=True, kw_only=True):
    """End the session once its running jobs have delivered (flush) or at once."""

    session_number: Number = 0
    flush: bool = True


class SessionClosed(Message, tag="session_closed", frozen=True, kw_only=True):
    """The session ended: by session_close, by idleness, or by a newer connection."""

    session_number: Number = 0
    reason: str = ""


class GoingAway(Message, tag="going_away", frozen=True, kw_only=True):
    """The worker is stopping: submit no more here, connect again after the delay.

    The same place is dialled again.  Only when nobody is there for a while: one of the others.
    Where nobody will be there, as an operator drains the service, that while is none at all.
    """

    reconnect_after_ms: Number = 0
    alternatives: list[str] = []
    elsewhere_after_ms: Number = 10_000


ToWorker = (
    SessionInit
    | Submit
    | ResultAck
    | Cancel
    | ClientHeartbeat
    | SessionClose
    | Utterance
    | AudioChunk
    | UiEvent
    | RoomJoin
    | RoomLeave
)
ToClient = (
    SessionInitAck
    | Moved
    | JobAccepted
    | Result
    | MissingResult
    | ResultsWaiting
    | Partial
    | Progress
    | ClientHeartbeatAck
    | SessionClosed
    | GoingAway
    | UtteranceJobs
    | UiEvent
    | RoomState
    | Error
)

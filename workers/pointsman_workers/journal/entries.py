"""What a shard writes down, and what a successor finds: the entries of the journal.

    session opened ... job accepted -> dispatched (again and again) -> ended -> result read
                                                  ... kept: an ended job, carried forward

Jobs and sessions are named by numbers that a shard never uses twice, over all its lives.  Instants
are of the monotonic clock and mean something only within one boot of the machine.
"""

import msgspec

from pointsman_wire.session_messages import Result, Submit

Key = tuple[str, str, str]  # tenant, session id, request id


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One fact; entries of one turn are written together, as one record."""


class SessionOpened(Entry, tag=1, frozen=True, array_like=True, gc=False):
    """A session is open; what its client sets anew when it resumes is left out."""

    session: int
    tenant: str
    session_id: str
    resume_token: str
    order: str = "free"
    paired_node: str = ""
    pairing_code: str = ""
    next_result: int = 1  # the number that its next result will get
    read: int = 0  # results up to this number have been read


class SessionEnded(Entry, tag=2, frozen=True, array_like=True, gc=False):
    """The session is over; its ended jobs stay in the window."""

    session: int


class JobAccepted(Entry, tag=3, frozen=True, array_like=True, gc=False):
    """A job exists from here on; a later one of the same number replaces it (carried forward)."""

    job: int
    session: int
    key: Key
    job_id: str
    submit: Submit
    requirement: msgspec.Raw  # what the request needed, with what its session added
    payload: bytes
    body: int  # length and crc32 of the payload
    accepted_at_ns: int
    durability: str
    is_serial: bool = False  # accepted in a line, which it keeps when its session is over


class JobDispatched(Entry, tag=4, frozen=True, array_like=True, gc=False):
    """An attempt goes to a node; the last one of a job is its current attempt."""

    job: int
    epoch: int
    dispatch: int
    node_id: str
    attempt: int
    failovers: int = 0
    failed_nodes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    blamed_on: tuple[str, ...] = ()
    crash_count: int = 0


class JobEnded(Entry, tag=5, frozen=True, array_like=True, gc=False):
    """A job has ended; `result.number` is its place among the results of its session."""

    job: int
    result: Result
    output: bytes
    is_forgotten: bool = False  # it never ran, and its key is free again at once
    # The client has read it, or has left, and there was no room for its output.
    is_result_gone: bool = False


class ResultsRead(Entry, tag=6, frozen=True, array_like=True, gc=False):
    """The client has read the session's results up to this number."""

    session: int
    number: int


class JobKept(Entry, tag=7, frozen=True, array_like=True, gc=False):
    """An ended job of the window, whole: carried forward when its segment shall go."""

    job: int
    session: int
    key: Key
    job_id: str
    body: int
    result: Result
    output: bytes
    is_result_gone: bool = False


AnyEntry = (
    SessionOpened | SessionEnded | JobAccepted | JobDispatched | JobEnded | ResultsRead | JobKept
)


class RecoveredSession(msgspec.Struct, frozen=True):
    """A session that was open; `opened` has the newest numbers."""

    opened: SessionOpened
    segment: int  # the oldest segment that has something of it


class RecoveredJob(msgspec.Struct, frozen=True):
    """A job that had not ended."""

    accepted: JobAccepted
    dispatched: JobDispatched | None  # its current attempt
    segment: int


class RecoveredResult(msgspec.Struct, frozen=True):
    """A job of the window."""

    kept: JobKept
    segment: int


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a predecessor's journal holds; the sequences are in order of acceptance."""

    sessions: list[RecoveredSession] = []
    jobs: list[RecoveredJob] = []
    ended: list[RecoveredResult] = []  # oldest ended first
    last_job: int = 0
    last_session: int = 0
    is_same_boot: bool = False  # do its instants mean anything now?
    lost_records: int = 0  # left out because the operator accepted the loss

"""What the client's core is told beside its connections, and what it tells beside sending.

Sessions are named by handles and submits by tickets: numbers that the shell hands out and never
uses twice.  Every SubmitWished is answered by exactly one ResultCame or RequestFailed, every
OpenSession by SessionOpened and later one SessionEnded, or by SessionEnded alone.
"""

import msgspec

from pointsman.backoff import Entropy
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.session_messages import (
    AcceptedJob,
    MissingResult,
    Partial,
    Progress,
    Result,
    SessionInit,
    SessionInitAck,
    Submit,
)

# ---- how a core is made


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one client; above the first two a submit fails at once with QUEUE_FULL."""

    open_count_max: int = 100_000
    open_bytes_max: int = 512 * 1024 * 1024
    # What may be on its way to one worker before the worker has answered; the rest waits here.
    window_count: int = 4_096
    window_bytes: int = 4 * 1024 * 1024


class ClientSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a client's core starts from.

    With `is_trunk` sessions share one connection to each worker; else each has its own.  With
    `is_web` messages travel as JSON.
    """

    entropy: Entropy
    is_trunk: bool = False
    is_web: bool = False
    limits: ClientLimits = ClientLimits()


# ---- events


class OpenSession(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Open a session; given up when it has not opened within so long (None = never)."""

    handle: int
    init: SessionInit
    within_s: float | None = 10.0


class CloseSession(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """End a session: after its requests have their results (flush), or at once."""

    handle: int
    flush: bool = True
    within_s: float = 30.0


class SubmitWished(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Have one job run; an empty request_id is filled in."""

    handle: int
    ticket: int
    submit: Submit
    payload: bytes


class CancelWished(msgspec.Struct, frozen=True, gc=False):
    """Nobody wants the result of this submit any more; its answer still comes."""

    ticket: int


# ---- commands


class SessionOpened(msgspec.Struct, frozen=True, gc=False):
    """The session stands, for the first time or again after a broken connection."""

    handle: int
    ack: SessionInitAck
    is_again: bool = False


class SessionInterrupted(msgspec.Struct, frozen=True, gc=False):
    """The connection of a session that stood is gone; it is dialled again."""

    handle: int
    reason: str


class SessionEnded(msgspec.Struct, frozen=True, gc=False):
    """The session is over; `error` says why when nobody wished it.  Its requests have ended."""

    handle: int
    error: ErrorInfo | None = None


class JobWasAccepted(msgspec.Struct, frozen=True, gc=False):
    """The server holds the job, and says how safely."""

    ticket: int
    accepted: AcceptedJob


class PartialCame(msgspec.Struct, frozen=True, gc=False):
    """A piece of a result; a new attempt starts again from the first piece."""

    ticket: int
    partial: Partial
    payload: bytes


class ProgressCame(msgspec.Struct, frozen=True, gc=False):
    """The job is alive."""

    ticket: int
    progress: Progress


class ResultCame(msgspec.Struct, frozen=True, gc=False):
    """The job ended, well or not: see the result's status."""

    ticket: int
    result: Result
    payload: bytes


class ResultsMissing(msgspec.Struct, frozen=True, gc=False):
    """Utterances were skipped so that later ones need not wait; their results may come late."""

    handle: int
    missing: MissingResult


class RequestFailed(msgspec.Struct, frozen=True, gc=False):
    """There will be no result: refused before acceptance, or given up here."""

    ticket: int
    error: ErrorInfo


class Notice(msgspec.Struct, frozen=True, gc=False):
    """Something that the client's owner should find in the log."""

    text: str

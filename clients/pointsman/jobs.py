"""What a handler sees: the job it is given, the reply it returns, the error it raises.

    async def handle(job: Job) -> bytes | str | Reply     # or a plain function, run in a thread

A handler returns bytes, text (sent as UTF-8), or a Reply; it raises JobError to say in the words
of the protocol why it could not.  A Job can be made by hand, so handlers are tested without a
service: ``await handle(Job(payload=b"hello", src_lang="en", tgt_lang="es"))``.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

import msgspec

from pointsman.node_core.events import PartialMade, ProgressMade
from pointsman.options import as_bytes
from pointsman_wire.errors import MEANINGS, Code, code_of
from pointsman_wire.limits import PAYLOAD_BYTES_MAX
from pointsman_wire.messages import check_own_meta

CONTENT_TYPE_LENGTH_MAX = 128
NOTE_LENGTH_MAX = 500
ReplyStatus = Literal["completed", "completed_no_text"]


class JobError(Exception):
    """Raised by a handler: the job failed, and this is what the client shall know of it.

    `code` is one of the protocol's (pointsman_wire.errors.Code) or a word of your own;
    `retryable` says whether another node may succeed, by default what the code says; one that the
    protocol calls final stays so.
    """

    def __init__(self, code: str, message: str = "", *, retryable: bool | None = None) -> None:
        super().__init__(f"{code}: {message}" if message else str(code))
        self.code = str(code)
        self.message = message
        known = code_of(self.code)
        by_code = known is not None and MEANINGS[known].retryable
        self.retryable = by_code if retryable is None else retryable


class CannotTravel(JobError, ValueError):
    """What a handler says is too large to be sent, or of a kind that nobody can send.

    It would be on any node: who does not catch it fails the job for good.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Code.INVALID_MESSAGE, message)

    def __str__(self) -> str:
        return self.message


class Reply(msgspec.Struct, frozen=True):
    """A job's output: the payload with what describes it.

    `status` completed_no_text says that the job went well and there was nothing to say, such as
    silence for a recogniser.
    """

    payload: bytes | str = b""
    meta: dict[str, Any] | None = None
    content_type: str = ""
    status: ReplyStatus = "completed"

    def __post_init__(self) -> None:
        """Raise CannotTravel, a ValueError, in the handler that made it, when it cannot travel."""
        _check_description(self.meta, self.content_type)


def sayable(text: str, length_max: int) -> str:
    """Return what a handler says in words, cut, and without what UTF-8 has no bytes for."""
    return str(text)[:length_max].encode(errors="replace").decode()


def _check_description(meta: dict[str, Any] | None, content_type: str) -> None:
    """Raise CannotTravel when what describes an output cannot be sent."""
    try:
        if meta is not None:
            check_own_meta(meta)
        content_type.encode()
    except ValueError as error:
        raise CannotTravel(str(error)) from None
    if len(content_type) > CONTENT_TYPE_LENGTH_MAX:
        text = f"has {len(content_type)} characters, at most {CONTENT_TYPE_LENGTH_MAX} may be"
        raise CannotTravel(f"content_type {text}")


def as_sent(what: str, output: bytes | bytearray | memoryview | str) -> bytes:
    """Return the bytes of an output.  Raises CannotTravel, which names it."""
    try:
        body = as_bytes(output)
    except UnicodeEncodeError as error:
        raise CannotTravel(f"{what} is no text that UTF-8 can say: {error}") from None
    if len(body) > PAYLOAD_BYTES_MAX:
        words = f"{what} has {len(body)} bytes, at most {PAYLOAD_BYTES_MAX} can travel"
        raise CannotTravel(f"{words}: send less, or pieces of it by job.partial()")
    return body


def _tell_nobody(_: PartialMade | ProgressMade) -> None:
    """Stand in for the node where a job was made by hand."""


@dataclass(kw_only=True, slots=True, eq=False)
class Job:
    """One job in one attempt.  `timeout_s` and `deadline_s` are what was left when it came."""

    payload: bytes = field(default=b"", repr=False)
    meta: dict[str, Any] = field(default_factory=dict)
    services: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    src_lang: str = ""
    tgt_lang: str = ""
    auto_langs: list[str] = field(default_factory=list)
    content_type: str = ""
    job_id: str = ""
    attempt: int = 1
    session_id: str = ""
    request_id: str = ""
    tenant: str = ""
    trace_id: str = ""
    priority: str = "default"
    timeout_s: float | None = None
    deadline_s: float | None = None
    # Does the client listen to partial results?  Without it they are made in vain.
    stream: bool = False
    # Set from outside when the job is to stop.  An async handler's task is cancelled as well; a
    # blocking handler looks here between its steps and returns.
    cancelled: bool = False
    run: int = field(default=0, repr=False)
    tell: Callable[[PartialMade | ProgressMade], None] = field(default=_tell_nobody, repr=False)

    @property
    def text(self) -> str:
        """The payload as UTF-8; raises JobError INVALID_MESSAGE when it is no text."""
        try:
            return self.payload.decode()
        except UnicodeDecodeError as error:
            raise JobError(Code.INVALID_MESSAGE, f"the payload is no UTF-8: {error}") from None

    async def partial(
        self, payload: bytes | str, *, meta: dict[str, Any] | None = None, content_type: str = ""
    ) -> None:
        """Send a piece of the result ahead of the whole; dropped when nobody listens.

        Raises CannotTravel, a ValueError, when it is too large or cannot be sent.
        """
        self.partial_nowait(payload, meta=meta, content_type=content_type)
        await asyncio.sleep(0)

    async def progress(self, percent: float, note: str = "") -> None:
        """Say that the job is alive and how far it got; this extends its timeout."""
        self.progress_nowait(percent, note)
        await asyncio.sleep(0)

    def partial_nowait(
        self, payload: bytes | str, *, meta: dict[str, Any] | None = None, content_type: str = ""
    ) -> None:
        """Do as partial(), from a blocking handler."""
        _check_description(meta, content_type)
        self.tell(PartialMade(self.run, as_sent("a piece", payload), content_type, meta))

    def progress_nowait(self, percent: float, note: str = "") -> None:
        """Do as progress(), from a blocking handler."""
        if not isfinite(percent):
            raise ValueError(f"percent is {percent}, not a number that says how far it got")
        self.tell(ProgressMade(self.run, float(percent), sayable(note, NOTE_LENGTH_MAX)))

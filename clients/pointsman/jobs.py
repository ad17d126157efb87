"""What a handler sees: the job it is given, the reply it returns, the error it raises.

    async def handle(job: Job) -> bytes | str | Reply     # or a plain function, run in a thread

A handler returns bytes, text (sent as UTF-8), or a Reply; it raises JobError to say in the words
of the protocol why it could not.  A Job can be made by hand, so handlers are tested without a
service: ``await handle(Job(payload=b"hello", src_lang="en", tgt_lang="es"))``.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from pointsman.node_core.events import PartialMade, ProgressMade
from pointsman_wire.errors import MEANINGS, Code, code_of
from pointsman_wire.messages import check_meta

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
        """Raise ValueError in the handler that made it, when its meta cannot travel."""
        if self.meta is not None:
            check_meta(self.meta)


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
        """Send a piece of the result ahead of the whole; dropped when nobody listens."""
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
        if meta is not None:
            check_meta(meta)
        body = payload.encode() if isinstance(payload, str) else bytes(payload)
        self.tell(PartialMade(self.run, body, content_type, meta))

    def progress_nowait(self, percent: float, note: str = "") -> None:
        """Do as progress(), from a blocking handler."""
        self.tell(ProgressMade(self.run, percent, note))

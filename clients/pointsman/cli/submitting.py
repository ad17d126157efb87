"""Having one job done: what is wanted goes in, what came of it comes out; nothing is printed."""

import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointsman.cli.endings import FAILED, NOT_TAKEN, USAGE, Trouble
from pointsman.cli.screen import complete
from pointsman.engines.speech import TEXT_TYPE, WAV_TYPE
from pointsman.errors import PointsmanError
from pointsman.options import SubmitOptions
from pointsman.results import JobResult
from pointsman.session import Session
from pointsman_wire.errors import Code
from pointsman_wire.limits import PAYLOAD_BYTES_MAX
from pointsman_wire.messages import Priority
from pointsman_wire.session_messages import Durability, Order

NOBODY_TOOK_IT = frozenset({Code.NO_AVAILABLE_NODE, Code.QUEUE_TIMEOUT, Code.QUEUE_FULL})
STANDARD_INPUT = "-"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One job as the command line or the demo wants it."""

    payload: bytes
    content_type: str = ""
    services: Sequence[str] = ()
    src: str = ""
    tgt: str = ""
    request_id: str = ""
    order: Order = "free"
    durability: Durability | None = None
    priority: Priority = "default"
    idempotent: bool = False
    timeout_s: float | None = None
    wait_none_s: float | None = None
    wait_busy_s: float | None = None

    def options(self) -> SubmitOptions:
        """Return the keyword arguments of Session.submit that say this."""
        options = SubmitOptions(
            services=self.services,
            content_type=self.content_type,
            priority=self.priority,
            idempotent=self.idempotent,
            explain=True,
        )
        if self.durability is not None:
            options["durability"] = self.durability
        if self.request_id:
            options["request_id"] = self.request_id
        if self.src:
            options["src"] = self.src
        if self.tgt:
            options["tgt"] = self.tgt
        if self.timeout_s is not None:
            # For the whole, and for one attempt: people think of the one, nodes need the other.
            options["timeout_s"] = options["deadline_s"] = self.timeout_s
        if self.wait_none_s is not None:
            options["wait_none_s"] = self.wait_none_s
        if self.wait_busy_s is not None:
            options["wait_busy_s"] = self.wait_busy_s
        return options


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A job that ended well, and how long that took as seen from here."""

    result: JobResult
    total_ms: float

    @property
    def heard(self) -> str:
        return str(self.result.meta.get("heard", ""))

    @property
    def translation(self) -> str:
        return str(self.result.meta.get("translation", ""))

    @property
    def text(self) -> str:
        """The output, if it is text."""
        is_sound = (
            self.result.content_type.startswith("audio/") or self.result.payload[:4] == b"RIFF"
        )
        if is_sound:
            return ""
        try:
            return self.result.text.strip()
        except UnicodeDecodeError:
            return ""

    def as_data(self) -> dict[str, Any]:
        """Return all of it but the payload, for JSON; text is there."""
        fields = self.result.__struct_fields__
        data = {n: complete(getattr(self.result, n)) for n in fields if n != "payload"}
        return {
            **data,
            "bytes": len(self.result.payload),
            "text": self.text,
            "total_ms": round(self.total_ms, 3),
        }


async def submit_in(session: Session, wanted: Wanted) -> Ended:
    """Have the job done.  Raises PointsmanError; ValueError when an option cannot be sent."""
    began_at_ns = time.monotonic_ns()
    result = await session.submit(wanted.payload, **wanted.options())
    return Ended(result=result, total_ms=(time.monotonic_ns() - began_at_ns) / 1e6)


def session_id_of(request_id: str) -> str:
    """Return the session that belongs to a request id that people chose.

    The same id again, from anywhere, meets the same session and so the same job.
    """
    digest = hashlib.sha256(request_id.encode()).hexdigest()
    return f"submit-{digest[:32]}" if request_id else ""


def exit_code_of(error: PointsmanError) -> int:
    """Return 3 when no node took the job, 1 for everything else."""
    return NOT_TAKEN if error.code in NOBODY_TOOK_IT else FAILED


# ---- what is sent


def payload_of(file: Path | None, text: str | None) -> tuple[bytes, str]:
    """Return the payload and its type from a file, `-` for standard input, or a text.

    Raises Trouble when there is not exactly one, or when it cannot be read or is too large.
    """
    if (file is None) == (text is None):
        raise Trouble("what shall be done? name one of --file and --text", code=USAGE)
    if text is not None:
        payload, content_type = text.encode(errors="surrogateescape"), TEXT_TYPE
    else:
        assert file is not None
        payload = read_input(file)
        content_type = type_of(payload)
    check_size(str(file or "the text"), payload, todo="cut it; for speech, 16 kHz mono is enough")
    return payload, content_type


def check_size(what: str, payload: bytes, *, todo: str) -> None:
    """Raise Trouble when it is more than a job holds."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        words = f"{what} has more than the {PAYLOAD_BYTES_MAX:,} bytes that a job holds"
        raise Trouble(words, todo=todo, code=USAGE)


def read_input(file: Path) -> bytes:
    """Return a file's content; one byte above the bound is enough to know that it is too large."""
    try:
        if str(file) == STANDARD_INPUT:
            return sys.stdin.buffer.read(PAYLOAD_BYTES_MAX + 1)
        with file.open("rb") as stream:
            return stream.read(PAYLOAD_BYTES_MAX + 1)
    except OSError as error:
        raise Trouble(f"cannot read {file}: {error.strerror}", code=USAGE) from None


def type_of(payload: bytes) -> str:
    """Return what the bytes are: a WAV file, text, or nothing that is known."""
    if payload[:4] == b"RIFF" and payload[8:12] == b"WAVE":
        return WAV_TYPE
    try:
        payload.decode()
    except UnicodeDecodeError:
        return ""
    return TEXT_TYPE


def usual_services(content_type: str, out: Path | None) -> tuple[str, ...]:
    """Return what is done to an input when nobody says: a sound goes the service's own way, a
    text is translated, and spoken if the output is a sound."""
    if content_type != TEXT_TYPE:
        return ()
    return ("nmt", "tts") if out and out.suffix.lower() == ".wav" else ("nmt",)

"""What all messages share: they are named maps, tagged by `type`; unknown fields are ignored.

A message is the header of one frame (framing.py); raw payload bytes follow it undecoded.
"""

import msgspec

from pointsman_wire.errors import MEANINGS, Code


class Message(msgspec.Struct, tag_field="type", omit_defaults=True, frozen=True, gc=False):
    """Base of everything that crosses a socket; fields at their default are not sent."""


class NearestMiss(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """A node that almost could: what it lacks and when it may be free."""

    node_id: str
    missing: list[str]
    free_in_ms: int | None = None


class Breakdown(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """Why no node took a job; the counts add up to total_nodes, each node counted once."""

    total_nodes: int
    best_reason: str
    counts: dict[str, int]
    # How many nodes are left after each check, in the order of the checks.
    funnel: list[tuple[str, int]] = []
    # At most 32 node ids for each reason.
    nodes: dict[str, list[str]] = {}
    nearest: list[NearestMiss] = []
    fix: str = ""


class ErrorInfo(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """An error as the receiver needs it: code, words, and what to do."""

    code: str
    message: str
    retryable: bool = False
    fault: str = ""
    hint: str = ""
    retry_after_ms: int | None = None
    breakdown: Breakdown | None = None
    # The reason of each failed attempt, oldest first.
    attempts: list[str] = []


class Error(Message, tag="error", frozen=True):
    """Something is wrong with the connection or a message; a job's error travels in its result.

    `ref` repeats the ref of a refused session_init; request_id names a refused submit.
    """

    error: ErrorInfo
    session_number: int = 0
    request_id: str = ""
    ref: int = 0


def error_info(
    code: Code,
    message: str,
    *,
    retry_after_ms: int | None = None,
    breakdown: Breakdown | None = None,
    attempts: list[str] | None = None,
) -> ErrorInfo:
    """Return an ErrorInfo with retryable, fault and hint from the code's meaning."""
    meaning = MEANINGS[code]
    return ErrorInfo(
        code=code.value,
        message=message,
        retryable=meaning.retryable,
        fault=meaning.fault.value,
        hint=meaning.hint,
        retry_after_ms=retry_after_ms,
        breakdown=breakdown,
        attempts=attempts or [],
    )

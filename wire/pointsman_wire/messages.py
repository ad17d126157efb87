"""What all messages share: they are named maps, tagged by `type`; unknown fields are ignored.

A message is the header of one frame (framing.py); raw payload bytes follow it undecoded.

Some messages carry `meta`, values of the application's own that the service passes on.  What was
read from one peer must be writable to the next one, so meta is what JSON could hold, and bytes:
lists, maps with text keys, text, bytes, numbers, true, false and nil, within two bounds.  Without
the bound on depth a value that is just readable here makes the encoder fail one call deeper.
So the messages that bring meta into the service check it when they are made or decoded.
"""

from sys import getsizeof
from typing import Annotated, Any, Literal

import msgspec

from pointsman_wire.errors import MEANINGS, Code
from pointsman_wire.limits import (
    NODE_ID_LENGTH_MAX,
    PAGE_LINES_MAX,
    REQUEST_ID_LENGTH_MAX,
    SESSION_ID_LENGTH_MAX,
    WORKERS_MAX,
)

META_DEPTH_MAX = 32
META_VALUES_MAX = 10_000
# Of those who make it; so that it travels as JSON as well, beside all else that a header says.
META_BYTES_MAX = 512 * 1024
_CONTAINERS = {dict, list, tuple}
_LEAVES = {str, bytes, int, float, bool, type(None)}
_FLAT_META_VALUES = 64
_encode = msgspec.msgpack.Encoder().encode

# A count, or a number that only ever counts up: not negative, and fits a signed 64-bit word.
NUMBER_MAX = 2**63 - 1
Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
WorkerCount = Annotated[int, msgspec.Meta(ge=1, le=WORKERS_MAX)]
SessionId = Annotated[str, msgspec.Meta(max_length=SESSION_ID_LENGTH_MAX)]
NodeId = Annotated[str, msgspec.Meta(max_length=NODE_ID_LENGTH_MAX)]  # as somebody names it
RequestId = Annotated[str, msgspec.Meta(max_length=REQUEST_ID_LENGTH_MAX)]
Name = Annotated[str, msgspec.Meta(max_length=128)]
Names = Annotated[list[Name], msgspec.Meta(max_length=256)]
Priority = Literal["system", "interactive", "default", "bulk"]
# Of how many things one answer of an admin socket may tell.
PageLimit = Annotated[int, msgspec.Meta(ge=1, le=PAGE_LINES_MAX)]


class Message(msgspec.Struct, tag_field="type", omit_defaults=True, frozen=True, gc=False):
    """Base of everything that crosses a socket; fields at their default are not sent."""


class NearestMiss(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """A node that almost could: what it lacks and when it may be free."""

    node_id: str
    missing: list[str]
    free_in_ms: int | None = None
    # The instance to which it is connected; empty: the one that answers.
    instance: str = ""


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
    # none_can, all_busy, or preferred_busy: only the preferred node could, and it is busy.
    answer: str = ""


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

    `ref` repeats the ref of a refused session_init; request_id names what was refused.
    """

    error: ErrorInfo
    session_number: Number = 0
    request_id: str = ""
    ref: Number = 0


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


def error_answer(code: Code, message: str) -> Error:
    """Return the answer to an order or a query that is not carried out."""
    return Error(error_info(code, message))


def check_meta(meta: Any) -> None:
    """Raise ValueError, in words, when this value cannot travel as meta."""
    if fault := meta_fault(meta):
        raise ValueError(fault)


def check_own_meta(meta: Any) -> None:
    """Raise ValueError, in words, when we had better not send this as meta."""
    check_meta(meta)
    if (size := len(_encode(meta))) > META_BYTES_MAX:
        words = "what is larger belongs into the payload"
        raise ValueError(f"meta has {size} bytes, at most {META_BYTES_MAX} can travel: {words}")


def meta_fault(meta: Any) -> str:
    """Return what makes this value no meta, in words, or "" when it can travel."""
    if type(meta) is not dict:
        return f"meta is a {type(meta).__name__}, not a map"
    if len(meta) <= _FLAT_META_VALUES and _is_flat(meta):
        return ""
    values = 0
    level: list[Any] = [meta]
    for _ in range(META_DEPTH_MAX):
        values += sum(map(len, level))
        if values > META_VALUES_MAX:
            return f"meta has more than {META_VALUES_MAX} values"
        if odd := {type(key) for c in level if type(c) is dict for key in c} - {str}:
            return f"meta has a key of type {odd.pop().__name__}; keys are text"
        inner = [value for c in level for value in (c.values() if type(c) is dict else c)]
        if not all(map(_fits, inner)):
            return "meta has a whole number of more than 64 bits, which cannot travel"
        if odd := {type(value) for value in inner} - _CONTAINERS - _LEAVES:
            return f"meta has a value of type {odd.pop().__name__}, which cannot travel"
        level = [value for value in inner if type(value) in _CONTAINERS]
        if not level:
            return ""
    return f"meta is nested more than {META_DEPTH_MAX} deep"


def _is_flat(meta: dict[Any, Any]) -> bool:
    """The usual case, judged quickly."""
    for key, value in meta.items():
        if type(key) is not str or type(value) not in _LEAVES or not _fits(value):
            return False
    return True


def _fits(value: Any) -> bool:
    """Is it anything but a whole number that only JSON can write?"""
    return type(value) is not int or -(2**63) <= value < 2**64


def meta_bytes(meta: dict[str, Any] | None) -> int:
    """What this takes in memory, whoever keeps it."""
    size = 0
    level: list[Any] = [meta]
    while level:
        value = level.pop()
        if not value:
            continue
        size += getsizeof(value)
        if isinstance(value, dict):
            level += value
            level += value.values()
        elif isinstance(value, list | tuple):
            level += value
    return size

"""What a program asks for, in all forms and with all options, and what it holds an answer to."""

import re
from typing import Any, TypeVar

from pointsman.errors import JobFailed, JobRefused, PointsmanError
from pointsman.results import JobPartial, JobResult
from pointsman_sim.history import Violation
from pointsman_sim.world.dice import Dice

T = TypeVar("T")
NONCE = re.compile(rb"<\d+>")
SOUND = b"\x01\x02" * 2_000
# By option: how often it is given, and what.
OPTIONS: dict[str, tuple[float, tuple[Any, ...]]] = {
    "services": (0.9, (["nmt"], ["nmt"], ["nmt"], ["asr"], ["tts"], ["juggling"])),
    "tgt": (0.1, ("fr", "xx")),
    "src": (0.1, ("es", "auto")),
    "features": (0.03, (["omniscience"],)),
    "timeout_s": (0.2, (0.3, 2.0)),
    "deadline_s": (0.2, (0.05, 0.5, 3.0, 20.0)),
    "expected_duration_ms": (0.1, (200,)),
    "wait_busy_s": (0.2, (0.0, 1.0, 10.0)),
    "wait_none_s": (0.2, (0.0, 5.0)),
    "priority": (0.4, ("system", "interactive", "bulk")),
    "durability": (0.4, ("memory", "journal", "fsync")),
    "preferred_node": (0.1, ("node-0",)),
    "exclude": (0.1, (["node-0"],)),
    "idempotent": (0.5, (True,)),
    "content_type": (0.1, ("text/plain",)),
    "meta": (0.1, ({"a": 1},)),
    "trace_id": (0.1, ("t-1",)),
    "explain": (0.3, (True,)),
}
TALK: dict[str, tuple[float, tuple[Any, ...]]] = {
    "tgt": (0.4, ("es", "fr", ["es", "fr"], ["es", "en", "fr"])),
    "src": (0.2, ("en", "es", "auto")),
    "services": (0.3, (["asr"], ["asr", "nmt"], ["nmt"], ["nmt", "tts"], ["juggling"])),
    "priority": (0.2, ("bulk", "default")),
    "explain": (0.2, (True,)),
}


def weighted(dice: Dice, table: dict[T, float]) -> T:
    """Draw one of a table of weights."""
    draw = dice.fraction() * sum(table.values())
    for choice, weight in table.items():
        draw -= weight
        if draw < 0:
            return choice
    return next(iter(table))


def nonces(payload: bytes) -> list[bytes]:
    """Return the marks that are in a payload: what was asked for is known by them."""
    return [*dict.fromkeys(NONCE.findall(payload))]


def drawn(dice: Dice, table: dict[str, tuple[float, tuple[Any, ...]]]) -> dict[str, Any]:
    """Draw options from a table."""
    return {
        name: dice.pick(values) for name, (share, values) in table.items() if dice.chance(share)
    }


def marked(number: int) -> bytes:
    """Return what tells this request from all others, wherever it turns up."""
    return b"<%d>" % number


def judge_piece(piece: JobPartial, mark: bytes) -> None:
    """A piece of a result is of what was asked."""
    _judge(piece.request_id, piece.payload, mark)


def judge_result(result: JobResult, mark: bytes) -> None:
    """A result is of what was asked, and complete."""
    _judge(result.request_id, result.payload, mark)
    if result.status == "completed" and not result.payload:
        raise Violation("whose", f"{result.request_id} completed with nothing")


def _judge(name: str, payload: bytes, mark: bytes) -> None:
    found = nonces(payload)
    if found and found != [mark]:
        raise Violation("whose", f"{name} {mark!r} was answered with {payload[:80]!r}")


def judge_error(error: PointsmanError, name: str) -> None:
    """An error is of the request, and typed."""
    whose = error.request_id if isinstance(error, JobFailed | JobRefused) else name
    if name and whose != name:
        raise Violation("whose", f"{name} was told of the end of {whose}")
    if not error.code:
        raise Violation("typed", f"{name} was told {error!r}")

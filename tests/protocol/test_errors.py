"""Every error code has a meaning, and an error carries it."""

import re
from pathlib import Path

import pytest

from pointsman_wire.errors import MEANINGS, Code, Fault
from pointsman_wire.messages import Breakdown, Error, error_info

# What clients and nodes were promised; a code may be added, never taken away.
PROMISED = """
INVALID_MESSAGE INTERNAL_ERROR INVALID_SESSION SESSION_CLOSED NODE_UNAVAILABLE NODE_OVERLOADED
MODEL_NOT_AVAILABLE MODEL_LOAD_FAILED UNSUPPORTED_FEATURE INVALID_PAIRING_CODE NO_AVAILABLE_NODE
JOB_TIMEOUT QUEUE_FULL QUEUE_TIMEOUT RATE_LIMITED POISON FLEET_FULL CAPABILITY_CLASSES_FULL STALE
CONFLICT CANCELLED NODE_ID_CONFLICT INVALID_CAPABILITY_SCHEMA NO_GPU_AVAILABLE
SCHEDULER_DEPENDENCY_DOWN SHUTTING_DOWN UNAUTHORIZED NOT_FOUND
"""


def test_every_code_has_a_meaning_and_no_meaning_is_left_over() -> None:
    assert set(MEANINGS) == set(Code)


def test_no_promised_code_is_missing() -> None:
    assert set(PROMISED.split()) <= {code.value for code in Code}


@pytest.mark.parametrize("code", Code)
def test_a_code_is_its_own_name_and_its_hint_a_sentence(code: Code) -> None:
    meaning = MEANINGS[code]
    assert code.value == code.name
    assert isinstance(meaning.fault, Fault)
    assert re.fullmatch(r"[A-Z].{8,}\.", meaning.hint)


def test_an_error_carries_what_its_code_means() -> None:
    breakdown = Breakdown(total_nodes=1, best_reason="full", counts={"full": 1})
    info = error_info(
        Code.QUEUE_FULL,
        "10000 jobs wait",
        retry_after_ms=250,
        breakdown=breakdown,
        attempts=["studio: lost"],
    )
    assert (info.code, info.message) == ("QUEUE_FULL", "10000 jobs wait")
    assert (info.retryable, info.fault) == (True, "operator")
    assert info.hint == MEANINGS[Code.QUEUE_FULL].hint
    assert (info.retry_after_ms, info.breakdown) == (250, breakdown)
    assert info.attempts == ["studio: lost"]
    assert Error(error=info).error.attempts == ["studio: lost"]


def test_a_hint_that_names_a_document_names_one_that_is_there() -> None:
    root = Path(__file__).resolve().parents[2]
    named = {path for m in MEANINGS.values() for path in re.findall(r"docs/[\w.]+\w", m.hint)}
    assert named
    assert all((root / path).exists() for path in named)

"""What a handler may say with its reply, and what it is told when it cannot be sent."""

import pytest

from pointsman.jobs import Job, JobError, Reply


def test_meta_that_cannot_travel_is_refused_where_the_handler_makes_it() -> None:
    for meta in ({"x": object()}, {"x": {1: 2}}, {"x": {"y": (1, {2})}}):
        with pytest.raises(ValueError, match=r"^meta has a"):
            Reply(b"", meta=meta)
        with pytest.raises(ValueError, match=r"^meta has a"):
            Job().partial_nowait(b"", meta=meta)


def test_meta_of_plain_values_is_fine() -> None:
    assert Reply(b"x", meta={"words": [["hello", 0.5]], "raw": b"", "none": None}).meta


def test_a_job_error_may_help_elsewhere_as_its_code_says_or_who_raises_it() -> None:
    assert JobError("INTERNAL").retryable, "what the protocol calls INTERNAL_ERROR"
    assert JobError("MODEL_LOAD_FAILED").retryable
    assert not JobError("OUT_OF_CHEESE").retryable
    assert not JobError("INTERNAL_ERROR", retryable=False).retryable

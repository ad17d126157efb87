"""What a handler may say with its reply, and what it is told when it cannot be sent."""

from collections.abc import Callable

import pytest

from pointsman.handlers import Attempt
from pointsman.jobs import Job, JobError, Reply
from pointsman.options import submit_message
from pointsman_wire.limits import PAYLOAD_BYTES_MAX
from pointsman_wire.messages import META_BYTES_MAX


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


FULL = "x" * (META_BYTES_MAX - 8)


def test_meta_may_be_large_and_no_larger() -> None:
    assert Reply(b"", meta={"x": FULL}).meta
    submit_message({"meta": {"x": FULL}}, number=0, stream=False)
    for make in (
        lambda: Reply(b"", meta={"x": FULL + "y"}),
        lambda: Job().partial_nowait(b"", meta={"x": FULL + "y"}),
        lambda: submit_message({"meta": {"x": FULL + "y"}}, number=0, stream=False),
    ):
        with pytest.raises(ValueError, match="524289 bytes, at most 524288 can travel"):
            make()


def test_a_submit_that_no_server_would_take_is_not_sent() -> None:
    names = [f"{number}-" + "\N{GRINNING FACE}" * 120 for number in range(256)]
    fields = {"meta": {"x": FULL}, "features": names, "auto_langs": names, "exclude": names}
    submit_message(fields, number=0, stream=False)
    fields["services"] = names
    with pytest.raises(ValueError, match="beside the payload, at most 917504 are taken"):
        submit_message(fields, number=0, stream=False)


REFUSED: dict[str, Callable[[], object]] = {
    "a content type too long": lambda: Reply(b"", content_type="x" * 129),
    "half a character in it": lambda: Reply(b"", content_type="\ud800"),
    "half a character in meta": lambda: Reply(b"", meta={"x": "\ud800"}),
    "a piece too large": lambda: Job().partial_nowait(bytes(PAYLOAD_BYTES_MAX + 1)),
    "half a character in it as text": lambda: Job().partial_nowait("\ud800"),
    "its content type": lambda: Job().partial_nowait(b"", content_type="x" * 129),
    "no number": lambda: Job().progress_nowait(float("nan")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_travel_is_refused_where_the_handler_says_it(name: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # in words of its own each
        REFUSED[name]()


TOO_MUCH: dict[str, Callable[[], object]] = {
    "a result": lambda: bytes(PAYLOAD_BYTES_MAX + 1),
    "a text": lambda: "\u00e9" * (PAYLOAD_BYTES_MAX // 2 + 1),
    "half a character": lambda: "\ud800",
    "a reply": lambda: Reply(bytes(PAYLOAD_BYTES_MAX + 1)),
    "its meta": lambda: Reply(b"", meta={"x": FULL + "y"}),
    "a piece": REFUSED["a piece too large"],
    "the meta of a piece": lambda: Job().partial_nowait(b"", meta={"x": FULL + "y"}),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_job_whose_output_cannot_travel_fails_for_good(name: str) -> None:
    """Another node would say the same: it is no fault of this one, nor of the service."""
    with Attempt(Job()) as attempt:
        attempt.took(TOO_MUCH[name]())
    ended = attempt.ended
    assert (ended.status, ended.code, ended.retryable) == ("failed", "INVALID_MESSAGE", False)
    assert ended.message

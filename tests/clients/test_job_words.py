"""What a handler may say with its reply, and what it is told when it cannot be sent."""

import pytest

from pointsman.jobs import Job, Reply


def test_meta_that_cannot_travel_is_refused_where_the_handler_makes_it() -> None:
    for meta in ({"x": object()}, {"x": {1: 2}}, {"x": {"y": (1, {2})}}):
        with pytest.raises(ValueError, match=r"^meta has a"):
            Reply(b"", meta=meta)
        with pytest.raises(ValueError, match=r"^meta has a"):
            Job().partial_nowait(b"", meta=meta)


def test_meta_of_plain_values_is_fine() -> None:
    assert Reply(b"x", meta={"words": [["hello", 0.5]], "raw": b"", "none": None}).meta

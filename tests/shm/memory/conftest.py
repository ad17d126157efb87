"""Memory to test on: plain heap bytes, or a real segment that is removed afterwards."""

import os
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from pointsman_shm.memory.segment import Segment, create_segment, unlink_segment

_numbers = count()

MakeName = Callable[[], str]
MakeMemory = Callable[[int], memoryview]


@pytest.fixture
def make_name() -> Iterator[MakeName]:
    """Return a maker of segment names that no other run uses; what bears one is removed."""
    names: list[str] = []

    def make() -> str:
        names.append(f"/pointsman.test-{os.getpid()}-{next(_numbers)}.memory")
        return names[-1]

    yield make
    for name in names:
        unlink_segment(name)


@pytest.fixture
def make_segment(make_name: MakeName) -> Iterator[Callable[[int], Segment]]:
    """Return a maker of real segments of a size."""
    segments: list[Segment] = []

    def make(size: int) -> Segment:
        segments.append(create_segment(make_name(), size))
        return segments[-1]

    yield make
    for segment in segments:
        segment.close()


@pytest.fixture(params=["heap", "segment"])
def make_memory(
    request: pytest.FixtureRequest, make_segment: Callable[[int], Segment]
) -> MakeMemory:
    """Return a maker of zeroed memory, which is heap in one run and shared in the other."""
    if request.param == "heap":
        return lambda size: memoryview(bytearray(size))
    return lambda size: make_segment(size).buffer

"""Waiting words: what a worker publishes is what the others find."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.memory.waiting import BUCKET_COUNT, WaitingWords

MakeMemory = Callable[[int], memoryview]

PUBLISHED = st.tuples(
    st.integers(0, BUCKET_COUNT - 1),
    st.integers(0, 3),
    st.integers(0, 2**63),
    st.integers(1, 100),
    st.integers(1, 2**64 - 1),
)


def test_others_find_what_a_worker_has_waiting_and_it_does_not_find_itself(
    make_memory: MakeMemory,
) -> None:
    memory = make_memory(WaitingWords.size(3))
    words = WaitingWords(memory, worker_count=3, create=True)
    first, last = words.own(0), words.own(2)
    first.publish(63, 5, 1_000, 2, 1 << 63)
    last.publish(0, 1, 2_000, 1, 0b11)
    elsewhere = WaitingWords(memory.toreadonly(), worker_count=3)
    assert list(elsewhere.others(1)) == [(0, 63, 5, 1_000, 2, 1 << 63), (2, 0, 1, 2_000, 1, 0b11)]
    assert [found.worker for found in elsewhere.others(0)] == [2]
    assert [elsewhere.worker_mask(worker) for worker in range(3)] == [1 << 63, 0, 0b11]


@given(st.lists(PUBLISHED, max_size=40))
def test_what_is_found_is_what_was_published_last_in_each_bucket(
    published: list[tuple[int, int, int, int, int]],
) -> None:
    words = WaitingWords(bytearray(WaitingWords.size(2)), worker_count=2, create=True)
    own = words.own(1)
    expected: dict[int, tuple[int, ...]] = {}
    for bucket, count, oldest_since_ns, best, class_mask in published:
        own.publish(bucket, count, oldest_since_ns, best, class_mask)
        expected.pop(bucket, None)
        if count:
            expected[bucket] = (1, bucket, count, oldest_since_ns, best, class_mask)
        mask = 0
        for found in expected.values():
            mask |= found[-1]
        assert words.worker_mask(1) == mask
    assert list(words.others(0)) == [expected[bucket] for bucket in sorted(expected)]


def test_a_dead_workers_words_are_cleared_by_whoever_succeeds_it(make_memory: MakeMemory) -> None:
    words = WaitingWords(make_memory(WaitingWords.size(2)), worker_count=2, create=True)
    words.own(0).publish(3, 1, 5, 1, 1)
    words.own(1).publish(4, 1, 5, 1, 2)
    words.clear(1)
    assert not list(words.others(0))
    assert words.worker_mask(1) == 0
    words.own(0)
    assert not list(words.others(1))


def test_a_worker_that_does_not_exist_is_our_own_mistake() -> None:
    words = WaitingWords(bytearray(WaitingWords.size(2)), worker_count=2, create=True)
    with pytest.raises(AssertionError):
        words.own(2)

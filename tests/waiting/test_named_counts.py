"""Counts by name: never less than the truth, seldom much more, and whose they are."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.memory.named_counts import CELL_COUNT, NamedCount
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_workers.core.turns.names import NamedCounts

CHANGES = st.lists(st.tuples(st.integers(1, 2), st.sampled_from("abcdef"), st.integers(1, 9)))


def workers(count: int) -> tuple[WaitingWords, list[NamedCounts]]:
    words = WaitingWords(bytearray(WaitingWords.size(count)), worker_count=count, create=True)
    return words, [NamedCounts(words, words.own(n), n, b"key") for n in range(count)]


@given(CHANGES)
def test_what_others_have_is_never_said_to_be_less(changes: list[tuple[int, str, int]]) -> None:
    _, (first, *others) = workers(3)
    truth: Counter[str] = Counter()
    for worker, name, change in changes:
        others[worker - 1].add(NamedCount.HELD, "jobs", name, change)
        truth[name] += change
    for name, count in truth.items():
        assert first.elsewhere(NamedCount.HELD, "jobs", name) >= count
        assert first.elsewhere(NamedCount.BYTES, "jobs", name) == 0
    for worker, name, change in changes:
        others[worker - 1].add(NamedCount.HELD, "jobs", name, -change)
    assert not any(first.elsewhere(NamedCount.HELD, "jobs", name) for name in "abcdef")


def test_among_a_thousand_names_few_are_said_to_have_more_than_they_have() -> None:
    _, (here, there) = workers(2)
    for number in range(1_000):
        there.add(NamedCount.HELD, "address", f"10.0.{number >> 8}.{number & 255}", 1)
    found = [here.elsewhere(NamedCount.HELD, "address", f"stranger-{n}") for n in range(1_000)]
    assert sum(found) <= 40, "each row is shared with one in five, all three with one in a hundred"
    assert max(found) <= 1 + 1_000 * 3 // CELL_COUNT + 1


def test_who_begins_anew_has_nothing_and_has_admitted_what_it_had() -> None:
    words, (here, there) = workers(2)
    for kind in NamedCount:
        there.add(kind, "x", "acme", 5)
    words.own(1)
    assert [here.elsewhere(kind, "x", "acme") for kind in NamedCount] == [0, 0, 5]


def test_alone_nothing_is_counted() -> None:
    words, (alone,) = workers(1)
    alone.add(NamedCount.HELD, "x", "acme", 5)
    assert alone.elsewhere(NamedCount.HELD, "x", "acme") == 0
    assert words.named_elsewhere(0, NamedCount.HELD, (1, 2, 3)) == (0, 0, 0)

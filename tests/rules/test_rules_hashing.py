"""The stable hash against its published vectors."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.rules.hashing import fnv1a_64, pool_probe_order, stable_index


@pytest.mark.parametrize(
    ("key", "seed", "expected"),
    [
        ("abc", 0, 0x42E4F4CAFDACEEAB),
        ("abc", 1, 0x23EA2DC1F2BDA48A),
        ("", 0, 0xA8C7F832281A39C5),
    ],
)
def test_the_hash_equals_its_vectors(key: str, seed: int, expected: int) -> None:
    assert fnv1a_64(key, seed) == expected


@pytest.mark.parametrize(
    ("key", "seed", "count", "expected"),
    [
        ("abc", 0, 16, 11),
        ("abc", 0, 7, 1),
        ("abc", 1, 16, 10),
        ("abc", 1, 7, 4),
        ("tenant-A", 0, 2, 1),
        ("tenant-B", 0, 2, 0),
    ],
)
def test_the_index_equals_its_vectors(key: str, seed: int, count: int, expected: int) -> None:
    assert stable_index(key, seed, count) == expected


def test_a_key_that_utf_8_cannot_carry_is_hashed_all_the_same() -> None:
    assert fnv1a_64("\ud800", 0) != fnv1a_64("\ud801", 0)


def test_the_ring_starts_where_it_is_told() -> None:
    assert pool_probe_order(4, 2) == (2, 3, 0, 1)
    assert pool_probe_order(1, 0) == (0,)


@given(st.integers(1, 50), st.data())
def test_the_ring_visits_everything_once(count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, count - 1))
    order = pool_probe_order(count, start)
    assert sorted(order) == list(range(count))
    assert all((a + 1) % count == b for a, b in itertools.pairwise(order))

"""The stable hash against its published vectors."""

import pytest

from pointsman_shm.rules.hashing import fnv1a_64, stable_index


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

"""Every client computes the same owner of a session."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_wire.shards import session_key, shard_of

# From zlib's crc32, for those who write a client in another language.
ON_RECORD = {
    "": 0,
    "s": 453_955_339,
    "session-1": 599_834_158,
    "¿dónde está?": 2_744_339_491,
}


def plain_crc32(data: bytes) -> int:
    """The checksum of Ethernet, zlib and PNG, bit by bit: polynomial 0xEDB88320, reflected."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@given(st.text())
def test_the_key_is_the_crc32_of_the_id_as_utf8(session_id: str) -> None:
    assert session_key(session_id) == plain_crc32(session_id.encode())


@pytest.mark.parametrize("session_id", ON_RECORD)
def test_keys_are_those_on_record(session_id: str) -> None:
    assert session_key(session_id) == ON_RECORD[session_id]


@given(st.text(), st.integers(1, 64))
def test_the_owner_follows_from_the_key_alone(session_id: str, worker_count: int) -> None:
    shard = shard_of(session_id, worker_count)
    assert shard == session_key(session_id) % worker_count
    assert 0 <= shard < worker_count


def test_sessions_spread_over_all_workers() -> None:
    shards = [shard_of(f"session-{i}", 8) for i in range(8000)]
    assert all(800 <= shards.count(k) <= 1200 for k in range(8))

"""Which worker owns a session: a plain remainder that every client can compute.

shard = crc32(session_id as UTF-8) % worker_count
"""

from zlib import crc32


def session_key(session_id: str) -> int:
    """Return the unsigned 32-bit key that the preamble of a session's connection carries."""
    return crc32(session_id.encode())


def shard_of(session_id: str, worker_count: int) -> int:
    """Return the index of the worker that owns the session, 0 .. worker_count - 1."""
    return crc32(session_id.encode()) % worker_count

"""The few messages of Gearman's binary protocol that a job needs.

    "\\0REQ" or "\\0RES", type and size as 32 bits, big-endian, then arguments between NUL bytes

Source: the PROTOCOL document of gearmand.
"""

import struct

HEAD = struct.Struct(">4sII")
REQUEST, RESPONSE = b"\0REQ", b"\0RES"
CAN_DO, PRE_SLEEP, NOOP, SUBMIT_JOB, JOB_CREATED, GRAB_JOB = 1, 4, 6, 7, 8, 9
NO_JOB, JOB_ASSIGN, WORK_COMPLETE = 10, 11, 13
FUNCTION = b"bench"


def pack(kind: int, body: bytes = b"") -> bytes:
    """Return one request."""
    return HEAD.pack(REQUEST, kind, len(body)) + body


def read(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Return the whole messages (type, body) at the beginning of data, and their bytes."""
    found, at = [], 0
    while len(data) - at >= HEAD.size:
        _, kind, size = HEAD.unpack_from(data, at)
        end = at + HEAD.size + size
        if end > len(data):
            break
        found.append((kind, data[at + HEAD.size : end]))
        at = end
    return found, at

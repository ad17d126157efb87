"""Keeping: what another instance would need to run a job, or to tell its result.

At durability `redis` this is stored with the binding.  It is read like anything from outside: what
cannot be decoded is as good as not there.
"""

from typing import Any

import msgspec

from pointsman_shm.snapshot.records import Requirement
from pointsman_wire.session_messages import Result, Submit
from pointsman_workers.core.state import Job


class KeptJob(msgspec.Struct, frozen=True, array_like=True):
    """A job as it was accepted."""

    submit: Submit
    requirement: Requirement
    payload: bytes
    timeout_ns: int
    is_serial: bool = False


class KeptResult(msgspec.Struct, frozen=True, array_like=True):
    """How a job ended."""

    result: Result
    output: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_job = msgspec.msgpack.Decoder(KeptJob).decode
_decode_result = msgspec.msgpack.Decoder(KeptResult).decode


def encode_kept(job: Job) -> bytes:
    """Return what is stored of a job that begins."""
    requirement, is_serial = job.kind.requirement, job.line is not None
    return _encode(KeptJob(job.submit, requirement, job.payload, job.timeout_ns, is_serial))


def encode_result(job: Job) -> bytes:
    """Return what is stored of a job that has ended."""
    assert job.result is not None, job.job_id
    return encode_kept_result(job.result, job.output)


def encode_kept_result(result: Result, output: bytes) -> bytes:
    """Return what is stored of an end."""
    return _encode(KeptResult(result, output))


def decode_kept(stored: bytes | None) -> KeptJob | None:
    """Return the job, None when that is none."""
    found: KeptJob | None = _decoded(_decode_job, stored)
    return found


def decode_result(stored: bytes | None) -> KeptResult | None:
    """Return the result, None when that is none."""
    found: KeptResult | None = _decoded(_decode_result, stored)
    return found


def _decoded(decode: Any, stored: bytes | None) -> Any:
    if not stored:
        return None
    try:
        return decode(stored)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None

"""What is kept of a decision: all that it read, compactly, so that it can be made again.

Records are msgpack arrays.  They are written as plain tuples, in the order of the fields below,
because one is written for every job; they are read as these structs, and only when somebody asks.
What jobs share that took nodes from one sample is encoded once: a placement is written as two
arrays, its own and its basis, which are one when it is read.
"""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from pointsman_shm.rules.session_pool import SessionBinding
from pointsman_shm.snapshot.records import Requirement
from pointsman_wire.messages import Breakdown
from pointsman_workers.placement.checks import ANYWHERE, Ranking, Reading
from pointsman_workers.placement.refusal import Evidence
from pointsman_workers.placement.trail import Asked, Outcomes, brought_up_to_date

PLACED_TAG = 1
REFUSED_TAG = 2

POOLS_KEPT_MAX = 16
READINGS_KEPT_MAX = 256  # of one leg: a sample is always kept whole
BEST_KEPT = 16  # of a leg that is longer
LEGS_KEPT_MAX = 12

# How msgpack begins an array: of less than 16 in one byte, of less than 65,536 in three.
_SHORT_ARRAY_MASK = 0x0F
_LONG_ARRAY = b"\xdc"


class LegRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One leg (placement.trail.Leg); of a long one some readings, a count and a digest."""

    asked: Asked
    outcomes: Outcomes
    readings: tuple[Reading, ...]
    ranking: Ranking = ANYWHERE
    left_out: int = 0  # rows that were looked at as well and whose readings are not kept
    digest: int = 0  # CRC-32 over the readings that are not kept
    requirement: Requirement | None = None  # where it is another than the job's own


class SessionStep(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The session decision: what it started from, and the pools that came out, in order."""

    outcome: str
    before: SessionBinding | None
    eligible_count: int
    pools: tuple[int, ...]  # the first POOLS_KEPT_MAX
    pool_count: int
    draw: int = 0  # the random number that was there if chance had to decide
    room: dict[int, int] | None = None  # free slots by pool, where the choice is by room


class Placed(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=PLACED_TAG):
    """A job got a node."""

    job_id: str
    attempt: int  # 1 for the first
    taken_ns: int
    waited_ns: int  # in the queue before
    preferred_node: str
    row: int
    score: float
    runner_up: int
    # Readings of the last leg whose nodes jobs of the same turn had taken since, each adding one
    # to what its node holds; `decode_record` has added it.
    taken: tuple[int, ...]
    # From here on: the basis.
    selector: str
    at_ns: int  # of the host's monotonic clock
    version: int  # of the snapshot
    beat_at_ns: int  # of the manager's last sign of life, 0 before the first
    requirement: Requirement
    session: SessionStep | None  # None: single-level
    legs: tuple[LegRecord, ...]
    legs_left_out: int = 0
    barred: tuple[int, ...] = ()  # rows among the readings that a mark barred


class Refused(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=REFUSED_TAG):
    """A job was told that nobody can do it, or that its wait is over."""

    job_id: str
    attempt: int
    at_ns: int
    waited_ns: int
    version: int
    beat_at_ns: int
    requirement: Requirement
    code: str
    shared: int  # the number under which the answer is kept that equal refusals share


class RefusalRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What refusals share: the answer, and the groups of nodes whose verdicts it counts."""

    breakdown: Breakdown
    evidence: tuple[Evidence, ...]
    evidence_left_out: int
    ranking: Ranking
    barred: tuple[int, ...]  # rows in the evidence that a mark barred


Kept = Placed | Refused

_read_refusal = msgspec.msgpack.Decoder(RefusalRecord)
_read: Callable[[bytes], Kept] = msgspec.msgpack.Decoder(Kept).decode


class RecordDamaged(Exception):
    """These bytes are no record of a decision."""


def joined(own: bytes, basis: bytes) -> bytes:
    """Return one array of two of less than 16 fields each, or the first where there is no other."""
    if not basis:
        return own
    count = (own[0] & _SHORT_ARRAY_MASK) + (basis[0] & _SHORT_ARRAY_MASK)
    return b"".join((_LONG_ARRAY, count.to_bytes(2, "big"), own[1:], basis[1:]))


def decode_record(data: bytes) -> Kept:
    """Read a record; raises RecordDamaged for bytes that are none."""
    try:
        record = _read(data)
    except msgspec.DecodeError as error:
        raise RecordDamaged(str(error)) from error
    if isinstance(record, Placed) and record.taken:
        try:
            *legs, last = record.legs
            readings = brought_up_to_date(last.readings, record.taken)
        except (ValueError, IndexError) as error:
            raise RecordDamaged("jobs took nodes of which nothing was read") from error
        return replace(record, legs=(*legs, replace(last, readings=readings)))
    return record


def decode_refusal(data: bytes) -> RefusalRecord:
    """Read what refusals share; raises RecordDamaged for bytes that are none."""
    try:
        return _read_refusal.decode(data)
    except msgspec.DecodeError as error:
        raise RecordDamaged(str(error)) from error

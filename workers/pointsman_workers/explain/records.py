"""What is kept of a decision: all that it read, compactly, so that it can be made again.

Records are msgpack arrays.  They are written as plain tuples, in the order of the fields below,
because one is written for every job; they are read as these structs, and only when somebody asks.
"""

from collections.abc import Callable

import msgspec

from pointsman_shm.rules.session_pool import SessionBinding
from pointsman_shm.snapshot.records import Requirement
from pointsman_wire.messages import Breakdown
from pointsman_workers.placement.checks import ANYWHERE, Ranking, Reading
from pointsman_workers.placement.refusal import Evidence
from pointsman_workers.placement.trail import Asked, Outcomes

PLACED_TAG = 1
REFUSED_TAG = 2

POOLS_KEPT_MAX = 16
READINGS_KEPT_MAX = 256  # of one leg: a sample is always kept whole
BEST_KEPT = 16  # of a leg that is longer
LEGS_KEPT_MAX = 12


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
    selector: str
    at_ns: int  # of the host's monotonic clock
    taken_ns: int
    waited_ns: int  # in the queue before
    version: int  # of the snapshot
    beat_at_ns: int  # of the manager's last sign of life, 0 before the first
    requirement: Requirement
    session: SessionStep | None  # None: single-level
    preferred_node: str
    row: int
    score: float
    runner_up: int
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


def decode_record(data: bytes) -> Kept:
    """Read a record; raises RecordDamaged for bytes that are none."""
    try:
        return _read(data)
    except msgspec.DecodeError as error:
        raise RecordDamaged(str(error)) from error


def decode_refusal(data: bytes) -> RefusalRecord:
    """Read what refusals share; raises RecordDamaged for bytes that are none."""
    try:
        return _read_refusal.decode(data)
    except msgspec.DecodeError as error:
        raise RecordDamaged(str(error)) from error

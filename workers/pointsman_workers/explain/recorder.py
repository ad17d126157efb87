"""The recorder: writes down every placement and refusal, within a bound of bytes.

Placements at the first try go into one ring; refusals and failovers, which are asked about more
and are rarer, into another, so that a flood of the former does not wash away the latter.  What
equal refusals share is kept once, and so is what placements share that come from one sample.

Recording is on the way of every job: one tuple, which is encoded with its neighbours.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from pointsman_shm.rules.session_pool import PoolDecision, SessionBinding
from pointsman_workers.core.state import Job, Key
from pointsman_workers.explain.pages import KeptPages
from pointsman_workers.explain.records import (
    BEST_KEPT,
    LEGS_KEPT_MAX,
    PLACED_TAG,
    POOLS_KEPT_MAX,
    READINGS_KEPT_MAX,
    REFUSED_TAG,
    RefusalRecord,
    decode_refusal,
)
from pointsman_workers.explain.ring import Ring
from pointsman_workers.placement.checks import MARKED_BIT, Reading
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.ranking import rank
from pointsman_workers.placement.refusal import Refusal
from pointsman_workers.placement.trail import WALK, Choice, Decided, Leg

PLACED_SHARE = 12  # sixteenths of the bytes
TROUBLED_SHARE = 3
SHARES = 16

LegFields = tuple[object, ...]  # of a LegRecord, in its order

_encode = msgspec.msgpack.Encoder().encode


class Recorder:
    """What one worker remembers of its decisions."""

    def __init__(self, fleet: Fleet, bytes_max: int) -> None:
        self._fleet = fleet
        self.placed: Ring[Key] = Ring(bytes_max * PLACED_SHARE // SHARES)
        self.troubled: Ring[Key] = Ring(bytes_max * TROUBLED_SHARE // SHARES)
        rest = SHARES - PLACED_SHARE - TROUBLED_SHARE
        self._shared: Ring[int] = Ring(bytes_max * rest // SHARES)
        self._last_shared = 0
        # What the last placement was made from: encoded once for all that were made from the same.
        # A session decision is the same object only where it keeps a pool, and then for bindings
        # that are all equal.
        self._leg: Leg | None = None
        self._kind: Kind | None = None
        self._session: PoolDecision | None = None
        self._step = msgspec.Raw(_encode(None))
        self._basis = b""
        self._last_refusal: Refusal | None = None
        self.pages = KeptPages()

    def note_placed(self, job: Job, decided: Decided, choice: Choice) -> None:
        """Write down who got the job and what that was decided from."""
        fleet, kind = self._fleet, job.kind
        leg = fleet.trail[0]
        if leg is not self._leg or kind is not self._kind or decided.session is not self._session:
            self._leg, self._kind = leg, kind
            self._basis = self._basis_of(kind, decided)
        record = (
            PLACED_TAG,
            job.job_id,
            job.attempt + (job.hold is None),  # a hedge belongs to the attempt that is at work
            job.placement_ns,
            fleet.now_ns - job.accepted_at_ns,
            job.submit.preferred_node,
            choice.row,
            choice.score,
            choice.runner_up,
            choice.taken,
        )
        ring = self.troubled if job.attempt or job.failed_nodes else self.placed
        ring.put(job.key, record, self._basis)

    def _basis_of(self, kind: Kind, decided: Decided) -> bytes:
        """Encode what a decision was made from."""
        fleet = self._fleet
        snapshot, trail, session, left_out = fleet.snapshot, fleet.trail, decided.session, 0
        if snapshot.version != self.pages.latest_version:
            self.pages.keep(snapshot)
        if session is not self._session:
            self._session = session
            step = None if session is None else _step_fields(session, decided.bound_before)
            self._step = msgspec.Raw(_encode(step))
        leg = trail[0]
        if len(trail) == 1 and leg[4] is kind and len(leg[2]) <= READINGS_KEPT_MAX:
            legs: Sequence[LegFields] = (leg[:4],)
        else:
            legs, left_out = shorten(trail, kind)
        basis: tuple[object, ...] = (
            decided.selector,
            fleet.clock_ns,
            snapshot.version,
            fleet.beat_at_ns(),
            kind.encoded,
            self._step,
            legs,
        )
        if left_out or snapshot.marks:
            basis += (left_out, _barred(trail))
        return _encode(basis)

    def note_refused(self, job: Job, refusal: Refusal, code: str) -> None:
        """Write down that a job was told why nobody took it."""
        fleet = self._fleet
        if fleet.snapshot.version != self.pages.latest_version:
            self.pages.keep(fleet.snapshot)
        if refusal is not self._last_refusal:
            self._last_refusal = refusal
            self._last_shared += 1
            self._shared.put(self._last_shared, _shared_record(refusal))
        record = (
            REFUSED_TAG,
            job.job_id,
            job.attempt + 1,
            fleet.clock_ns,
            fleet.now_ns - job.accepted_at_ns,
            refusal.version,
            fleet.beat_at_ns(),
            job.kind.encoded,
            code,
            self._last_shared,
        )
        self.troubled.put(job.key, record)

    def shared(self, number: int) -> RefusalRecord | None:
        """What a refusal said and judged, None when it is not kept any more."""
        found = self._shared.before_latest(self._last_shared - number)  # they are put in turn
        return None if found is None else decode_refusal(found)

    def find(self, request_id: str) -> dict[Key, list[bytes]]:
        """The records of every request with this id, by key, in no certain order."""
        rings = (self.placed, self.troubled)
        keys = {key for ring in rings for key in ring if key[2] == request_id}
        return {key: self.of(key) for key in keys}

    def of(self, key: Key) -> list[bytes]:
        """The records of one request, in no certain order."""
        return self.placed.of(key) + self.troubled.of(key)

    @property
    def size(self) -> int:
        """Bytes held by all rings."""
        return self.placed.size + self.troubled.size + self._shared.size


def _step_fields(decision: PoolDecision, before: SessionBinding | None) -> tuple[object, ...]:
    pools = decision.pools
    kept = pools if len(pools) <= POOLS_KEPT_MAX else pools[:POOLS_KEPT_MAX]
    question = decision.question
    assert question is not None, "decide_pools keeps it"
    return (
        decision.outcome,
        before,
        decision.eligible_count,
        kept,
        len(pools),
        question.draw,
        question.free_slots,
    )


def _shared_record(refusal: Refusal) -> tuple[object, ...]:
    return (
        refusal.breakdown,
        refusal.evidence,
        refusal.evidence_left_out,
        refusal.ranking,
        refusal.barred,
    )


def _barred(trail: Sequence[Leg]) -> list[int]:
    """Rows among the readings that are marked, and the mark concerns this kind of job."""
    return sorted(
        {
            row
            for _, _, readings, _, kind in trail
            for row, word, *_ in readings
            if word & MARKED_BIT and kind.judgement.is_barred(row, word)
        }
    )


def shorten(trail: Sequence[Leg], kind: Kind) -> tuple[list[LegFields], int]:
    """Bring a long trail within bounds: (legs, how many legs were left out of it).

    Of a walk only the last chunk keeps its readings, of a whole pool the best ranked ones; the
    others become a count and a digest.  `kind` is the job's own.
    """
    legs: list[LegFields] = []
    passed_by: list[Sequence[Reading]] = []
    for at, leg in enumerate(trail):
        following = trail[at + 1] if at + 1 < len(trail) else None
        if following is not None and _is_same_walk(leg, following):
            passed_by.append(leg[2])
            continue
        legs.append(_shortened(leg, passed_by, kind))
        passed_by = []
    first = LEGS_KEPT_MAX // 3
    left_out = max(0, len(legs) - LEGS_KEPT_MAX)
    if left_out:
        legs = legs[:first] + legs[first + left_out :]
    return legs, left_out


def _is_same_walk(leg: Leg, following: Leg) -> bool:
    (pool, how, *_), (following_pool, following_how, *_) = leg[0], following[0]
    is_walk = how == WALK == following_how and pool == following_pool
    return is_walk and leg[3] == following[3] and leg[4] is following[4]


def _shortened(leg: Leg, passed_by: list[Sequence[Reading]], own: Kind) -> LegFields:
    asked, outcomes, readings, ranking, kind = leg
    kept = readings
    if len(readings) > READINGS_KEPT_MAX:
        best_count = max(BEST_KEPT, len(outcomes) + 1)
        best = {row for _, row, _ in rank(readings, kind.judgement, ranking)[:best_count]}
        kept = [reading for reading in readings if reading[0] in best]
        passed_by = [[reading for reading in readings if reading[0] not in best]]
    left_out = sum(map(len, passed_by))
    fields = (asked, outcomes, kept, ranking, left_out, digest_of(passed_by))
    return fields if kind is own else (*fields, kind.encoded)


def digest_of(chunks: Sequence[Sequence[Reading]]) -> int:
    """Return the CRC-32 over readings in their order, 0 over none."""
    digest = 0
    for chunk in chunks:
        digest = crc32(_encode(chunk), digest)
    return digest

"""What of a shard is on disk, what goes there with this step, and which segments may go.

Everything that lives (open jobs, ended jobs of the window, open sessions) is counted for the
oldest segment that has something of it.  A segment with nothing alive before which there is none
either is dropped; when the journal is too large, or little is left alive in its oldest segment,
what lives there is written anew (carried forward), a little in each step.

Room is a fact that the store tells.  A job is accepted only when it fits and leaves room for the
ends of all open jobs; a result that does not fit stays at its node until the client has it.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from msgspec.msgpack import Encoder
from msgspec.structs import replace

from pointsman_shm.config import JournalConfig
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import DropSegments, JournalState, WriteJournal
from pointsman_workers.core.state import Hold, Job, Session
from pointsman_workers.journal.entries import (
    AnyEntry,
    JobAccepted,
    JobDispatched,
    JobEnded,
    JobKept,
    RecoveredResult,
    ResultsRead,
    SessionEnded,
    SessionOpened,
)

# An entry without its bodies; what is generous here is refused a little early, nothing else.
ENTRY_BYTES = 512
CONTENT_TYPE_BYTES = 128  # of them; a longer content type counts like meta
# What an open job may still write: some dispatches, and its end without a body.
OPEN_JOB_BYTES = 2 * 1024
CARRIED_A_STEP_MAX = 512
CARRIED_BYTES_MAX = 1024 * 1024
# Nothing new gets this, nor what is carried forward: it is for bare ends.
RESERVE_BYTES = 256 * 1024
# So few that carrying them costs less than keeping their segment.
FEW_LEFT = 256
UNSYNCED_MAX = 1_000_000

MEMORY, JOURNAL, FSYNC, REDIS = "memory", "journal", "fsync", "redis"
Kept = Job | RecoveredResult
_encode = Encoder().encode


class JournalBook:
    """The journal as the core sees it; without a state there is none, and nothing is written."""

    def __init__(self, config: JournalConfig, state: JournalState | None) -> None:
        self._carried_max = min(CARRIED_BYTES_MAX, config.segment_bytes // 8)
        self._result_bytes_max = config.result_bytes_max
        # The rest is for what is written while what lives is carried forward, and until the disk
        # has it: a journal that is full meanwhile takes no job.
        self._carry_above = config.bytes_max * 3 // 4
        self._grows_to = config.bytes_max + config.segment_bytes  # as the store has it
        # What is new must leave this: without room to carry forward, a journal at its bound would
        # never have room again.
        self._kept_free = RESERVE_BYTES + self._carried_max
        self.is_there = state is not None
        self.state = state or JournalState(segment=0, room_bytes=0, held_bytes=0, oldest=0)
        self._room_bytes = self.state.room_bytes
        self._first: list[AnyEntry] = []  # sessions and acceptances
        self._then: list[AnyEntry] = []  # what happens to them
        self._read: dict[int, int] = {}  # session -> last number read
        # What the core's time lacks of the clock, which is all that a successor knows.
        self.late_ns = 0
        self._must_sync = False
        self._number = 1  # of the record that is being gathered
        self._last_sync = 0  # number of the newest record that must be synced
        self._synced = 0
        self._unsynced: deque[tuple[int, Callable[[], object]]] = deque(maxlen=UNSYNCED_MAX)
        # Segment -> number -> what lives.
        self._jobs: defaultdict[int, dict[int, Kept]] = defaultdict(dict)
        self._sessions: dict[int, dict[int, Session]] = {}
        self._dropped_below = self.state.oldest

    # -- room --------------------------------------------------------------------------------

    def has_room(self, payload: bytes, meta: dict[str, Any] | None, open_jobs: int) -> bool:
        """May a job with this payload be accepted, with room left for the ends of all others?"""
        wanted = ENTRY_BYTES + len(payload)
        if meta:
            wanted += len(_encode(meta))
        return wanted + self._kept_free + open_jobs * OPEN_JOB_BYTES <= self._room_bytes

    @property
    def is_at_its_bound(self) -> bool:
        """Is it the bound that leaves it no room, and not the disk?"""
        return self.state.held_bytes > self._grows_to

    def told(self, state: JournalState) -> None:
        """The store has a new segment, or has found that there is room or none."""
        self.state = state
        self._room_bytes = state.room_bytes

    # -- entries -----------------------------------------------------------------------------

    def accepted(self, job: Job) -> None:
        """Write a new job, before it its session if that is not in the journal yet.

        One that is over, or never was here, has no end to come that would take it out again.
        """
        if not job.session.segment and not job.session.is_closed:
            self.session(job.session)
        job.segment = segment = self.state.segment
        self._jobs[segment][job.arrival] = job
        self._first.append(_accepted(job, self.late_ns))
        self._room_bytes -= ENTRY_BYTES + _payload_bytes(job)
        if job.durability == FSYNC:
            self._must_sync = True

    def dispatched(self, job: Job, hold: Hold) -> None:
        """Write that the job goes to a node, before it goes."""
        job.dispatched = entry = JobDispatched(
            job.arrival,
            hold.epoch,
            hold.dispatch,
            hold.lane.node_id,
            job.attempt,
            job.failovers,
            job.failed_nodes,
            job.reasons,
            job.blamed_on,
            job.crash_count,
        )
        self._then.append(entry)
        self._room_bytes -= ENTRY_BYTES

    def ended_whole(self, job: Job) -> bool:
        """Write the end of a job with its output; False: that is too large, or has no room."""
        result, output = job.result, job.output
        assert result is not None, job.job_id
        size = _result_bytes(result, output)
        # For bare ends room was left when their jobs were accepted.
        if size and (size > self._result_bytes_max or size + self._kept_free > self._room_bytes):
            return False
        job.dispatched = None
        self._then.append(JobEnded(job.arrival, result, output))
        self._room_bytes -= ENTRY_BYTES + size
        if job.durability == FSYNC:
            self._must_sync = True
        return True

    def ended(self, job: Job, *, is_forgotten: bool) -> None:
        """Write the end of a job of whose output nothing is kept."""
        assert job.result is not None, job.job_id
        job.dispatched = None
        entry = JobEnded(job.arrival, _bare(job.result), b"", is_forgotten, job.is_result_gone)
        self._put(self._then, entry, 0)
        if job.durability == FSYNC:
            self._must_sync = True

    def left(self, job: Job) -> None:
        """The job is another instance's now: nothing of it is needed here."""
        if job.segment:
            result = Result(job_id=job.job_id, status="failed")
            self._put(self._then, JobEnded(job.arrival, result, b"", True), 0)
            self.forgotten(job.segment, job.arrival)
            job.segment = 0

    def session(self, session: Session) -> None:
        """Write a session as it is now."""
        if session.segment:
            self._sessions[session.segment].pop(session.serial, None)
        session.segment = self.state.segment
        self._sessions.setdefault(session.segment, {})[session.serial] = session
        self._put(self._first, _opened(session), 0)

    def session_ended(self, session: Session) -> None:
        """The session is over."""
        if session.segment:
            del self._sessions[session.segment][session.serial]
            session.segment = 0
            self._put(self._then, SessionEnded(session.serial), 0)

    def read(self, session: Session, number: int) -> None:
        """The client has read results up to this number."""
        if session.segment:
            self._read[session.serial] = number

    def when_synced(self, act: Callable[[], object]) -> None:
        """Do this once everything that must be so far is on the disk itself."""
        number = self._number if self._must_sync else self._last_sync
        if number <= self._synced:
            act()
        else:
            self._unsynced.append((number, act))

    def synced(self, number: int) -> None:
        """Every record up to this number is on the disk; word of an older one may come later."""
        self._synced = max(self._synced, number)
        unsynced = self._unsynced
        while unsynced and unsynced[0][0] <= number:
            unsynced.popleft()[1]()

    def _put(self, entries: list[AnyEntry], entry: AnyEntry, body_bytes: int) -> None:
        entries.append(entry)
        self._room_bytes -= ENTRY_BYTES + body_bytes

    # -- what lives --------------------------------------------------------------------------

    def adopt_job(self, job: Job, segment: int) -> None:
        """A job lives in this segment: an open one of a predecessor, or what is carried there."""
        job.segment = segment
        self._jobs[segment][job.arrival] = job

    def adopt_result(self, result: RecoveredResult) -> None:
        """An ended job of a predecessor is in the window, unread so far."""
        self._jobs.setdefault(result.segment, {})[result.kept.job] = result

    def adopt_session(self, session: Session, segment: int) -> None:
        """A session of a predecessor lives in this segment."""
        session.segment = segment
        self._sessions.setdefault(segment, {})[session.serial] = session

    def replace(self, result: RecoveredResult, job: Job) -> None:
        """The recovered result is this job from now on; it may have been carried meanwhile."""
        for segment in (result.segment, *self._jobs):
            living = self._jobs.get(segment, {})
            if living.get(job.arrival) is result:
                living[job.arrival] = job
                job.segment = segment
                return

    def forgotten(self, segment: int, number: int) -> None:
        """A job has left the window: nothing of it is needed any more."""
        living = self._jobs.get(segment)
        if living is not None and living.pop(number, None) is not None:
            return
        # Restored and carried forward since: rare, so a look into each is good enough.
        for living in self._jobs.values():
            living.pop(number, None)

    # -- segments ----------------------------------------------------------------------------

    def tidy(self) -> DropSegments | None:
        """Carry forward what keeps the oldest segment, if it is time, and drop what is dead."""
        if not self.is_there:
            return None
        oldest, segment = self._oldest_alive(), self.state.segment
        if oldest < segment and self._shall_carry(oldest):
            self._carry(oldest)
            oldest = self._oldest_alive()
        if oldest <= self._dropped_below:
            return None
        self._dropped_below = oldest
        return DropSegments(oldest)

    def _oldest_alive(self) -> int:
        """The oldest segment in which something lives; empty tables before it are let go."""
        for living in (self._jobs, self._sessions):
            for segment in [s for s, things in living.items() if not things]:
                del living[segment]
        return min((*self._jobs, *self._sessions), default=self.state.segment)

    def _shall_carry(self, oldest: int) -> bool:
        if self._room_bytes < self._kept_free:
            return False
        left = len(self._jobs.get(oldest, ())) + len(self._sessions.get(oldest, ()))
        return left <= FEW_LEFT or self.state.held_bytes > self._carry_above

    def _carry(self, segment: int) -> None:
        """Write a few of the segment's living things anew."""
        for session in [*islice(self._sessions.get(segment, {}).values(), CARRIED_A_STEP_MAX)]:
            self.session(session)
        carried_bytes = 0
        living = self._jobs.get(segment, {})
        for number, kept in [*islice(living.items(), CARRIED_A_STEP_MAX)]:
            size = _size_of(kept)
            room_bytes = self._room_bytes - size
            if carried_bytes >= self._carried_max or room_bytes < RESERVE_BYTES:
                return
            del living[number]
            if isinstance(kept, Job):
                self._carry_job(kept, size)
                carried_bytes += size
            else:
                self._jobs.setdefault(self.state.segment, {})[number] = kept
                self._put(self._first, kept.kept, size)
                carried_bytes += size

    def _carry_job(self, job: Job, size: int) -> None:
        self.adopt_job(job, self.state.segment)
        if not job.is_open:
            self._put(self._first, _kept(job), size)
            return
        self._put(self._first, _accepted(job, self.late_ns), size)
        if job.hold is not None:
            self.dispatched(job, job.hedge or job.hold)  # the last one counts
        elif job.dispatched is not None:  # it waits again, or its node has yet to report it
            self._put(self._then, job.dispatched, 0)

    def flush(self) -> WriteJournal | None:
        """Return what this step writes, None when that is nothing."""
        entries, then = self._first, self._then
        if then:
            entries += then
            self._then = []
        if self._read:
            for session, last_read in self._read.items():
                entries.append(ResultsRead(session, last_read))
            self._read = {}
        if not entries:
            return None
        self._first = []
        number, must_sync = self._number, self._must_sync
        self._number = number + 1
        if must_sync:
            self._last_sync = number
            self._must_sync = False
        return WriteJournal(number, entries, must_sync)


def _size_of(kept: Kept) -> int:
    """Return how large the bodies are that it takes to write this anew."""
    if not isinstance(kept, Job):
        return _result_bytes(kept.kept.result, kept.kept.output)
    if kept.is_open:
        return _payload_bytes(kept)
    assert kept.result is not None, kept.job_id
    return 0 if kept.is_result_gone else _result_bytes(kept.result, kept.output)


def _payload_bytes(job: Job) -> int:
    meta = job.submit.meta
    return len(job.payload) + (len(_encode(meta)) if meta else 0)


def _result_bytes(result: Result, output: bytes) -> int:
    """The output, and what its node has said beside it, which may be as long."""
    if not result.meta and len(result.content_type) <= CONTENT_TYPE_BYTES:
        return len(output)
    return len(output) + len(_encode((result.meta, result.content_type)))


def _bare(result: Result) -> Result:
    """What is kept of a result without its output."""
    if not result.meta and len(result.content_type) <= CONTENT_TYPE_BYTES:
        return result
    return replace(result, meta=None, content_type="")


def _accepted(job: Job, late_ns: int) -> JobAccepted:
    return JobAccepted(
        job.arrival,
        job.session.serial,
        job.key,
        job.job_id,
        job.submit,
        job.kind.encoded,
        job.payload,
        job.body,
        job.accepted_at_ns + late_ns,
        job.durability,
        job.line is not None,
    )


def _kept(job: Job) -> JobKept:
    assert job.result is not None, job.job_id
    return JobKept(
        job.arrival,
        job.session.serial,
        job.key,
        job.job_id,
        job.body,
        _bare(job.result) if job.is_result_gone else job.result,
        b"" if job.is_result_gone else job.output,
        job.is_result_gone,
    )


def _opened(session: Session) -> SessionOpened:
    return SessionOpened(
        session.serial,
        session.tenant,
        session.session_id,
        session.resume_token,
        session.order,
        session.paired_node,
        session.pairing_code,
        session.next_result,
        session.read,
    )

"""From the entries of a journal to what a worker begins with.

Entries are read in the order in which they were written, and the last word on a thing counts.
What an open job needs is decoded at the end, once and for those only: most jobs have ended, and
of the acceptance of an ended one no more is kept than its names.

Rule 1: an entry about a job that has ended changes nothing, except that JobKept stands for it, and
        that an end which is forgotten takes away whatever stood for it.
Rule 2: `segment` of a thing is the oldest segment without which it would not be found again.
Rule 3: kept jobs ended before all those whose end is still in the journal, in the order of their
        numbers; then come the others as they ended.

Numbers of jobs and sessions go on above the highest that is found.  When everything of the highest
one was dropped, its number may come again; nothing is left then that it could be confused with.
"""

from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

from pointsman_wire.framing import UNDECODABLE
from pointsman_wire.session_messages import Submit
from pointsman_workers.journal.entries import (
    Entry,
    JobAccepted,
    JobDispatched,
    JobEnded,
    JobKept,
    Key,
    Recovered,
    RecoveredJob,
    RecoveredResult,
    RecoveredSession,
    ResultsRead,
    SessionEnded,
    SessionOpened,
)
from pointsman_workers.journal.judging import (
    Damage,
    JournalDamaged,
    JournalOwner,
    Judge,
    JudgedSegment,
    SegmentFile,
)
from pointsman_workers.journal.records import CONTINUES, HEADER_BYTES, MORE, VOID, Record

DAMAGES_TOLD_MAX = 20


class FoundAcceptance(Entry, tag=3, frozen=True, array_like=True, gc=False):
    """JobAccepted with what only an open job needs left as it stands."""

    job: int
    session: int
    key: Key
    job_id: str
    submit: msgspec.Raw
    requirement: msgspec.Raw
    payload: msgspec.Raw
    body: int
    accepted_at_ns: int
    durability: str
    is_serial: bool = False


FoundEntry = (
    SessionOpened
    | SessionEnded
    | FoundAcceptance
    | JobDispatched
    | JobEnded
    | ResultsRead
    | JobKept
)
decode_turn = msgspec.msgpack.Decoder(list[FoundEntry]).decode
_decode_submit = msgspec.msgpack.Decoder(Submit).decode
_decode_payload = msgspec.msgpack.Decoder(bytes).decode


class Fold:
    """Takes turns, oldest first; `recovered` puts together what they come to."""

    def __init__(self, ended_max: int) -> None:
        self._ended_max = ended_max
        self._open: dict[int, tuple[SessionOpened, int]] = {}
        self._accepted: dict[int, tuple[FoundAcceptance, int]] = {}
        self._dispatched: dict[int, JobDispatched] = {}
        self._ended: dict[int, RecoveredResult] = {}
        self._kept: dict[int, RecoveredResult] = {}
        self._last_job = 0
        self._last_session = 0

    def absorb(self, segment: int, entries: Sequence[FoundEntry]) -> None:
        """Take the entries of a turn."""
        for entry in entries:
            if isinstance(entry, FoundAcceptance):
                self._last_job = max(self._last_job, entry.job)
                if entry.job not in self._ended and entry.job not in self._kept:
                    self._accepted[entry.job] = entry, segment
                    self._dispatched.pop(entry.job, None)  # written anew as well, if it holds
            elif isinstance(entry, JobDispatched):
                if entry.job in self._accepted:
                    self._dispatched[entry.job] = entry
            elif isinstance(entry, JobEnded):
                self._job_ended(entry)
            elif isinstance(entry, JobKept):
                self._job_kept(segment, entry)
            else:
                self._of_session(segment, entry)

    def _job_ended(self, entry: JobEnded) -> None:
        found = self._accepted.pop(entry.job, None)
        self._dispatched.pop(entry.job, None)
        if entry.is_forgotten:
            self._ended.pop(entry.job, None)  # its end did not count after all,
            self._kept.pop(entry.job, None)  # nor what was carried forward of it
            return
        if found is None:
            return
        job, since = found
        kept = JobKept(
            entry.job,
            job.session,
            job.key,
            job.job_id,
            job.body,
            entry.result,
            entry.output,
            entry.is_result_gone,
        )
        self._ended[entry.job] = RecoveredResult(kept, since)
        if len(self._ended) > 2 * self._ended_max:
            for number in list(islice(self._ended, self._ended_max)):
                del self._ended[number]

    def _job_kept(self, segment: int, entry: JobKept) -> None:
        self._last_job = max(self._last_job, entry.job)
        self._accepted.pop(entry.job, None)
        self._dispatched.pop(entry.job, None)
        if entry.job in self._ended:  # it keeps its place, and needs its older segment no more
            self._ended[entry.job] = RecoveredResult(entry, segment)
            return
        self._kept[entry.job] = RecoveredResult(entry, segment)
        if len(self._kept) > 2 * self._ended_max:
            for number in sorted(self._kept)[: self._ended_max]:
                del self._kept[number]

    def _of_session(self, segment: int, entry: SessionOpened | SessionEnded | ResultsRead) -> None:
        number = entry.session
        self._last_session = max(self._last_session, number)
        if isinstance(entry, SessionOpened):
            self._open[number] = entry, segment
        elif isinstance(entry, SessionEnded):
            self._open.pop(number, None)
        elif number in self._open:
            opened, since = self._open[number]
            read = max(opened.read, entry.number)
            self._open[number] = msgspec.structs.replace(opened, read=read), since

    def recovered(self, *, is_same_boot: bool, lost_records: int) -> Recovered:
        """Return everything in order."""
        ended = [self._kept[number] for number in sorted(self._kept)]
        ended += self._ended.values()
        return Recovered(
            sessions=[RecoveredSession(*self._open[number]) for number in sorted(self._open)],
            jobs=[self._open_job(number) for number in sorted(self._accepted)],
            ended=ended[-self._ended_max :],
            last_job=self._last_job,
            last_session=self._last_session,
            is_same_boot=is_same_boot,
            lost_records=lost_records,
        )

    def _open_job(self, number: int) -> RecoveredJob:
        found, segment = self._accepted[number]
        try:
            submit, payload = _decode_submit(found.submit), _decode_payload(found.payload)
        except UNDECODABLE as error:
            raise JournalDamaged(
                f"segment {segment}: job {found.job_id} is open and its submit cannot be read "
                f"({error}): start the version that wrote it and let it finish"
            ) from error
        accepted = JobAccepted(
            job=number,
            session=found.session,
            key=found.key,
            job_id=found.job_id,
            submit=submit,
            requirement=found.requirement.copy(),
            payload=payload,
            body=found.body,
            accepted_at_ns=found.accepted_at_ns,
            durability=found.durability,
            is_serial=found.is_serial,
        )
        return RecoveredJob(accepted, self._dispatched.get(number), segment)


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal comes to, and what its directory needs before it is written to again."""

    recovered: Recovered
    last_segment: int  # the last one that counts, 0 when there is none
    last_bytes: int  # it is whole up to here, 0 when there is none
    left_out: list[int]  # later segments: a loss of power cut them off
    given_up: list[Damage]  # stretches to be voided: the operator accepted their loss
    ends: dict[int, int]  # segment, missing ones too -> where it ends
    is_cut: bool  # a loss of power took something that had not been synced


class TurnReader:
    """Puts the turns of a journal together; one that is not there whole is left out."""

    def __init__(self, absorb: Callable[[int, Sequence[FoundEntry]], None]) -> None:
        self._absorb = absorb
        self._begun: list[FoundEntry] = []  # of a turn that goes on in the next record
        self._begun_in = 0

    def read(self, judged: JudgedSegment) -> list[Damage]:
        """Take what a segment holds; return records that are whole and yet say nothing."""
        damages: list[Damage] = []
        next_begin = HEADER_BYTES
        with memoryview(judged.data) as view:
            for record in judged.scan.records:
                if record.begin != next_begin:
                    self._begun = []
                next_begin = record.end
                if record.flags & VOID:
                    self._begun = []
                    continue
                try:
                    entries = decode_turn(view[record.body_begin : record.body_end])
                except UNDECODABLE as error:
                    damages.append(_undecodable(judged, record, str(error)))
                    continue
                if record.flags:
                    self._read_part(judged.number, record.flags, entries)
                else:
                    self._absorb(judged.number, entries)
        return damages

    def _read_part(self, segment: int, flags: int, entries: list[FoundEntry]) -> None:
        if not flags & CONTINUES:
            self._begun, self._begun_in = entries, segment
        elif self._begun:
            self._begun += entries
        if not flags & MORE and self._begun:
            self._absorb(self._begun_in, self._begun)
            self._begun = []


def _undecodable(judged: JudgedSegment, record: Record, why: str) -> Damage:
    return Damage(
        segment=judged.number,
        name=judged.name,
        begin=record.begin,
        end=record.end,
        what=f"a record of entries that this version does not know ({why})",
        follow=sum(other.begin > record.begin for other in judged.scan.records),
    )


def replay(
    files: Sequence[SegmentFile], owner: JournalOwner, *, ended_max: int, accept_loss: bool
) -> Replay:
    """Read a whole journal, segments in order of their numbers.

    Raises JournalForeign; JournalDamaged, unless the loss is accepted.
    """
    judge = Judge(files, owner)
    fold = Fold(ended_max)
    reader = TurnReader(fold.absorb)
    damages: list[Damage] = []
    boots, ends = set[int](), dict[int, int]()
    last, last_bytes, read_count, is_cut = 0, 0, 0, False
    for index in range(len(files)):
        judged = judge.look(index)
        is_cut = judged.is_cut
        if is_cut and judged.header is None:
            break
        read_count = index + 1
        last, last_bytes = judged.number, judged.scan.end
        ends |= {last: last_bytes} | {d.segment: d.end for d in judged.damages if d.segment != last}
        damages += judged.damages + reader.read(judged)
        if judged.header is not None:
            boots.add(judged.header.boot)
        if judged.is_last:
            break
    if damages and not accept_loss:
        raise JournalDamaged(describe_damages(damages, len(files)))
    return Replay(
        recovered=fold.recovered(is_same_boot=boots <= {owner.boot}, lost_records=len(damages)),
        last_segment=last,
        last_bytes=last_bytes,
        left_out=[file.number for file in files[read_count:]],
        given_up=damages,
        ends=ends,
        is_cut=is_cut,
    )


def describe_damages(damages: Sequence[Damage], segment_count: int) -> str:
    """Say what is missing, where, and what to do."""
    told = [str(damage) for damage in damages[:DAMAGES_TOLD_MAX]]
    if len(damages) > len(told):
        told.append(f"and {len(damages) - len(told)} more")
    places = "one place" if len(damages) == 1 else f"{len(damages)} places"
    return (
        f"the journal is damaged in {places} ({segment_count} segments were looked at): "
        f"{'; '.join(told)}. Nothing was changed: keep a copy of the directory, then start with "
        "--accept-loss to go on without what is missing"
    )

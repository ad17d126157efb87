"""Journals for tests: entries of made-up jobs, segments in memory, stores in a directory."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import msgspec

from pointsman_shm.config import JournalConfig
from pointsman_wire.session_messages import Result, Submit
from pointsman_workers.core.events import DropSegments, JournalState, JournalSynced, WriteJournal
from pointsman_workers.journal.entries import (
    AnyEntry,
    JobAccepted,
    JobDispatched,
    JobEnded,
    Recovered,
    SessionOpened,
)
from pointsman_workers.journal.judging import JournalOwner, SegmentFile
from pointsman_workers.journal.records import (
    HEADER_BYTES,
    SegmentHeader,
    encode_header,
    frame_record,
)
from pointsman_workers.journal.replay import Replay, replay
from pointsman_workers.journal.segment_files import Disk, JournalFailed, JournalPlace
from pointsman_workers.journal.store import JournalStore

UID = "ab" * 16
BOOT = 7
OWNER = JournalOwner((UID,), 0, 1, BOOT)
MARKER = 0x5A_41_52_4D
WAIT_S = 20.0


def accepted(job: int, payload: bytes = b"payload") -> JobAccepted:
    submit = Submit(session_number=1, request_id=f"r-{job}", src_lang="en", tgt_lang="es")
    return JobAccepted(
        job=job,
        session=1,
        key=("t", "s-1", f"r-{job}"),
        job_id=f"job-{job}",
        submit=submit,
        requirement=msgspec.Raw(b"\xc0"),
        payload=payload,
        body=len(payload),
        accepted_at_ns=job,
        durability="journal",
    )


def dispatched(job: int, dispatch: int = 0) -> JobDispatched:
    return JobDispatched(job, 1, dispatch or job, "node-1", 1)


def ended(job: int, output: bytes = b"output") -> JobEnded:
    return JobEnded(job, Result(request_id=f"r-{job}", job_id=f"job-{job}", number=job), output)


def session(number: int = 1) -> SessionOpened:
    return SessionOpened(number, "t", f"s-{number}", "token")


def record(entries: Sequence[AnyEntry], flags: int = 0, synced: int = 0) -> bytes:
    return frame_record(msgspec.msgpack.encode(entries), MARKER, flags, synced)


def header(segment: int = 1, previous_bytes: int = 0, boot: int = BOOT) -> bytes:
    return encode_header(
        SegmentHeader(
            instance_uid=UID,
            shard=0,
            worker_count=1,
            epoch=1,
            segment=segment,
            previous_bytes=previous_bytes,
            boot=boot,
            marker=MARKER,
        )
    )


def segment_of(turns: Sequence[Sequence[AnyEntry]], number: int = 1) -> bytes:
    return header(number) + b"".join(record(turn) for turn in turns)


def files_of(*segments: bytes) -> list[SegmentFile]:
    def loaded(data: bytes, number: int) -> SegmentFile:
        return SegmentFile(number, f"segment {number}", data[:HEADER_BYTES], lambda: data)

    return [loaded(data, number) for number, data in enumerate(segments, 1)]


def read(
    *segments: bytes, accept_loss: bool = False, boot: int = BOOT, ended_max: int = 1000
) -> Replay:
    owner = msgspec.structs.replace(OWNER, boot=boot)
    return replay(files_of(*segments), owner, ended_max=ended_max, accept_loss=accept_loss)


def jobs_of(recovered: Recovered) -> list[int]:
    return [job.accepted.job for job in recovered.jobs]


def ended_of(recovered: Recovered) -> list[int]:
    return [result.kept.job for result in recovered.ended]


class Shard:
    """A store that is open, and what it has told."""

    def __init__(self, store: JournalStore, recovered: Recovered) -> None:
        self.store = store
        self.recovered = recovered
        self.told: list[JournalState | JournalSynced] = []
        self.failures: list[JournalFailed] = []
        self.number = 0
        store.start(self.told.append, self.failures.append)

    def write(self, *entries: AnyEntry, must_sync: bool = False) -> int:
        self.number += 1
        self.store.write(WriteJournal(self.number, [*entries], must_sync))
        return self.number

    def drop(self, below: int) -> None:
        self.store.drop(DropSegments(below))

    @property
    def synced(self) -> int:
        return max((e.number for e in self.told if isinstance(e, JournalSynced)), default=0)


async def until(is_so: Callable[[], object], what: str) -> None:
    """Wait until a call returns something true."""
    until_s = monotonic() + WAIT_S
    while not is_so():
        assert monotonic() < until_s, f"not within {WAIT_S:g} s: {what}"
        await asyncio.sleep(0.005)


def place_in(directory: Path, **changes: object) -> JournalPlace:
    place = JournalPlace(
        directory=directory / "journal" / "shard-0-of-1",
        owner=OWNER,
        epoch=1,
        config=JournalConfig(segment_bytes=1 << 20, bytes_max=8 << 20, flush_s=60.0),
        ended_max=1000,
    )
    return msgspec.structs.replace(place, **changes)


def open_shard(place: JournalPlace) -> Shard:
    return Shard(*JournalStore.open(place))


@asynccontextmanager
async def shard_in(directory: Path, **changes: object) -> AsyncIterator[Shard]:
    """A store in a directory, closed at the end."""
    shard = open_shard(place_in(directory, **changes))
    try:
        yield shard
    finally:
        shard.store.close()


def abandon(shard: Shard) -> None:
    """Let go of the files as a killed process does: nothing is synced, nothing cut."""
    shard.store._place = msgspec.structs.replace(  # the sync of close does nothing
        shard.store._place, disk=Disk(fdatasync=lambda descriptor: None)
    )
    shard.store.close()


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory / "journal" / "shard-0-of-1"))

"""What a journal costs: one write of a turn, a sync that many wait for, and a replay of it all.

A turn accepts and dispatches some jobs, the next one ends them, with payloads and outputs of 200
bytes: about three entries a job.  Writes are timed as the worker makes them, in CPU time and in
time that passed; syncs as time until the core is told, with one job after the other waiting and
with 64 at a time; the replay is that of a full window.
"""

import asyncio
import gc
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns, thread_time_ns

import msgspec
from _shared.report import Options, Row, median_row, report, run

from pointsman_shm.config import JournalConfig
from pointsman_wire.session_messages import Result, Submit
from pointsman_workers.core.events import JournalState, JournalSynced, WriteJournal
from pointsman_workers.journal.entries import AnyEntry, JobAccepted, JobDispatched, JobEnded
from pointsman_workers.journal.judging import JournalOwner
from pointsman_workers.journal.replay import replay
from pointsman_workers.journal.segment_files import JournalPlace, find_segments
from pointsman_workers.journal.store import JournalStore

TURN_SIZES = (1, 8, 64)
WINDOW_JOBS = 200_000
QUICK_WINDOW_JOBS = 20_000
JOBS = 20_000
QUICK_JOBS = 4_000
SYNCS = 100
QUICK_SYNCS = 20
ROUNDS = 3
BODY = bytes(range(200))
REQUIREMENT = msgspec.Raw(msgspec.msgpack.encode({"types": ["asr", "nmt"], "src": "en"}))


def begun(job: int) -> list[AnyEntry]:
    """Return what is written of a job when it is accepted and dispatched."""
    request_id = f"request-{job}"
    submit = Submit(session_number=1, request_id=request_id, src_lang="en", tgt_lang="es")
    accepted = JobAccepted(
        job=job,
        session=1,
        key=("", "session-1", request_id),
        job_id=f"{job:032x}",
        submit=submit,
        requirement=REQUIREMENT,
        payload=BODY,
        body=job,
        accepted_at_ns=job,
        durability="journal",
    )
    return [accepted, JobDispatched(job, 1, job, "node-17", 1)]


def ended(job: int) -> AnyEntry:
    """Return what is written of its end."""
    result = Result(
        session_number=1,
        request_id=f"request-{job}",
        job_id=f"{job:032x}",
        number=job,
        node_id="node-17",
        attempt=1,
        placement_us=3.25,
        queued_ms=0.5,
    )
    return JobEnded(job, result, BODY)


class Journal:
    """A store in a directory, and what it has told of syncs."""

    def __init__(self, directory: Path) -> None:
        self.owner = JournalOwner(("ab" * 16,), 0, 1, 1)
        self.place = JournalPlace(
            directory=directory / "journal" / "shard-0-of-1",
            owner=self.owner,
            epoch=1,
            config=JournalConfig(bytes_max=4096 << 20),
            ended_max=WINDOW_JOBS,
        )
        self.store, _ = JournalStore.open(self.place)
        self.number = 0
        self.synced = asyncio.Event()
        self.store.start(self._told, _failed)

    def _told(self, event: JournalState | JournalSynced) -> None:
        if isinstance(event, JournalSynced) and event.number >= self.number:
            self.synced.set()

    def write(self, entries: list[AnyEntry], *, must_sync: bool = False) -> None:
        self.number += 1
        self.store.write(WriteJournal(self.number, entries, must_sync))

    async def fill(self, jobs: int, turn_size: int) -> None:
        """Write so many jobs and their ends."""
        for first in range(1, jobs + 1, turn_size):
            numbers = range(first, first + turn_size)
            self.write([entry for job in numbers for entry in begun(job)])
            self.write([ended(job) for job in numbers])
            if first % 1024 < turn_size:
                await asyncio.sleep(0)  # the next segment is allocated beside


def _failed(error: Exception) -> None:
    raise SystemExit(str(error))


async def time_writes(turn_size: int, jobs: int) -> Row:
    """Time turns that are made beforehand."""
    with TemporaryDirectory(dir=os.getcwd(), prefix=".bench-") as name:
        journal = Journal(Path(name))
        turns = []
        for first in range(1, jobs + 1, turn_size):
            numbers = range(first, first + turn_size)
            turns.append([entry for job in numbers for entry in begun(job)])
            turns.append([ended(job) for job in numbers])
        await asyncio.sleep(0.1)
        cpu_ns = passed_ns = 0
        for turn in turns:
            began, passed = thread_time_ns(), perf_counter_ns()
            journal.write(turn)
            cpu_ns += thread_time_ns() - began
            passed_ns += perf_counter_ns() - passed
        journal.store.close()
    return {
        "what": "write",
        "jobs_a_turn": turn_size,
        "turn_cpu_us": cpu_ns / len(turns) / 1e3,
        "turn_passed_us": passed_ns / len(turns) / 1e3,
        "job_cpu_us": cpu_ns / jobs / 1e3,
    }


async def time_syncs(turns: int, syncs: int) -> Row:
    """Time from the first write to the word that all of them are on the disk."""
    with TemporaryDirectory(dir=os.getcwd(), prefix=".bench-") as name:
        journal = Journal(Path(name))
        passed_ns = 0
        for number in range(syncs):
            journal.synced.clear()
            began = perf_counter_ns()
            for turn in range(turns):
                journal.write(begun(1 + number * turns + turn), must_sync=True)
            await journal.synced.wait()
            passed_ns += perf_counter_ns() - began
        journal.store.close()
    return {"what": "sync", "jobs_a_turn": turns, "told_ms": passed_ns / syncs / 1e6}


async def time_replay(jobs: int) -> Row:
    """Time the reading of a full window, as a successor does it."""
    with TemporaryDirectory(dir=os.getcwd(), prefix=".bench-") as name:
        journal = Journal(Path(name))
        await journal.fill(jobs, 8)
        journal.store.close()
        files = find_segments(journal.place.directory)
        gc.collect()
        gc.disable()  # as a worker does
        began, passed = thread_time_ns(), perf_counter_ns()
        found = replay(files, journal.owner, ended_max=jobs, accept_loss=False)
        cpu_ns, passed_ns = thread_time_ns() - began, perf_counter_ns() - passed
        gc.enable()
        assert len(found.recovered.ended) == jobs, len(found.recovered.ended)
        size = sum(len(file.load()) for file in files)
    return {
        "what": f"replay of {jobs:,} ended jobs, {size / 2**20:.0f} MiB",
        "replay_cpu_s": cpu_ns / 1e9,
        "replay_passed_s": passed_ns / 1e9,
        "job_cpu_us": cpu_ns / jobs / 1e3,
    }


def main(options: Options) -> None:
    """Measure all of it."""
    rounds = 1 if options.is_quick else ROUNDS
    jobs = QUICK_JOBS if options.is_quick else JOBS
    syncs = QUICK_SYNCS if options.is_quick else SYNCS
    window = QUICK_WINDOW_JOBS if options.is_quick else WINDOW_JOBS
    rows: list[Row] = []
    for size in TURN_SIZES:
        taken = jobs - jobs % size
        rows.append(median_row([asyncio.run(time_writes(size, taken)) for _ in range(rounds)]))
    for turns in (1, 64):
        rows.append(median_row([asyncio.run(time_syncs(turns, syncs)) for _ in range(rounds)]))
    rows.append(median_row([asyncio.run(time_replay(window)) for _ in range(rounds)]))
    report("journal", rows, options)


if __name__ == "__main__":
    run(__doc__ or "", main)

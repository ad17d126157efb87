"""Another number of workers: every session finds its jobs, whenever the division is interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from journal.journal_samples import accepted, dispatched, ended
from msgspec.structs import replace

from pointsman_shm.config import JournalConfig
from pointsman_shm.memory.ownership import boot_hash
from pointsman_shm.paths import InstancePaths, prepare_directories
from pointsman_shm.state_files import (
    begin_epoch,
    last_epoch,
    make_state_files,
    raise_epoch,
    read_instance_uid,
    read_worker_count,
    write_worker_count,
)
from pointsman_shm.state_identity import read_identity, settle_identity
from pointsman_wire.shards import shard_of
from pointsman_workers.core.events import WriteJournal
from pointsman_workers.journal.division import divide
from pointsman_workers.journal.entries import (
    AnyEntry,
    JobAccepted,
    JobEnded,
    JobKept,
    Recovered,
    RecoveredResult,
    SessionOpened,
)
from pointsman_workers.journal.judging import JournalOwner
from pointsman_workers.journal.segment_files import JournalPlace, segment_path
from pointsman_workers.journal.store import JournalStore

SESSIONS = 24
CRASH_POINTS = [
    "resplit-after-name:1",
    "resplit-after-shard:1",
    "resplit-after-shard:3",
    "resplit-before-switch:1",
    "resplit-after-switch:1",
]


@pytest.fixture
def paths(tmp_path: Path) -> InstancePaths:
    made = InstancePaths("t", tmp_path / "s", tmp_path / "r")
    prepare_directories(made, user_id=os.geteuid())
    make_state_files(made, os.urandom)
    settle_identity(made, os.urandom)
    return made


def place(paths: InstancePaths, shard: int, count: int, epoch: int) -> JournalPlace:
    owner = JournalOwner(read_identity(paths).uids, shard, count, boot_hash())
    return JournalPlace(
        directory=paths.journal(shard, count),
        owner=owner,
        epoch=epoch,
        config=JournalConfig(segment_bytes=1 << 20, bytes_max=8 << 20),
        ended_max=1000,
    )


def of_session(job: int, session: int) -> JobAccepted:
    key = ("t", f"s-{session}", f"r-{job}")
    return replace(accepted(job), key=key, session=session, job_id=f"job-{session}-{job}")


def finished(job: JobAccepted) -> JobEnded:
    return JobEnded(job.job, replace(ended(job.job).result, job_id=job.job_id), b"out")


async def fill(paths: InstancePaths, count: int) -> None:
    """Every session has an ended job, a dispatched one and a waiting one, in this order."""
    for shard in range(count):
        store, _ = JournalStore.open(place(paths, shard, count, begin_epoch(paths, shard)))
        store.start(lambda event: None, lambda error: None)
        job = 0
        for session in range(SESSIONS):
            if shard_of(f"s-{session}", count) != shard:
                continue
            jobs = [of_session(job + n, session) for n in (1, 2, 3)]
            opened = SessionOpened(session, "t", f"s-{session}", "token", next_result=2)
            entries: list[AnyEntry] = [opened, *jobs]
            job += 3
            entries += [dispatched(job - 1), finished(jobs[0])]
            store.write(WriteJournal(job, entries))
        store.close()
    write_worker_count(paths, count)


async def read_all(paths: InstancePaths, count: int) -> list[Recovered]:
    found = []
    for shard in range(count):
        store, recovered = JournalStore.open(place(paths, shard, count, begin_epoch(paths, shard)))
        store.close()
        found.append(recovered)
    return found


def run(paths: InstancePaths, count: int, crash: str = "", *more: str) -> int:
    command = [sys.executable, "-m", "pointsman_workers.journal.resplit", "--workers", str(count)]
    command += ["--instance", "t", "--state-dir", str(paths.state_dir)]
    command += ["--runtime-dir", str(paths.runtime_dir), *more]
    environment = {**os.environ, "POINTSMAN_CRASHPOINT": crash}
    return subprocess.run(command, env=environment, timeout=60, check=False).returncode


def check_all(found: list[Recovered]) -> None:
    """Everything is there once, in the shard that the session hashes to, under unique numbers."""
    count = len(found)
    for shard, recovered in enumerate(found):
        sessions = {s.opened.session: s.opened.session_id for s in recovered.sessions}
        assert len(sessions) == len(recovered.sessions)
        assert all(shard_of(name, count) == shard for name in sessions.values())
        numbers = [job.accepted.job for job in recovered.jobs]
        numbers += [result.kept.job for result in recovered.ended]
        assert len(numbers) == len(set(numbers))
        for job in recovered.jobs:
            assert sessions[job.accepted.session] == job.accepted.key[1]
        for result in recovered.ended:
            assert sessions[result.kept.session] == result.kept.key[1]
    names = sorted(s.opened.session_id for recovered in found for s in recovered.sessions)
    assert names == sorted(f"s-{session}" for session in range(SESSIONS))
    for session in range(SESSIONS):
        recovered = found[shard_of(f"s-{session}", count)]
        key = ("t", f"s-{session}")
        jobs = [job for job in recovered.jobs if job.accepted.key[:2] == key]
        assert [job.dispatched is not None for job in jobs] == [True, False]
        assert [r.kept.output for r in recovered.ended if r.kept.key[:2] == key] == [b"out"]


@pytest.mark.parametrize(("old", "new"), [(2, 3), (3, 2), (1, 4)])
async def test_every_session_finds_its_jobs_among_another_number_of_workers(
    paths: InstancePaths, old: int, new: int
) -> None:
    """I1, I5: nothing is lost or doubled, and jobs of a session keep their order."""
    await fill(paths, old)
    raise_epoch(paths, 0, 41)
    before = read_instance_uid(paths)
    assert run(paths, new) == 0
    assert read_worker_count(paths) == new
    assert all(last_epoch(paths, shard) >= 41 for shard in range(new))
    assert read_instance_uid(paths) != before
    check_all(await read_all(paths, new))
    left = sorted(path.name for path in paths.journals.iterdir())
    assert left == [f"shard-{shard}-of-{new}" for shard in range(new)]
    assert run(paths, new) == 0
    check_all(await read_all(paths, new))


@pytest.mark.parametrize("crash", CRASH_POINTS)
async def test_a_division_killed_at_any_point_leaves_the_old_journals_or_the_new(
    paths: InstancePaths, crash: str
) -> None:
    await fill(paths, 2)
    assert run(paths, 3, crash) == -signal.SIGKILL
    count = read_worker_count(paths)
    assert count == (3 if "after-switch" in crash else 2)
    check_all(await read_all(paths, count))
    assert run(paths, 3) == 0
    check_all(await read_all(paths, 3))


def test_results_of_all_shards_are_kept_by_age_and_not_shard_by_shard() -> None:
    """I5: where the new window is too small for all of them, each shard's oldest go first."""
    counts, found = (6, 3), list[Recovered]()
    for session, count in enumerate(counts):
        jobs = [
            (of_session(job, session), finished(of_session(job, session)))
            for job in (*range(count),)
        ]
        kept = [
            JobKept(job.job, session, job.key, job.job_id, job.body, end.result, end.output)
            for job, end in jobs
        ]
        found.append(Recovered(ended=[RecoveredResult(one, 1) for one in kept]))
    (share,) = divide(found, 1)
    assert [kept.job for kept in share.ended] == [*range(1, 10)]
    names = [kept.job_id for kept in share.ended]
    assert names[-3:] == ["job-0-4", "job-0-5", "job-1-2"]
    for session, count in enumerate(counts):
        own = [name for name in names if name.startswith(f"job-{session}-")]
        assert own == [f"job-{session}-{job}" for job in range(count)]


async def test_fences_of_before_are_met_by_no_node(paths: InstancePaths) -> None:
    """I3: epoch 0 under a new name; two old shards' equal fences do not meet in one new shard."""
    await fill(paths, 2)
    assert run(paths, 1) == 0
    (found,) = await read_all(paths, 1)
    fences = [(j.dispatched.epoch, j.dispatched.dispatch) for j in found.jobs if j.dispatched]
    assert len(fences) == len(set(fences)) == SESSIONS
    assert {epoch for epoch, _ in fences} == {0}


async def test_damage_stops_the_division_and_changes_nothing(paths: InstancePaths) -> None:
    """C5: the count stays what it was until the loss is accepted."""
    await fill(paths, 2)
    path = segment_path(paths.journal(1, 2), 1)
    data = bytearray(path.read_bytes())
    data[150] ^= 1
    path.write_bytes(data)
    uid = read_instance_uid(paths)
    assert run(paths, 3) == 1
    assert (read_worker_count(paths), read_instance_uid(paths)) == (2, uid)
    assert run(paths, 3, "", "--accept-loss") == 0
    assert read_worker_count(paths) == 3


async def test_the_first_start_only_notes_the_count(paths: InstancePaths) -> None:
    uid = read_instance_uid(paths)
    assert run(paths, 3) == 0
    assert (read_worker_count(paths), read_instance_uid(paths)) == (3, uid)

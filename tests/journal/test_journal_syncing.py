"""What is told as synced, on a disk that keeps only what it was told to sync (I1, level fsync)."""

import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from journal.journal_samples import Shard, accepted, open_shard, place_in, until
from msgspec.structs import replace

from pointsman_workers.journal.entries import JobAccepted
from pointsman_workers.journal.segment_files import Disk

BODY = b"b" * 60_000


class Platter:
    """Keeps each file as it was when its sync began; unless it is open, each sync takes a pass."""

    def __init__(self) -> None:
        self.files: dict[int, bytes] = {}  # by inode
        self.begun_count = 0
        self.is_open = True
        self.passes = threading.Semaphore(0)

    def fdatasync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        content = os.pread(descriptor, status.st_size, 0)
        self.begun_count += 1
        assert self.is_open or self.passes.acquire(timeout=30)
        self.files[status.st_ino] = content

    def has(self, job: int) -> bool:
        return any(b"job-%d." % job in content for content in self.files.values())


def marked(job: int, payload: bytes = b"") -> JobAccepted:
    return accepted(job, b"job-%d." % job + payload)


@pytest.fixture
async def platter_and_shard(tmp_path: Path) -> AsyncIterator[tuple[Platter, Shard]]:
    platter = Platter()
    place = place_in(tmp_path)
    shard = open_shard(replace(place, disk=Disk(fdatasync=platter.fdatasync)))
    yield platter, shard
    platter.is_open = True
    platter.passes.release(100)
    shard.store.close()


async def test_i1_c6_a_sync_reaches_the_segments_that_have_filled_up_before_it(
    platter_and_shard: tuple[Platter, Shard],
) -> None:
    platter, shard = platter_and_shard
    await until(lambda: shard.told, "room was allocated")
    for job in range(1, 61):
        shard.write(marked(job, BODY))
    assert shard.store.state().segment > 3
    number = shard.write(marked(61), must_sync=True)
    await until(lambda: shard.synced == number, "the sync was told")
    assert [job for job in range(1, 62) if not platter.has(job)] == []


async def test_i1_a_sync_says_nothing_of_what_was_written_after_it_had_begun(
    platter_and_shard: tuple[Platter, Shard],
) -> None:
    platter, shard = platter_and_shard
    await until(lambda: shard.told, "room was allocated")
    before = platter.begun_count
    platter.is_open = False
    first = shard.write(marked(1), must_sync=True)
    await until(lambda: platter.begun_count > before, "the disk works on it")
    second = shard.write(marked(2), must_sync=True)
    platter.passes.release()
    await until(lambda: shard.synced >= first, "the first sync was told")
    assert shard.synced == first
    assert (platter.has(1), platter.has(2)) == (True, False)
    platter.passes.release()
    await until(lambda: shard.synced == second, "the second sync was told")
    assert platter.has(2)

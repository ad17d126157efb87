"""A journal in a directory: lives that follow one another, rolling, syncing, dropping, failing."""

import errno
import os
import stat
from pathlib import Path

import pytest
from journal.journal_samples import (
    OWNER,
    UID,
    Shard,
    abandon,
    accepted,
    dispatched,
    ended,
    ended_of,
    jobs_of,
    names,
    open_shard,
    place_in,
    session,
    shard_in,
    until,
)
from msgspec.structs import replace

from pointsman_shm.config import JournalConfig
from pointsman_workers.core.events import JournalState
from pointsman_workers.journal.judging import JournalDamaged, JournalForeign, JournalOwner
from pointsman_workers.journal.segment_files import (
    SEGMENT_BYTES_MIN,
    Disk,
    JournalFailed,
    JournalNoRoom,
    segment_path,
)

MIB = 1 << 20
BODY = b"b" * 60_000


def refuse(number: int) -> OSError:
    return OSError(number, os.strerror(number))


async def test_what_one_life_writes_the_next_one_reads(tmp_path: Path) -> None:
    async with shard_in(tmp_path) as first:
        first.write(session(), accepted(1), dispatched(1))
        first.write(accepted(2), ended(1))
    async with shard_in(tmp_path, epoch=2) as second:
        assert jobs_of(second.recovered) == [2]
        assert ended_of(second.recovered) == [1]
        assert second.recovered.is_same_boot
        second.write(ended(2))
    async with shard_in(tmp_path, epoch=3) as third:
        assert ended_of(third.recovered) == [1, 2]
        assert third.store.state().segment == 3


async def test_a_killed_life_leaves_all_that_it_wrote(tmp_path: Path) -> None:
    """The level journal: what was written is there, whatever ends the process."""
    first = open_shard(place_in(tmp_path))
    for job in range(1, 50):
        first.write(accepted(job))
    abandon(first)
    async with shard_in(tmp_path, epoch=2) as second:
        assert jobs_of(second.recovered) == list(range(1, 50))


async def test_only_the_owner_may_read_a_journal(tmp_path: Path) -> None:
    async with shard_in(tmp_path) as shard:
        shard.write(session())
    directory = place_in(tmp_path).directory
    for path in (directory.parent, directory):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_segments_follow_one_another_and_the_core_is_told(tmp_path: Path) -> None:
    async with shard_in(tmp_path) as shard:
        await until(lambda: shard.told, "room was allocated")
        assert isinstance(shard.told[0], JournalState)
        assert shard.told[0].room_bytes > MIB
        for job in range(1, 101):
            shard.write(accepted(job, BODY))
        state = shard.store.state()
        assert state.segment == 1 + len(BODY) * 100 // MIB
        assert [s.segment for s in shard.told if isinstance(s, JournalState)][-1] == state.segment
    async with shard_in(tmp_path, epoch=2) as again:
        assert jobs_of(again.recovered) == list(range(1, 101))
        assert all(found.accepted.payload == BODY for found in again.recovered.jobs)
        segments = [found.segment for found in again.recovered.jobs]
        assert segments == sorted(segments)
        assert len(set(segments)) >= 6


async def test_a_turn_larger_than_a_segment_is_written_whole(tmp_path: Path) -> None:
    async with shard_in(tmp_path) as shard:
        shard.write(session(), *(accepted(job, BODY) for job in range(1, 60)))
        shard.write(accepted(60, b"x" * (2 * MIB)))
    async with shard_in(tmp_path, epoch=2) as again:
        assert jobs_of(again.recovered) == list(range(1, 61))


async def test_old_segments_go_once_what_stands_for_them_is_synced(tmp_path: Path) -> None:
    """I1: what was written anew from them must be on the disk first."""
    synced: list[int] = []

    def fdatasync(descriptor: int) -> None:
        synced.append(len(names(tmp_path)))
        os.fdatasync(descriptor)

    async with shard_in(tmp_path, disk=Disk(fdatasync=fdatasync)) as shard:
        for job in range(1, 40):
            shard.write(accepted(job, BODY))
        assert shard.store.state().oldest == 1
        count = len(names(tmp_path))
        shard.write(accepted(99))
        synced.clear()
        shard.drop(3)
        assert len(names(tmp_path)) == count
        await until(lambda: shard.store.state().oldest == 3, "segments were dropped")
        assert synced[0] >= count
        shard.drop(99)
        await until(
            lambda: shard.store.state().oldest == shard.store.state().segment, "all but the last"
        )
        assert shard.store.state().held_bytes == MIB


async def test_one_sync_answers_all_who_gathered_for_it(tmp_path: Path) -> None:
    syncs: list[int] = []

    def fdatasync(descriptor: int) -> None:
        syncs.append(descriptor)
        os.fdatasync(descriptor)

    async with shard_in(tmp_path) as shard:
        place = shard.store._place
        shard.store._place = replace(place, disk=Disk(fdatasync=fdatasync))
        for job in range(1, 65):
            shard.write(accepted(job), must_sync=True)
        await until(lambda: shard.synced == 64, "the sync was told")
        assert len(syncs) == 1
        shard.write(accepted(65))
        shard.write(accepted(66), must_sync=True)
        await until(lambda: shard.synced == 66, "the second sync was told")


async def test_what_nobody_waits_for_is_synced_within_the_flush_interval(tmp_path: Path) -> None:
    """flush_s bounds what a loss of power takes of the level journal."""
    syncs: list[int] = []
    disk = Disk(fdatasync=syncs.append)
    config = JournalConfig(segment_bytes=MIB, bytes_max=8 * MIB, flush_s=0.02)
    async with shard_in(tmp_path, disk=disk, config=config) as shard:
        shard.write(accepted(1))
        count = len(syncs)
        await until(lambda: len(syncs) > count, "it was flushed")
        assert shard.synced == 0  # nobody asked to be told


async def test_records_say_how_far_the_disk_has_them(tmp_path: Path) -> None:
    async with shard_in(tmp_path) as shard:
        shard.write(accepted(1), must_sync=True)
        await until(lambda: shard.synced == 1, "synced")
        end = shard.store._current.end
        shard.write(accepted(2))
        data = segment_path(place_in(tmp_path).directory, 1).read_bytes()
        assert int.from_bytes(data[end + 8 : end + 12], "little") == end


# ---- the disk


async def test_a_full_disk_is_told_as_room_and_recovers_alone(tmp_path: Path) -> None:
    """C3: no room is a fact that the core is told before it accepts; retried by itself."""
    is_full = True

    def allocate(descriptor: int, offset: int, size: int) -> None:
        if is_full and (size > SEGMENT_BYTES_MIN or names(tmp_path).count("next.segment") == 0):
            raise refuse(errno.ENOSPC)
        if is_full and len(names(tmp_path)) > 1:
            raise refuse(errno.ENOSPC)
        os.posix_fallocate(descriptor, offset, size)

    async with shard_in(tmp_path, disk=Disk(allocate=allocate)) as shard:
        assert shard.store.state().room_bytes < SEGMENT_BYTES_MIN
        shard.write(accepted(1, BODY))
        shard.write(accepted(2, BODY))
        rooms = [s.room_bytes for s in shard.told if isinstance(s, JournalState)]
        assert rooms[-1] < SEGMENT_BYTES_MIN - len(BODY)
        await until(lambda: shard.store._ahead._asked is None, "the disk was asked in vain")
        is_full = False
        await until(lambda: shard.store.state().room_bytes > MIB // 2, "there is room again")
        last = shard.told[-1]
        assert isinstance(last, JournalState)
        assert last.room_bytes > MIB // 2


async def test_room_that_was_told_is_there(tmp_path: Path) -> None:
    """As many bytes as were told can be written when the disk gives nothing more."""
    async with shard_in(tmp_path) as shard:
        await until(lambda: shard.store.state().room_bytes > MIB, "room was allocated")
        shard.store._ahead._disk = Disk(allocate=no_room)
        room, job = shard.store.state().room_bytes, 0
        while room > len(BODY) + 1000:
            job += 1
            shard.write(accepted(job, BODY))
            room -= len(BODY) + 400
        assert shard.store.state().segment == 2
        with pytest.raises(JournalFailed, match="no room"):
            shard.write(*(accepted(job + more, BODY) for more in range(1, 20)))


def no_room(descriptor: int, offset: int, size: int) -> None:
    raise refuse(errno.ENOSPC)


def test_without_any_room_a_start_waits_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(JournalNoRoom, match="no room on the disk"):
        open_shard(place_in(tmp_path, disk=Disk(allocate=no_room)))
    assert names(tmp_path) == []


async def test_a_short_write_is_cut_off_and_the_turn_goes_into_the_next_segment(
    tmp_path: Path,
) -> None:
    """C3: a disk that takes half a record leaves no half record."""
    shortened: list[int] = []

    def pwrite(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        if len(data) > 1000 and len(shortened) < 1:
            shortened.append(offset)
            return os.pwrite(descriptor, data[: len(data) // 2], offset)
        return os.pwrite(descriptor, data, offset)

    async with shard_in(tmp_path, disk=Disk(pwrite=pwrite)) as shard:
        shard.write(accepted(1))
        shard.write(accepted(2, BODY))
        assert shard.store.state().segment == 2
    first = segment_path(place_in(tmp_path).directory, 1)
    assert first.stat().st_size == shortened[0]
    async with shard_in(tmp_path, epoch=2) as again:
        assert jobs_of(again.recovered) == [1, 2]


async def test_an_error_of_the_disk_ends_the_life_and_earlier_turns_stay(tmp_path: Path) -> None:
    """C6: EIO at a write is not tried again."""

    def pwrite(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        if len(data) > 1000:
            raise refuse(errno.EIO)
        return os.pwrite(descriptor, data, offset)

    shard = open_shard(place_in(tmp_path, disk=Disk(pwrite=pwrite)))
    shard.write(accepted(1))
    with pytest.raises(JournalFailed, match=r"cannot write to .*: Input/output error"):
        shard.write(accepted(2, BODY))
    abandon(shard)
    async with shard_in(tmp_path, epoch=2) as again:
        assert jobs_of(again.recovered) == [1]


async def test_a_failed_sync_is_told_once_and_never_tried_again(tmp_path: Path) -> None:
    """C6: after a failed fsync nothing that this process says of the disk can be believed."""
    calls: list[int] = []

    def fdatasync(descriptor: int) -> None:
        calls.append(descriptor)
        raise refuse(errno.EIO)

    shard = open_shard(place_in(tmp_path))
    shard.store._place = replace(shard.store._place, disk=Disk(fdatasync=fdatasync))
    shard.write(accepted(1), must_sync=True)
    await until(lambda: shard.failures, "the failure was told")
    assert "cannot sync" in str(shard.failures[0])
    assert (shard.synced, len(calls)) == (0, 1)
    abandon(shard)


# ---- a new life


async def test_the_torn_tail_is_cut_and_its_room_given_back(tmp_path: Path) -> None:
    """C4, at the file."""
    first = open_shard(place_in(tmp_path))
    first.write(accepted(1))
    end = first.store._current.end
    first.write(accepted(2, BODY))
    path = segment_path(place_in(tmp_path).directory, 1)
    os.pwrite(first.store._current.descriptor, bytes(40_000), end + 30_000)
    abandon(first)
    async with shard_in(tmp_path, epoch=2) as second:
        assert jobs_of(second.recovered) == [1]
        assert path.stat().st_size == end


def flip(directory: Path, segment: int, offset: int) -> None:
    path = segment_path(directory, segment)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def three_segments(directory: Path) -> Shard:
    shard = open_shard(place_in(directory))
    for job in range(1, 41):
        shard.write(accepted(job, BODY))
    assert shard.store.state().segment == 3
    return shard


@pytest.mark.parametrize("offset", [30, 200, 700_000], ids=["header", "first record", "middle"])
async def test_damage_stops_the_start_until_its_loss_is_accepted_and_only_once(
    tmp_path: Path, offset: int
) -> None:
    """C5: without --accept-loss nothing is changed; with it the journal is whole again."""
    shard = three_segments(tmp_path)
    abandon(shard)
    directory = place_in(tmp_path).directory
    flip(directory, 2, offset)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(JournalDamaged, match=str(segment_path(directory, 2))):
        open_shard(place_in(tmp_path))
    assert before == {path.name: path.read_bytes() for path in directory.iterdir()}
    async with shard_in(tmp_path, epoch=2, accept_loss=True) as lossy:
        left = jobs_of(lossy.recovered)
        assert lossy.recovered.lost_records == 1
        assert len(left) == 39 if offset != 30 else len(left) < 30
        assert {1, 40} <= set(left)
    async with shard_in(tmp_path, epoch=3) as later:
        assert jobs_of(later.recovered) == left
        assert later.recovered.lost_records == 0


async def test_a_missing_segment_stops_the_start_until_its_loss_is_accepted(
    tmp_path: Path,
) -> None:
    abandon(three_segments(tmp_path))
    segment_path(place_in(tmp_path).directory, 2).unlink()
    with pytest.raises(JournalDamaged, match="segment 2, byte 0: it is missing"):
        open_shard(place_in(tmp_path))
    async with shard_in(tmp_path, epoch=2, accept_loss=True) as lossy:
        left = jobs_of(lossy.recovered)
    async with shard_in(tmp_path, epoch=3) as later:
        assert jobs_of(later.recovered) == left


async def test_the_journal_of_another_owner_is_refused(tmp_path: Path) -> None:
    async with shard_in(tmp_path) as shard:
        shard.write(accepted(1))
    strangers = [
        JournalOwner(("cd" * 16,), 0, 1, OWNER.boot),
        JournalOwner((UID,), 1, 2, OWNER.boot),
        JournalOwner((UID,), 0, 2, OWNER.boot),
    ]
    for owner in strangers:
        with pytest.raises(JournalForeign, match="move it back to where it came from"):
            open_shard(place_in(tmp_path, owner=owner))
    heir = JournalOwner(("cd" * 16, UID), 0, 1, OWNER.boot)
    async with shard_in(tmp_path, owner=heir) as again:
        assert jobs_of(again.recovered) == [1]


async def test_allocated_room_of_a_predecessor_is_used_again(tmp_path: Path) -> None:
    """A start on a full disk needs no more than what the last life had."""
    async with shard_in(tmp_path) as shard:
        await until(lambda: shard.store.state().room_bytes > MIB, "room was allocated")
        shard.write(accepted(1))
    assert "next.segment" in names(tmp_path)
    allocated: list[int] = []

    def allocate(descriptor: int, offset: int, size: int) -> None:
        allocated.append(os.fstat(descriptor).st_size)
        if os.fstat(descriptor).st_size < size:
            raise refuse(errno.ENOSPC)

    async with shard_in(tmp_path, epoch=2, disk=Disk(allocate=allocate)) as again:
        assert allocated[0] == MIB
        assert again.store.state().room_bytes > MIB // 2
        again.write(accepted(2))

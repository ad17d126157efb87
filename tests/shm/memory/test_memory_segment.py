"""Segments are ours alone, allocated whole, outlive their readers, and notice tampering."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from memory_peer import PATIENCE_S, run_peer, start_peer

from pointsman_shm.memory.header import SegmentUnready, read_owner
from pointsman_shm.memory.ownership import LockHeld, current_owner
from pointsman_shm.memory.segment import (
    Segment,
    SegmentExists,
    SegmentForeign,
    SegmentMissing,
    SegmentsFull,
    attach_segment,
    create_segment,
    unlink_segment,
)

MakeName = Callable[[], str]
MakeSegment = Callable[[int], Segment]

SMALL_SHARED_MEMORY = "mount -t tmpfs -o size=1m,mode=1777 tmpfs /dev/shm"
FILL_SHARED_MEMORY = """
import os, sys
from pointsman_shm.memory.segment import SegmentsFull, create_segment
kept = create_segment("/pointsman.full.kept", 4096)
kept.buffer[4000] = 7
try:
    create_segment("/pointsman.full.wide", 2 << 20)
except SegmentsFull as error:
    print(error)
    print(kept.buffer[4000], sorted(os.listdir("/dev/shm")))
    sys.exit(error.exit_code)
"""


def file_of(name: str) -> Path:
    return Path("/dev/shm") / name[1:]


def private_mounts_work() -> bool:
    command = ["unshare", "-m", "sh", "-c", SMALL_SHARED_MEMORY]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    except FileNotFoundError:
        return False
    return ended.returncode == 0


def test_u1_a_new_segment_is_zero_private_and_allocated(make_segment: MakeSegment) -> None:
    segment = make_segment(100_000)
    status = file_of(segment.name).stat()
    assert (segment.size, status.st_size) == (100_000, 100_000)
    assert status.st_mode & 0o7777 == 0o600
    assert status.st_blocks * 512 >= 100_000
    assert bytes(segment.buffer[64:]) == bytes(100_000 - 64)
    assert segment.is_intact()


def test_the_mode_does_not_depend_on_the_umask_which_is_left_as_it_was(make_name: MakeName) -> None:
    before = os.umask(0o000)
    try:
        with create_segment(make_name(), 4096) as segment:
            assert file_of(segment.name).stat().st_mode & 0o7777 == 0o600
        assert os.umask(0o000) == 0o000
    finally:
        os.umask(before)


def test_descriptors_are_not_inherited(make_segment: MakeSegment) -> None:
    before = set(os.listdir("/proc/self/fd"))
    segment = make_segment(4096)
    opened = set(os.listdir("/proc/self/fd")) - before
    leading_here = [int(fd) for fd in opened if _leads_to(int(fd), segment.name)]
    assert leading_here
    assert not any(os.get_inheritable(fd) for fd in leading_here)


def _leads_to(descriptor: int, name: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == str(file_of(name))
    except FileNotFoundError:
        return False


def test_the_creator_signs_and_keeps_the_segment(make_segment: MakeSegment) -> None:
    segment = make_segment(4096)
    assert read_owner(segment.buffer[:64].cast("Q")) == current_owner()
    with attach_segment(segment.name, writable=True) as other, pytest.raises(LockHeld):
        other.lock()


def test_a_successor_keeps_the_segment_once_the_keeper_closed_it(
    make_segment: MakeSegment,
) -> None:
    segment = make_segment(4096)
    view = segment.buffer[8:16]
    segment.close()
    segment.close()
    assert bytes(view) == bytes(8)
    with attach_segment(segment.name, writable=True) as successor:
        successor.lock()
        assert read_owner(successor.buffer[:64].cast("Q")) == current_owner()


def test_a_second_creation_is_refused_and_changes_nothing(make_segment: MakeSegment) -> None:
    segment = make_segment(4096)
    segment.buffer[100] = 9
    with pytest.raises(SegmentExists):
        create_segment(segment.name, 8192)
    assert segment.is_intact()
    assert segment.buffer[100] == 9


def test_u2_what_is_attached_to_read_cannot_be_written(make_segment: MakeSegment) -> None:
    with attach_segment(make_segment(4096).name, writable=False) as reader:
        assert reader.buffer.readonly
        with pytest.raises(TypeError):
            reader.buffer[0] = 1


def test_a_writer_and_a_reader_see_the_same_bytes(make_segment: MakeSegment) -> None:
    segment = make_segment(4096)
    with attach_segment(segment.name, writable=True) as writer:
        writer.buffer[200] = 77
    assert segment.buffer[200] == 77


@pytest.mark.parametrize("name", ["/other.a.b", "pointsman.a.b", "/pointsman.a", "/pointsman.A.b"])
def test_names_that_are_not_ours_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="segment name"):
        create_segment(name, 4096)
    with pytest.raises(ValueError, match="segment name"):
        attach_segment(name, writable=False)


def test_a_missing_segment_has_an_error_of_its_own(make_name: MakeName) -> None:
    with pytest.raises(SegmentMissing):
        attach_segment(make_name(), writable=False)
    assert not unlink_segment(make_name())


def test_s6_a_failed_allocation_leaves_nothing_and_says_what_is_missing(
    make_name: MakeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    name = make_name()
    with pytest.raises(SegmentsFull, match=r"needs 123456 bytes and \d+ of \d+ are free") as full:
        create_segment(name, 123_456)
    assert full.value.exit_code == 75
    assert not file_of(name).exists()


def test_s6_a_full_shared_memory_is_an_error_and_not_a_dead_process() -> None:
    if not private_mounts_work():
        pytest.skip("needs the right to mount a small /dev/shm in a private namespace")
    script = f'{SMALL_SHARED_MEMORY} && exec "$0" -c "$1"'
    command = ["unshare", "-m", "sh", "-c", script, sys.executable, FILL_SHARED_MEMORY]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 75, ended.stderr
    assert "needs 2097152 bytes and " in ended.stdout
    assert " of 1048576 are free" in ended.stdout
    assert "7 ['pointsman.full.kept']" in ended.stdout


@pytest.mark.crash
def test_s7_a_cut_segment_is_noticed_before_it_kills(make_segment: MakeSegment) -> None:
    segment = make_segment(4096)
    with start_peer("touch", segment.name) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        assert peer.stdout.readline() == "attached\n"
        os.truncate(file_of(segment.name), 0)
        print(file=peer.stdin, flush=True)
        assert peer.stdout.readline() == "false\n"
        print(file=peer.stdin, flush=True)
        assert peer.wait(PATIENCE_S) == -signal.SIGBUS
    with pytest.raises(SegmentUnready):
        attach_segment(segment.name, writable=False)
    assert unlink_segment(segment.name)
    with create_segment(segment.name, 4096) as again:
        assert again.is_intact()


def test_a_process_without_descriptors_does_not_take_its_segments_for_lost(
    make_segment: MakeSegment,
) -> None:
    segment = make_segment(4096)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
        found = segment.is_intact()
        with pytest.raises(OSError, match="maximum number of files"):
            attach_segment(segment.name, writable=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found
    assert unlink_segment(segment.name)
    assert not segment.is_intact()


def test_s8_an_unlinked_segment_lives_on_and_is_noticed(make_segment: MakeSegment) -> None:
    segment = make_segment(4096)
    with attach_segment(segment.name, writable=False) as reader:
        assert unlink_segment(segment.name)
        segment.buffer[99] = 5
        assert reader.buffer[99] == 5
        assert not reader.is_intact()
        with create_segment(segment.name, 4096) as again:
            assert again.is_intact()
            assert not reader.is_intact()


def test_s8_an_unrelated_reader_that_exits_does_not_delete_the_segment(
    make_segment: MakeSegment,
) -> None:
    segment = make_segment(4096)
    assert run_peer("look", segment.name) == (0, "0\n", "")
    assert segment.is_intact()


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o666, 0o400])
def test_s9_another_mode_is_refused(make_segment: MakeSegment, mode: int) -> None:
    segment = make_segment(4096)
    file_of(segment.name).chmod(mode)
    with pytest.raises(SegmentForeign, match="mode" if os.geteuid() == 0 else ""):
        attach_segment(segment.name, writable=True)


def test_s9_another_users_segment_is_refused(
    make_segment: MakeSegment, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = make_segment(4096)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(SegmentForeign, match="belongs to uid"):
        attach_segment(segment.name, writable=False)


def test_s9_a_link_in_place_of_a_segment_is_refused(make_name: MakeName, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(4096))
    target.chmod(0o600)
    name = make_name()
    file_of(name).symlink_to(target)
    for writable in (False, True):
        with pytest.raises(SegmentForeign, match="cannot be opened"):
            attach_segment(name, writable=writable)
    with pytest.raises(SegmentExists):
        create_segment(name, 4096)
    assert target.read_bytes() == bytes(4096)


def test_s9_a_directory_in_place_of_a_segment_is_refused(make_name: MakeName) -> None:
    name = make_name()
    file_of(name).mkdir()
    try:
        with pytest.raises(SegmentForeign):
            attach_segment(name, writable=False)
    finally:
        file_of(name).rmdir()

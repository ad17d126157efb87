"""The files of a journal: found, begun, mended and removed; everything 0600 in a 0700 directory.

      0000000007.segment    begun; the highest number is the one that is written to
      next.segment          room that is allocated already; gets its header and its name later

Whatever touches the disk goes through `Disk`, so that a test can let it fail.
"""

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from pointsman_shm.config import JournalConfig
from pointsman_workers.journal.judging import Damage, JournalOwner, SegmentFile
from pointsman_workers.journal.records import (
    HEADER_BYTES,
    RECORD_BYTES_MIN,
    SegmentHeader,
    encode_header,
    void_record,
)

SUFFIX = ".segment"
NEXT_NAME = "next" + SUFFIX
SEGMENT_BYTES_MIN = 256 * 1024
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
# Files are read in such pieces: what was allocated and never written costs little.
PIECE_BYTES = 256 * 1024
_ZEROS = bytes(PIECE_BYTES)
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_WRITE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class JournalFailed(Exception):
    """The disk did not do what was asked: the process must end, and nothing may be tried again.

    After a failed sync the kernel may drop what it had not written and report success the next
    time, so only a new process, which reads what is really there, may go on.
    """


class JournalNoRoom(Exception):
    """Not even the smallest segment can be allocated."""


class Disk(msgspec.Struct, frozen=True):
    """The calls that a disk may fail."""

    pwrite: Callable[[int, bytes | bytearray | memoryview, int], int] = os.pwrite
    fdatasync: Callable[[int], None] = os.fdatasync
    allocate: Callable[[int, int, int], None] = os.posix_fallocate


class Room(msgspec.Struct, frozen=True):
    """A file with allocated room."""

    descriptor: int
    size: int


class JournalPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Which journal, for which life of its shard."""

    directory: Path
    owner: JournalOwner
    epoch: int
    config: JournalConfig
    ended_max: int  # so many ended jobs are recovered
    accept_loss: bool = False
    disk: Disk = Disk()
    entropy: Callable[[int], bytes] = os.urandom
    crash: Callable[[str], None] = lambda point: None  # called at each named point


class OpenSegment(msgspec.Struct):
    """A segment with an open descriptor; `end` is behind its last record."""

    number: int
    descriptor: int
    size: int
    marker: int
    end: int = HEADER_BYTES
    synced: int = 0


def make_directory(directory: Path) -> None:
    """Make the directory of a journal and the one that it lies in."""
    for path in (directory.parent, directory):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        sync_directory(path.parent)


def segment_path(directory: Path, number: int) -> Path:
    """Return where a segment lies."""
    return directory / f"{number:010d}{SUFFIX}"


def find_segments(directory: Path) -> list[SegmentFile]:
    """Return the segments of a directory in the order of their numbers."""
    found = []
    for path in directory.glob("*" + SUFFIX):
        if path.stem.isascii() and path.stem.isdecimal():
            head = read_head(path)
            found.append(SegmentFile(int(path.stem), str(path), head, partial(read_written, path)))
    return sorted(found, key=lambda file: file.number)


def read_head(path: Path) -> bytes:
    """Return the bytes of a file that may be a header."""
    with open(os.open(path, _READ), "rb") as file:
        return file.read(HEADER_BYTES)


def read_written(path: Path) -> bytes:
    """Return a file up to its last byte that is not 0, or some more.

    A segment whose writer was killed is as long as what was allocated, which is mostly zeros: to
    read it at one go and to look for its end byte by byte took longer than all else of a start.
    """
    written = bytearray()
    piece, zeros = bytearray(PIECE_BYTES), 0
    with open(os.open(path, _READ), "rb", buffering=0) as file:
        while size := file.readinto(piece):
            found = piece if size == PIECE_BYTES else piece[:size]
            if found == _ZEROS[:size]:
                zeros += size
                continue
            if zeros:
                written += bytes(zeros)
                zeros = 0
            written += found
    return bytes(written)


def take_room(directory: Path, size: int, disk: Disk) -> Room:
    """Return the file `next.segment` with as much allocated as there is room for, at most `size`.

    What a predecessor had allocated is used again.  Raises JournalNoRoom, or JournalFailed for
    another trouble.
    """
    path = directory / NEXT_NAME
    try:
        descriptor = os.open(path, _WRITE | os.O_CREAT, 0o600)
        try:
            found = os.fstat(descriptor).st_size
            while size >= SEGMENT_BYTES_MIN and not _allocate(descriptor, size, disk):
                size //= 2
            size = max(size, min(found, SEGMENT_BYTES_MIN))
            if size >= SEGMENT_BYTES_MIN:
                os.ftruncate(descriptor, size)
                return Room(descriptor, size)
            path.unlink()
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        raise JournalFailed(f"cannot allocate {path}: {error.strerror}") from error
    os.close(descriptor)
    raise JournalNoRoom(f"{directory}: there is no room on the disk for {SEGMENT_BYTES_MIN} bytes")


def _allocate(descriptor: int, size: int, disk: Disk) -> bool:
    """Allocate so much, or leave the file as it was and return False."""
    found = os.fstat(descriptor).st_size
    try:
        disk.allocate(descriptor, 0, size)
    except OSError as error:
        os.ftruncate(descriptor, found)
        if error.errno in NO_ROOM:
            return False
        raise
    return True


def enlarge_room(directory: Path, room: Room, size_min: int, disk: Disk) -> Room:
    """Return the room, made larger if need be.  Raises JournalNoRoom or JournalFailed."""
    if room.size >= size_min:
        return room
    try:
        disk.allocate(room.descriptor, 0, size_min)
    except OSError as error:
        os.close(room.descriptor)
        words = f"{directory}: there is no room on the disk for {size_min} bytes"
        kind = JournalNoRoom if error.errno in NO_ROOM else JournalFailed
        raise kind(f"{words}: {error.strerror}") from error
    return Room(room.descriptor, size_min)


def begin_segment(directory: Path, room: Room, header: SegmentHeader, disk: Disk) -> None:
    """Give allocated room its header and then its name; who wants it to last syncs both."""
    data = encode_header(header)
    path = segment_path(directory, header.segment)
    try:
        written = disk.pwrite(room.descriptor, data, 0)
        if written != len(data):
            raise JournalFailed(f"cannot begin {path}: {written} of {len(data)} bytes written")
        (directory / NEXT_NAME).rename(path)
    except OSError as error:
        raise JournalFailed(f"cannot begin {path}: {error.strerror}") from error


def write_segment(path: Path, data: bytes | bytearray) -> None:
    """Write a whole segment, synced; an unfinished one of before is replaced."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_segments(directory: Path, numbers: Sequence[int]) -> None:
    """Unlink segments in this order."""
    for number in numbers:
        segment_path(directory, number).unlink(missing_ok=True)


def sync_segments(directory: Path, numbers: Sequence[int], disk: Disk) -> None:
    """Have a predecessor's segments on the disk itself: what is said later relies on them."""
    for number in numbers:
        descriptor = os.open(segment_path(directory, number), _READ)
        try:
            disk.fdatasync(descriptor)
        finally:
            os.close(descriptor)
    sync_directory(directory)


def cut_segment(directory: Path, number: int, size: int) -> None:
    """Cut what is behind the last record."""
    descriptor = os.open(segment_path(directory, number), _WRITE)
    try:
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Have the names of a directory's files on the disk itself."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def void_damage(directory: Path, damage: Damage, header: SegmentHeader, disk: Disk) -> None:
    """Put a record that says nothing over a damaged stretch, so that the segment is whole again.

    A damage that begins at 0 takes the header as well: the given one is put there.
    """
    path = segment_path(directory, damage.segment)
    descriptor = os.open(path, _WRITE | os.O_CREAT, 0o600)
    try:
        begin, end = damage.begin, damage.end
        if begin == 0:
            os.ftruncate(descriptor, end)
            disk.pwrite(descriptor, encode_header(header), 0)
            begin = HEADER_BYTES
        if end > begin:
            data = void_record(max(end - begin, RECORD_BYTES_MIN), header.marker)
            disk.pwrite(descriptor, data, begin)
        disk.fdatasync(descriptor)
    finally:
        os.close(descriptor)

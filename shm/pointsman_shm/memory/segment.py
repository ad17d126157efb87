"""Named segments of POSIX shared memory: create, attach, check, remove.

This is the only file that knows posix_ipc.  Three measured traps decide its form.  The standard
library's own shared memory deletes a segment when an unrelated reader of it exits; posix_ipc does
not.  A full tmpfs kills whoever first touches a page with SIGBUS, whatever ftruncate promised: so
every byte is allocated at creation, and "no room" is an error at start.  And a mapped file that is
cut or removed shows only in its name: `is_intact` compares inode and size.

shm_open opens with O_NOFOLLOW and O_CLOEXEC.  What is only read is opened and mapped read-only.
"""

import errno
import mmap
import os
import re
import stat
import time
from typing import Self

import posix_ipc

from pointsman_shm.memory.header import BIRTH, HEADER_SIZE, SegmentUnready, write_owner
from pointsman_shm.memory.ownership import current_owner, flock_descriptor, unlock_descriptor

MODE = 0o600
_NAME = re.compile(r"/pointsman\.[a-z0-9][a-z0-9-]{0,31}\.[a-z0-9.-]{1,64}")
# posix_ipc says both without their numbers.
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, None})
_NO_ROOM = frozenset({errno.ENOSPC, errno.ENOMEM, errno.EDQUOT})


class SegmentExists(Exception):
    """A segment of this name is there already: a living owner's, or left by a dead one."""


class SegmentMissing(Exception):
    """No segment of this name."""


class SegmentForeign(Exception):
    """The segment is not ours to trust: other user, other mode, not a regular file, a link."""


class SegmentsFull(Exception):
    """Shared memory has no room for the segment; nothing was left behind."""

    exit_code = 75


class Segment:
    """One mapped segment; `buffer` is all of its bytes, read-only unless attached writable."""

    __slots__ = ("_descriptor", "_identity", "_map", "buffer", "name", "size")

    def __init__(self, name: str, descriptor: int, *, writable: bool) -> None:
        status = os.fstat(descriptor)
        self.name = name
        self.size = status.st_size
        self._descriptor = descriptor
        self._identity = (status.st_dev, status.st_ino, status.st_size)
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._map = mmap.mmap(descriptor, self.size, flags=mmap.MAP_SHARED, prot=protection)
        self.buffer = memoryview(self._map)

    def is_intact(self) -> bool:
        """Return whether the name still leads to this very file, at its full size.

        A system that is short of descriptors does not let us look, which says nothing against it.
        """
        try:
            shared = posix_ipc.SharedMemory(self.name, read_only=True)
        except posix_ipc.Error:
            return False
        except OSError as error:
            return error.errno in _NO_DESCRIPTORS
        try:
            status = os.fstat(shared.fd)
        finally:
            shared.close_fd()
        return (status.st_dev, status.st_ino, status.st_size) == self._identity

    def lock(self) -> None:
        """Become the segment's keeper until `close` or death; raises LockHeld.

        The maker of a segment is its first keeper.  The keeper's tag stands in the header, for
        people; the lock is what counts.
        """
        flock_descriptor(self._descriptor, self.name, wait=False)
        write_owner(self.buffer[:HEADER_SIZE].cast("Q"), current_owner())

    def close(self) -> None:
        """Unmap; a second call does nothing.  The segment itself stays.

        Views that structures still hold keep the mapping alive, and it goes with the last of
        them: to unmap under them would turn their next look into a fault.
        """
        if self._descriptor < 0:
            return
        unlock_descriptor(self._descriptor)  # the mapping has a copy of the descriptor
        os.close(self._descriptor)
        self._descriptor = -1
        self.buffer.release()
        try:
            self._map.close()
        except BufferError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def create_segment(name: str, size: int) -> Segment:
    """Make a new segment of zero bytes, all of them allocated; map it writable and keep it.

    Only the header's birth and owner words are stored, which no structure writes.
    Raises SegmentExists, SegmentsFull, or ValueError for a name that is not ours.
    """
    _check_name(name)
    assert size >= HEADER_SIZE, size
    mask = os.umask(0o077)
    try:
        shared = posix_ipc.SharedMemory(name, flags=posix_ipc.O_CREX, mode=MODE, size=0)
    except posix_ipc.ExistentialError:
        raise SegmentExists(f"{name} exists already") from None
    finally:
        os.umask(mask)
    try:
        os.posix_fallocate(shared.fd, 0, size)
        segment = Segment(name, shared.fd, writable=True)
        segment.buffer[:HEADER_SIZE].cast("Q")[BIRTH] = time.monotonic_ns()
        segment.lock()
        return segment
    except BaseException as error:
        room = os.fstatvfs(shared.fd)
        shared.close_fd()
        posix_ipc.unlink_shared_memory(name)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise SegmentsFull(
                f"no room in shared memory for {name}: it needs {size} bytes and "
                f"{room.f_bavail * room.f_frsize} of {room.f_blocks * room.f_frsize} are free; "
                "enlarge /dev/shm or configure fewer nodes"
            ) from error
        raise


def attach_segment(name: str, *, writable: bool) -> Segment:
    """Map an existing segment after checking that it is ours.

    Raises SegmentMissing, SegmentForeign, SegmentUnready (no bytes yet, or cut to none), OSError
    when descriptors are short, or ValueError for a name that is not ours.
    """
    _check_name(name)
    try:
        shared = posix_ipc.SharedMemory(name, read_only=not writable)
    except posix_ipc.ExistentialError:
        raise SegmentMissing(f"no segment {name}") from None
    except posix_ipc.PermissionsError:
        raise SegmentForeign(f"{name} may not be opened by this user") from None
    except OSError as error:
        if error.errno in _NO_DESCRIPTORS:
            raise  # whose it is we cannot know
        raise SegmentForeign(f"{name} cannot be opened: {error}") from None
    try:
        _check_file(name, os.fstat(shared.fd))
        return Segment(name, shared.fd, writable=writable)
    except BaseException:
        shared.close_fd()
        raise


def peek_segment(name: str, size: int, start: int = 0) -> bytes:
    """Return bytes of what the name leads to now, fewer when it is cut or not there.

    Nothing is mapped: who only looks on must survive whatever is done to the file.
    """
    _check_name(name)
    try:
        shared = posix_ipc.SharedMemory(name, read_only=True)
    except (posix_ipc.Error, OSError):
        return b""
    try:
        return os.pread(shared.fd, size, start)
    finally:
        shared.close_fd()


def unlink_segment(name: str) -> bool:
    """Remove the name; mappings live on.  False when there was none.

    Raises SegmentForeign for another user's, which only that user or root may remove.
    """
    _check_name(name)
    try:
        posix_ipc.unlink_shared_memory(name)
    except posix_ipc.ExistentialError:
        return False
    except posix_ipc.PermissionsError:
        raise SegmentForeign(f"{name} may not be removed by this user") from None
    return True


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"not a segment name: {name!r}, want /pointsman.<instance>.<what>")


def _check_file(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SegmentForeign(f"{name} is not a regular file")
    if status.st_uid != os.geteuid():
        raise SegmentForeign(f"{name} belongs to uid {status.st_uid}, we are {os.geteuid()}")
    if stat.S_IMODE(status.st_mode) != MODE:
        raise SegmentForeign(f"{name} has mode {stat.S_IMODE(status.st_mode):04o}, not {MODE:04o}")
    if status.st_size == 0:
        raise SegmentUnready(f"{name} has no bytes: half-made, or cut")

"""Who owns what on this host: locks held for life, and tags that survive pid reuse.

Ownership is a flock.  The kernel drops it with the last descriptor of its holder, so a lock can
neither leak nor be stolen, and a frozen holder keeps it until it is thawed: there is no take-over
by epoch inside a host, because nothing can fence a plain store.  Descriptors are close-on-exec,
and no process here forks without exec, so a lock is never inherited.

A tag (pid, start time, boot) names one process for ever; a pid alone is used again.  A tag is
for people and for error messages; what decides is the lock.
"""

import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Self

from pointsman_shm.memory.header import OwnerTag

_START_TIME_FIELD = 22
_FIELDS_BEFORE_STATE = 3  # fields are counted from 1; the state is the third, after the name
_DEAD_STATES = frozenset("ZXx")
_TAG_SIZE_MAX = 128


class LockHeld(Exception):
    """Somebody else holds the lock; `holder` is who wrote itself down, if it can be read."""

    def __init__(self, path: str, holder: OwnerTag | None) -> None:
        self.path = path
        self.holder = holder
        who = "an unnamed process"
        if holder is not None:
            state = "alive" if is_alive(holder) else "gone; a child of it may still hold the lock"
            who = f"pid {holder.pid} started at tick {holder.started_at_ticks} ({state})"
        super().__init__(f"{path} is held by {who}")


def boot_hash() -> int:
    """Return 64 bits that name this boot of this host."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    return int.from_bytes(hashlib.blake2b(boot_id, digest_size=8).digest(), "little")


def start_ticks(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot; None when it is not alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name may hold spaces and parentheses: what follows the last one is regular.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in _DEAD_STATES:
        return None
    return int(fields[_START_TIME_FIELD - _FIELDS_BEFORE_STATE])


def current_owner() -> OwnerTag:
    """Return the tag of the calling process."""
    pid = os.getpid()
    started_at_ticks = start_ticks(pid)
    assert started_at_ticks is not None, "the calling process is alive"
    return OwnerTag(pid, started_at_ticks, boot_hash())


def is_alive(tag: OwnerTag) -> bool:
    """Return whether exactly this process still runs: same boot, same pid, same start time."""
    return tag.boot_hash == boot_hash() and start_ticks(tag.pid) == tag.started_at_ticks


class OwnerLock:
    """A lock file held by this process until `release` or death."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; a second call does nothing.  The file stays: removing it races."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def acquire_lock(path: Path | str, *, wait: bool = False) -> OwnerLock:
    """Take the lock file at `path`, creating it when missing, and write the owner's tag into it.

    With `wait` the call blocks until the holder is gone; call it first without, to be able to say
    whom one waits for.  Raises LockHeld, or OSError when the file cannot be opened.
    """
    path = Path(path)
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            flock_descriptor(descriptor, str(path), wait=wait)
            if _is_same_file(path, descriptor):
                _write_tag(descriptor)
                return OwnerLock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        # Somebody removed the file while we waited: what we locked is not what others will open.
        os.close(descriptor)


def flock_descriptor(descriptor: int, name: str, *, wait: bool) -> None:
    """Take an exclusive flock on an open file; raises LockHeld unless it may wait."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise LockHeld(name, _read_tag(descriptor)) from None


def unlock_descriptor(descriptor: int) -> None:
    """Give the flock of an open file back, if there is one."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))


def _write_tag(descriptor: int) -> None:
    """Write down who has the lock, if the disk has room for it: it is for people."""
    tag = (" ".join(map(str, current_owner())) + "\n").encode()
    try:
        os.ftruncate(descriptor, os.pwrite(descriptor, tag, 0))
    except OSError:
        os.ftruncate(descriptor, 0)  # of its predecessor, which must not be named


def _read_tag(descriptor: int) -> OwnerTag | None:
    words = os.pread(descriptor, _TAG_SIZE_MAX, 0).split()
    if len(words) != len(OwnerTag._fields) or not all(word.isdigit() for word in words):
        return None
    return OwnerTag(*map(int, words))

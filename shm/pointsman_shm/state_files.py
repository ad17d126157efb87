"""The small files of an instance's state directory that outlive every process.

      file              content                                     written by
    +-----------------+-------------------------------------------+------------------------------+
    | instance_uid    | 32 hexadecimal digits, random; and more,  | supervisor, once; anew for a |
    |                 | see state_identity                        | copy of the directory        |
    | ticket.key      | 32 random bytes, mode 0600                | supervisor, once             |
    | workers         | decimal number: how many shards there are | supervisor; changed by the   |
    |                 | and so which journals count               | re-split of the journals     |
    | shard-<k>.epoch | decimal number, fsynced before anything   | worker k, holding the lock   |
    |                 | of that epoch leaves the process          | of its shard                 |
    +-----------------+-------------------------------------------+------------------------------+

A file is replaced whole: written beside, fsynced, renamed, and the directory fsynced; so it holds
the old content or the new one, whenever the power goes.

A disk that is full, or was made read-only, is no fault of the process that needs it, and it may
pass: who ended for it at each start would be given up by its supervisor before somebody mends it.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from pointsman_shm.paths import WORKERS_MAX, InstancePaths

UID_BYTES = 16
TICKET_KEY_SIZE = 32
EPOCH_MAX = 2**53 - 1  # what every language reads as an exact number
ROOM_RETRY_S = 1.0
DISK_FAILS = (
    "; the disk fails, and the kernel's log says more: put the state directory on a sound one, by "
    "a copy or a backup (`pointsman restore FILE`)"
)
T = TypeVar("T")


class StateFileError(Exception):
    """A state file is missing or damaged; the text says which and what to do."""


def instance_uid_file(paths: InstancePaths) -> Path:
    """Where the random name of this state directory stands."""
    return paths.state_dir / "instance_uid"


def ticket_key_file(paths: InstancePaths) -> Path:
    """Where the key of the lane tickets lies."""
    return paths.state_dir / "ticket.key"


def epoch_file(paths: InstancePaths, worker_index: int) -> Path:
    """Where the last epoch of a shard stands."""
    return paths.state_dir / f"shard-{worker_index}.epoch"


def make_state_files(paths: InstancePaths, entropy: Callable[[int], bytes]) -> None:
    """Make what is missing of instance_uid and ticket.key; the caller holds the instance's lock."""
    if not instance_uid_file(paths).exists():
        replace_file(instance_uid_file(paths), entropy(UID_BYTES).hex().encode("ascii") + b"\n")
    if not ticket_key_file(paths).exists():
        replace_file(ticket_key_file(paths), entropy(TICKET_KEY_SIZE))


def read_instance_uid(paths: InstancePaths) -> str:
    """Return the instance_uid.  Raises StateFileError."""
    path = instance_uid_file(paths)
    uid = _read(path, 2 * UID_BYTES + 1).decode("ascii", "replace").removesuffix("\n")
    if len(uid) != 2 * UID_BYTES or not all(digit in "0123456789abcdef" for digit in uid):
        raise StateFileError(f"{path} is damaged: remove it, and the nodes' work starts anew")
    return uid


def ticket_key_for(key: bytes, catalog: tuple[int, int]) -> bytes:
    """Return the key of the tickets for one catalog, given its identity.

    Tickets name rows, and a catalog that is made anew counts rows and generations from the
    beginning: a ticket for the former one must not open the lane of what is another node's row now.
    """
    birth, boot = catalog
    return blake2b(f"{birth}/{boot}".encode("ascii"), key=key, digest_size=TICKET_KEY_SIZE).digest()


def read_ticket_key(paths: InstancePaths) -> bytes:
    """Return the 32 bytes of the ticket key.  Raises StateFileError."""
    path = ticket_key_file(paths)
    key = _read(path, TICKET_KEY_SIZE + 1)
    if len(key) != TICKET_KEY_SIZE:
        raise StateFileError(f"{path} is damaged: remove it while the service is stopped")
    return key


def last_epoch(paths: InstancePaths, worker_index: int) -> int:
    """Return the last epoch of the shard, 0 when it had none.  Raises StateFileError."""
    path = epoch_file(paths, worker_index)
    try:
        text = _read(path, 32).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return 0
    if not (text.isascii() and text.isdecimal()) or int(text) >= EPOCH_MAX:
        raise StateFileError(
            f"{path} is damaged: stop the service, remove it together with "
            f"{instance_uid_file(paths)}, and start again"
        )
    return int(text)


def raise_epoch(paths: InstancePaths, worker_index: int, epoch: int) -> None:
    """See to it that the next epoch of the shard is above this one."""
    if last_epoch(paths, worker_index) < epoch:
        replace_file(epoch_file(paths, worker_index), f"{epoch}\n".encode("ascii"))


def read_worker_count(paths: InstancePaths) -> int | None:
    """Return by how many workers the sessions are divided here, None before the first start."""
    try:
        text = _read(paths.worker_count_file, 32).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= WORKERS_MAX:
        raise StateFileError(
            f"{paths.worker_count_file} is damaged: write into it how many workers ran here last"
        )
    return int(text)


def write_worker_count(paths: InstancePaths, count: int) -> None:
    """From now on the sessions are divided by so many."""
    replace_file(paths.worker_count_file, f"{count}\n".encode("ascii"))


def begin_epoch(paths: InstancePaths, worker_index: int) -> int:
    """Return the next epoch of the shard, on disk before this returns; the first is 1.

    The caller holds the shard's lock.  Raises StateFileError for a damaged file: guessing a
    number could give two dispatches the same fence.
    """
    epoch = last_epoch(paths, worker_index) + 1
    replace_file(epoch_file(paths, worker_index), f"{epoch}\n".encode("ascii"))
    return epoch


def replace_file(path: Path, content: bytes, *, owner: tuple[int, int] | None = None) -> None:
    """Put the content (mode 0600) at the path so that it survives a loss of power.

    `owner`, uid and gid, is whose it will be; None: the caller's.
    """
    with naming(path):
        _replace_file(path, content, owner)


def _replace_file(path: Path, content: bytes, owner: tuple[int, int] | None) -> None:
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(beside, flags, 0o600), "wb") as file:
        if owner is not None:
            os.fchown(file.fileno(), *owner)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(path: Path, size_max: int) -> bytes:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with naming(path), open(opened, "rb") as file:
        return file.read(size_max)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of the disk say which file it was: those of reading and syncing do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def disk_hint(error: BaseException) -> str:
    """Return what an operator is to do about an error, where it comes of a disk that fails."""
    causes = (error, error.__cause__)
    is_disk = any(isinstance(cause, OSError) and cause.errno == errno.EIO for cause in causes)
    return DISK_FAILS if is_disk else ""


def is_no_room(error: BaseException | None) -> bool:
    """Does it say that the disk, or what we may have of it, is full?"""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


async def when_there_is_room(act: Callable[[], T], say: Callable[[str], None]) -> T:
    """Return what this returns, as soon as the disk has room for it; `say` is told of a wait.

    Raises what it raises, but for the want of room, and that the disk is read-only.
    """
    is_told = False
    while True:
        try:
            return act()
        except OSError as error:
            is_read_only = error.errno == errno.EROFS
            if not is_no_room(error) and not is_read_only:
                raise
            if not is_told:
                is_told = True
                mend = "; make it writable again" if is_read_only else ""
                say(f"waits: {error}{mend}")
        await asyncio.sleep(ROOM_RETRY_S)

"""Who a state directory is: its random name, where it lies, and what it was called before.

      instance_uid
    +------------------+--------------------------------------------------------------------+
    | <32 hex digits>  | the name: part of every fence, so nodes tell lives apart by it     |
    | home <place>     | the directory's inode, its generation and its file system          |
    | former <32 hex>  | names that it had; journals begun under them are still its own     |
    +------------------+--------------------------------------------------------------------+

Two directories of one name would give out the same fences twice, and nodes would take the one for
the other.  So a directory that lies elsewhere than it remembers (a copy, a restored backup) gets
a new name; nodes then drop what they run for the old one, and its jobs are dispatched anew.  A
directory that is merely renamed keeps its inode, and its name.  Not noticed: a disk copied whole
while the original runs on.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from pointsman_shm.paths import InstancePaths
from pointsman_shm.state_files import (
    UID_BYTES,
    StateFileError,
    instance_uid_file,
    read_instance_uid,
    replace_file,
)

FORMERS_MAX = 16
RESTORED = "restored"  # a home that no directory has
FS_IOC_GETVERSION = 0x80087601


class InstanceIdentity(msgspec.Struct, frozen=True):
    """The content of the file; `home` is "" before the first start."""

    uid: str
    home: str = ""
    formers: tuple[str, ...] = ()

    @property
    def uids(self) -> tuple[str, ...]:
        """All names, the present one first."""
        return (self.uid, *self.formers)


def read_identity(paths: InstancePaths) -> InstanceIdentity:
    """Return who this state directory is.  Raises StateFileError or FileNotFoundError."""
    uid = read_instance_uid(paths)
    home, formers = "", []
    text = instance_uid_file(paths).read_text(encoding="ascii", errors="replace")
    for line in text.splitlines()[1:]:
        key, _, value = line.partition(" ")
        if key == "home" and line.isascii():
            home = value
        elif key == "former" and line.isascii():
            formers.append(value)
        else:
            raise StateFileError(f"{instance_uid_file(paths)} is damaged: {line[:40]!r}")
    return InstanceIdentity(uid, home, tuple(formers))


def write_identity(paths: InstancePaths, identity: InstanceIdentity) -> None:
    """Replace the file; the caller holds the instance's lock."""
    lines = [identity.uid]
    if identity.home:
        lines.append(f"home {identity.home}")
    lines += [f"former {uid}" for uid in identity.formers[:FORMERS_MAX]]
    replace_file(instance_uid_file(paths), "".join(f"{line}\n" for line in lines).encode("ascii"))


def settle_identity(paths: InstancePaths, entropy: Callable[[int], bytes]) -> str:
    """Give a directory that lies elsewhere than it remembers a new name; say so, or return "".

    The caller holds the instance's lock.
    """
    identity, home = read_identity(paths), home_of(paths.state_dir)
    if identity.home == home:
        return ""
    if not identity.home:
        write_identity(paths, msgspec.structs.replace(identity, home=home))
        return ""
    renewed = renew_identity(paths, entropy)
    return (
        f"state directory {paths.state_dir} was copied or restored: it is a new instance "
        f"({renewed.uid}, before {identity.uid}); what its journal holds goes on, on nodes anew"
    )


def renew_identity(paths: InstancePaths, entropy: Callable[[int], bytes]) -> InstanceIdentity:
    """Give the directory a new name; it remembers the former ones."""
    identity = read_identity(paths)
    renewed = InstanceIdentity(entropy(UID_BYTES).hex(), home_of(paths.state_dir), identity.uids)
    write_identity(paths, renewed)
    return renewed


def home_of(directory: Path) -> str:
    """Return what names this very directory: a copy has another, a renamed one the same."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        system = os.fstatvfs(descriptor).f_fsid
        return f"{system:x}-{status.st_ino}-{_generation(descriptor)}"
    finally:
        os.close(descriptor)


def _generation(descriptor: int) -> int:
    """Return what tells an inode from an earlier one of the same number; 0 where nothing does."""
    try:
        answer = fcntl.ioctl(descriptor, FS_IOC_GETVERSION, bytes(8))
    except OSError:
        return 0
    return int.from_bytes(answer[:4], "little")

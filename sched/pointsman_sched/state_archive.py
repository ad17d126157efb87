"""`python -m pointsman_sched.state_archive`: puts a state directory into one file, and back.

What `pointsman backup` and `pointsman restore` become.  The service must be stopped: the files of
a running one belong to different moments.  Locks, unfinished files and allocated room stay out.

A restored directory is a new instance (state_identity): fences that were given out after the
backup was made must not be given out again, so at the next start it gets a new name, and nodes
drop what they run for the old one.
"""

import argparse
import gzip
import json
import os
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from pointsman_sched.supervisor.grounds import predecessor
from pointsman_shm.logs.saying import answer, say
from pointsman_shm.memory.ownership import LockHeld, acquire_lock
from pointsman_shm.paths import InstancePaths, PathError, resolve_paths
from pointsman_shm.state_files import StateFileError
from pointsman_shm.state_identity import RESTORED, read_identity, write_identity
from pointsman_shm.versions.state_format import (
    MARKER,
    FormatRefused,
    check_readable,
    read_marker,
)

LEFT_OUT = (".lock", ".new")
ROOM_NAME = "next.segment"
MEMBERS_MAX = 100_000
PIECE_BYTES = 1024 * 1024


class ArchiveError(Exception):
    """It cannot be done; the text says why and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Back up or restore: 0 done, 1 failed, 2 wrong usage or no such archive."""
    parser = argparse.ArgumentParser(prog="pointsman_sched.state_archive", allow_abbrev=False)
    parser.add_argument("act", choices=("backup", "restore"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--instance", default="default")
    parser.add_argument("--state-dir", default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        paths = resolve_paths(
            given.instance,
            state_dir=given.state_dir,
            runtime_dir="/",
            environment=os.environ,
            user_id=os.geteuid(),
        )
        done = {"backup": backup, "restore": restore}[given.act](paths, given.file)
    except PathError as error:
        say("pointsman", str(error))
        return 2
    except (FileNotFoundError, IsADirectoryError) as error:
        say("pointsman", f"cannot {given.act} {given.file}: {error.strerror}")
        return 2
    except (ArchiveError, OSError, StateFileError, tarfile.TarError) as error:
        say("pointsman", f"cannot {given.act} {given.file}: {error}")
        return 1
    if given.json:
        told = {"done": given.act, "file": str(given.file), "state_dir": str(paths.state_dir)}
        done = json.dumps({**told, "bytes": given.file.stat().st_size, "words": done}, indent=2)
    answer(done)
    return 0


def backup(paths: InstancePaths, file: Path) -> str:
    """Write the archive; returns what to say.  Raises ArchiveError, OSError."""
    directory = paths.state_dir
    if not (directory / MARKER).exists():
        raise ArchiveError(f"{directory} is no state directory; name one with --state-dir")
    with ExitStack() as stack:
        try:
            stack.enter_context(acquire_lock(paths.instance_lock))
        except LockHeld as held:
            who = f"process {held.holder.pid}" if held.holder else str(held)
            raise ArchiveError(f"the service runs ({who}): stop it first") from None
        # As units of systemd its processes run without one that has the directory's own lock.
        if left := predecessor(paths):
            raise ArchiveError(f"the service runs ({left}): stop it first")
        _pack(directory, file)
    return f"backed up {directory} into {file}"


def _pack(directory: Path, file: Path) -> None:
    """Write the archive beside its place, and rename it when it is whole."""
    beside = file.with_name(file.name + ".new")
    beside.unlink(missing_ok=True)
    # It holds keys and what users sent: nobody else may read it.
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as target:
        with tarfile.open(fileobj=target, mode="w:gz") as archive:
            for path in _kept(directory):
                archive.add(path, path.relative_to(directory).as_posix(), recursive=False)
        target.flush()
        os.fsync(target.fileno())
    beside.rename(file)


def restore(paths: InstancePaths, file: Path) -> str:
    """Make the state directory of the archive; returns what to say.  Raises ArchiveError, OSError.

    It must not exist, or be empty.  It is filled beside its place and then renamed.
    """
    directory = paths.state_dir
    with open(file, "rb"):  # it is there and can be read, before anything else is asked for
        pass
    if directory.is_dir() and any(directory.iterdir()):
        raise ArchiveError(f"{directory} has something in it: move it out of the way first")
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = directory.with_name(directory.name + f".restoring-{os.getpid()}")
    beside.mkdir(mode=0o700)
    try:
        _extract(file, msgspec.structs.replace(paths, state_dir=beside))
    except BaseException:
        shutil.rmtree(beside)
        raise
    beside.rename(directory)
    return (
        f"restored {directory} from {file}; it will be a new instance: nodes drop what they run "
        "for the old one, and jobs that had not ended are dispatched anew"
    )


def _extract(file: Path, paths: InstancePaths) -> None:
    try:
        _unpack(file, paths.state_dir)
    except (EOFError, zlib.error) as error:
        raise ArchiveError(f"it is damaged, take another one: {error}") from None
    try:
        marker = read_marker(paths.state_dir)
        if marker is None:
            raise ArchiveError("it holds no state directory")
        check_readable(file, marker)
    except FormatRefused as error:
        raise ArchiveError(str(error)) from None
    identity = read_identity(paths)
    write_identity(paths, msgspec.structs.replace(identity, home=RESTORED))


def _unpack(file: Path, directory: Path) -> None:
    with gzip.open(file) as packed, tarfile.open(fileobj=packed, mode="r:") as archive:
        for member in _safe(archive):
            path = directory / member.name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None, member.name
            _put(path, content)
        # Behind the last member stands the checksum of all of them.
        while packed.read(PIECE_BYTES):
            continue


def _put(path: Path, content: IO[bytes]) -> None:
    """Write a file (mode 0600) in pieces: what an archive says of its sizes may be a lie."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, PIECE_BYTES)
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _kept(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        is_kept = not path.name.endswith(LEFT_OUT) and path.name != ROOM_NAME
        if is_kept and path.is_file() and not path.is_symlink():
            yield path


def _safe(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Return the members.  Raises ArchiveError for one that backup would not have written."""
    for count, member in enumerate(archive):
        name = PurePosixPath(member.name)
        is_plain = member.isfile() and not member.issparse()
        if count >= MEMBERS_MAX or not is_plain or name.is_absolute() or ".." in name.parts:
            raise ArchiveError(f"{member.name[:80]!r} in it was not put there by backup")
        yield member


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

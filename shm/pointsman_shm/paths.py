"""Everything named after an instance: segments, directories, sockets and lock files.

Names are computed here and nowhere else, so that a stray segment or socket can be traced to its
instance by its name. Main passes the environment in; nothing here reads it.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pointsman_shm.versions.state_format import FormatRefused, check_readable, read_marker

INSTANCE_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
SOCKET_PATH_SIZE_MAX = 107  # sockaddr_un holds 108 bytes, one of them the closing zero
WORKERS_MAX = 64
LONGEST_SOCKET_NAME = f"handover-worker-{WORKERS_MAX - 1}.sock"
SEGMENT_DIRECTORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory
RUNTIME_FORMAT = "1"  # another number is refused, never guessed at


class PathError(Exception):
    """An instance's name or directory cannot be used; the text says what to do."""


class InstancePaths(msgspec.Struct, frozen=True):
    """The names of one instance."""

    instance: str
    state_dir: Path
    runtime_dir: Path

    def segment(self, what: str) -> str:
        """Name of a shared memory segment: catalog, rows, ledger, waiting, stats-<process>."""
        return f"/pointsman.{self.instance}.{what}"

    @property
    def catalog_segment(self) -> str:
        return self.segment("catalog")

    @property
    def rows_segment(self) -> str:
        return self.segment("rows")

    @property
    def ledger_segment(self) -> str:
        return self.segment("ledger")

    @property
    def waiting_segment(self) -> str:
        return self.segment("waiting")

    def stats_segment(self, process: str) -> str:
        """Stats page of "manager" or "worker-<k>"."""
        return self.segment(f"stats-{process}")

    @property
    def manager_uplink(self) -> Path:
        return self.runtime_dir / "manager.sock"

    @property
    def manager_handover(self) -> Path:
        return self.runtime_dir / "handover-manager.sock"

    @property
    def console_handover(self) -> Path:
        return self.runtime_dir / "handover-console.sock"

    def worker_handover(self, worker_index: int) -> Path:
        return self.runtime_dir / f"handover-worker-{worker_index}.sock"

    def bell(self, worker_index: int) -> Path:
        return self.runtime_dir / f"bell-{worker_index}.sock"

    def admin(self, process: str) -> Path:
        """Admin socket of "manager", "supervisor", "console" or "worker-<k>"."""
        return self.runtime_dir / f"admin-{process}.sock"

    @property
    def instance_lock(self) -> Path:
        return self.state_dir / "instance.lock"

    @property
    def runtime_lock(self) -> Path:
        return self.runtime_dir / "instance.lock"

    @property
    def manager_lock(self) -> Path:
        return self.state_dir / "manager.lock"

    def shard_lock(self, worker_index: int) -> Path:
        return self.state_dir / f"shard-{worker_index}.lock"

    def journal(self, worker_index: int, worker_count: int) -> Path:
        """Directory of a shard's segments, as long as there are so many shards."""
        return self.journals / f"shard-{worker_index}-of-{worker_count}"

    @property
    def journals(self) -> Path:
        return self.state_dir / "journal"

    @property
    def worker_count_file(self) -> Path:
        return self.state_dir / "workers"


def segments_of(instance: str, directory: Path = SEGMENT_DIRECTORY) -> list[Path]:
    """Return the files of all segments of an instance, whoever left them there."""
    return sorted(directory.glob(f"pointsman.{instance}.*"))


def worker_process(worker_index: int) -> str:
    """The name under which a worker's admin socket and stats page are found."""
    return f"worker-{worker_index}"


def resolve_paths(
    instance: str,
    *,
    state_dir: str | None = None,
    runtime_dir: str | None = None,
    environment: Mapping[str, str],
    user_id: int,
) -> InstancePaths:
    """Name everything of `instance`; directories not given are the user's customary ones.

    Raises PathError for a name outside [a-z0-9][a-z0-9-]{0,31}, a relative directory, and a runtime
    directory in which a unix socket's path would not fit.
    """
    if INSTANCE_PATTERN.fullmatch(instance) is None:
        raise PathError(
            f"instance name {instance!r} cannot be used: "
            "take 1 to 32 of the characters a-z, 0-9 and '-', not '-' at the start"
        )
    state = Path(state_dir or _default_state(environment, user_id) / "pointsman" / instance)
    runtime = Path(runtime_dir or _default_runtime(environment, user_id) / instance)
    for key, path in (("state_dir", state), ("runtime_dir", runtime)):
        if not path.is_absolute():
            raise PathError(f"directories.{key} is {str(path)!r}: give an absolute path")
    size = len(os.fsencode(runtime / LONGEST_SOCKET_NAME))
    if size > SOCKET_PATH_SIZE_MAX:
        raise PathError(
            f"runtime directory {runtime} is too long: a unix socket in it would need {size} bytes "
            f"of at most {SOCKET_PATH_SIZE_MAX}; set directories.runtime_dir to a shorter path"
        )
    return InstancePaths(instance=instance, state_dir=state, runtime_dir=runtime)


def _default_state(environment: Mapping[str, str], user_id: int) -> Path:
    if user_id == 0:
        return Path("/var/lib")
    named = environment.get("XDG_STATE_HOME", "")
    if named.startswith("/"):  # the XDG rule: a relative path is ignored
        return Path(named)
    home = environment.get("HOME", "")
    if not home.startswith("/"):
        raise PathError("neither XDG_STATE_HOME nor HOME is set: set directories.state_dir")
    return Path(home) / ".local" / "state"


def _default_runtime(environment: Mapping[str, str], user_id: int) -> Path:
    if user_id == 0:
        return Path("/run/pointsman")
    named = environment.get("XDG_RUNTIME_DIR", "")
    if named.startswith("/"):
        return Path(named) / "pointsman"
    # Without a login session there is no runtime directory; prepare_directories checks the owner.
    return Path("/tmp") / f"pointsman-{user_id}"  # noqa: S108


def prepare_directories(paths: InstancePaths, *, user_id: int) -> None:
    """Make both directories (0700), check their forms, or raise PathError.

    A state directory of an older form is left as it is: whoever holds its lock migrates it.

    A directory that is a symbolic link, belongs to another user or is writable by others is
    refused: whoever can write there could answer on our sockets.
    """
    prepare_state_directory(paths.state_dir, user_id=user_id)
    try:
        _make_private(paths.runtime_dir, user_id)
        _check_runtime_format(paths.runtime_dir)
    except OSError as error:
        raise _unusable(paths.runtime_dir, error) from error


def prepare_state_directory(directory: Path, *, user_id: int) -> None:
    """Make the state directory alone, 0700, or raise PathError."""
    try:
        _make_private(directory, user_id)
        if (marker := read_marker(directory)) is not None:
            check_readable(directory, marker)
    except FormatRefused as error:
        raise PathError(str(error)) from None
    except OSError as error:
        raise _unusable(directory, error) from error


def _unusable(directory: Path, error: OSError) -> PathError:
    return PathError(
        f"cannot use directory {directory}: {error.strerror}; make it writable for this "
        "user or name others under [directories]"
    )


def _make_private(directory: Path, user_id: int) -> None:
    directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise PathError(f"{directory} is not a directory: move it out of the way") from None
        if status.st_uid != user_id:
            raise PathError(
                f"directory {directory} belongs to user {status.st_uid}, not to {user_id}: "
                "start as its owner or name another under [directories]"
            ) from None
        if status.st_mode & 0o022:
            raise PathError(
                f"directory {directory} is writable by others: chmod go-w {directory}"
            ) from None


def _check_runtime_format(directory: Path) -> None:
    marker = directory / "format"
    try:
        found = marker.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        marker.write_text(RUNTIME_FORMAT + "\n", encoding="ascii")
        return
    if found != RUNTIME_FORMAT:
        raise PathError(
            f"directory {directory} has format {found[:16]!r}, "
            f"this version writes {RUNTIME_FORMAT!r}: "
            "start the version that made it, or move the directory away"
        )

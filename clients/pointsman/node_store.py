"""What a node keeps over restarts, in one small file: its id, its key, the epochs it has seen.

<state_dir>/node.json      replaced as a whole, synced before anything depends on it; 0600
<state_dir>/node.lock      held while a node runs: two with one id would fence each other off
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from pointsman.node_core.fences import EPOCHS_MAX
from pointsman_wire.sockets.crash_points import pass_by

if sys.platform != "win32":
    import fcntl

FORMAT = 1
FILE_NAME = "node.json"
LOCK_NAME = "node.lock"


class NodeStateError(Exception):
    """The state directory cannot be used; the text says why and what to do."""


class KnownEpoch(msgspec.Struct, frozen=True):
    """The highest epoch that was seen of one shard."""

    instance_uid: str
    shard: int
    epoch: int


class NodeState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    format: int = FORMAT
    node_id: str = ""
    key: str = ""
    epochs: list[KnownEpoch] = []


class NodeStore:
    """Keeps a NodeState, in a directory or, without one, in memory: then `state` is the first.

    Raises NodeStateError when the directory is in use or its file unreadable, OSError when the
    disk fails: a node that cannot keep a fence must not go on.
    """

    def __init__(
        self,
        state_dir: str | Path | None,
        state: NodeState | None = None,
        crash: Callable[[str], None] = pass_by,
    ) -> None:
        self._crash = crash
        self._path: Path | None = None
        self._lock: IO[bytes] | None = None
        self.state = state or NodeState()
        if state_dir is None:
            return
        directory = Path(state_dir)
        self._path = directory / FILE_NAME
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _take_lock(directory / LOCK_NAME)
        except OSError as error:
            raise NodeStateError(
                f"{directory}: cannot be used as state_dir: {error.strerror}; "
                "make it a directory that this user can write, or name another one"
            ) from None
        try:
            self.state = _load(self._path)
        except NodeStateError:
            self.close()
            raise

    def keep_identity(self, node_id: str, key: str) -> None:
        """Keep the id and the key that proves it."""
        self._keep(msgspec.structs.replace(self.state, node_id=node_id, key=key))

    def keep_epoch(self, instance_uid: str, shard: int, epoch: int) -> None:
        """Keep the highest epoch of a shard; the one that changed last stands last."""
        epochs = [
            e for e in self.state.epochs if (e.instance_uid, e.shard) != (instance_uid, shard)
        ]
        epochs.append(KnownEpoch(instance_uid, shard, epoch))
        self._keep(msgspec.structs.replace(self.state, epochs=epochs[-EPOCHS_MAX:]))

    def close(self) -> None:
        """Let another node have the directory."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _keep(self, state: NodeState) -> None:
        self.state = state
        if self._path is None:
            return
        written = self._path.with_suffix(".new")
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(state)))
            file.flush()
            os.fsync(file.fileno())
        self._crash("node-mid-store")
        os.replace(written, self._path)
        _sync_directory(self._path.parent)


def _take_lock(path: Path) -> IO[bytes]:
    file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb+")  # noqa: SIM115
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise NodeStateError(
                f"{path.parent}: another node runs with this state_dir; each needs its own"
            ) from None
    return file


def _load(path: Path) -> NodeState:
    try:
        state = msgspec.json.decode(path.read_bytes(), type=NodeState)
    except FileNotFoundError:
        return NodeState()
    except msgspec.DecodeError as error:
        raise NodeStateError(
            f"{path}: {error}; restore it, or delete it to join as a new node"
        ) from None
    if state.format != FORMAT:
        raise NodeStateError(f"{path}: format {state.format}, this version reads {FORMAT}")
    return state


def _sync_directory(path: Path) -> None:
    """Make the replacement itself survive a power cut, where directories can be synced."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The file of client tokens in the state directory: hashes, tenants, scopes and ends.

`pointsman tokens` replaces the file whole, by a rename, and every worker looks at it once a second:
at its inode, its size and its time.  So no process stands between: a token can be given out before
the first start and revoked while the manager is down, and a revocation has its effect on every
worker within a second or two, whoever of them was away meanwhile.  Nothing is pushed that could be
lost.

A file that cannot be read or is damaged lets nobody in: to be too strict is mended by a command, to
be too lax is found out too late.
"""

import os
import stat
from pathlib import Path
from typing import Annotated

import msgspec

from pointsman_shm.paths import InstancePaths
from pointsman_shm.state_files import StateFileError, replace_file
from pointsman_shm.tokens.judging import SCOPE_NAMES, KnownToken, Scope

FORMAT = 1
TOKENS_MAX = 10_000
FILE_BYTES_MAX = 8 * 1024 * 1024

Mark = tuple[int, int, int]  # inode, size, time of the last change in nanoseconds
NO_FILE: Mark = (0, 0, 0)
HIDDEN: Mark = (-1, 0, 0)


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One token as the file has it; times are seconds of the wall clock since 1970."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    tenant: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    scopes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=3)]
    note: Annotated[str, msgspec.Meta(max_length=256)] = ""
    made_at_s: int = 0
    made_by_uid: int = 0
    expires_at_s: int | None = None

    def __post_init__(self) -> None:
        if unknown := [name for name in self.scopes if name not in SCOPE_NAMES]:
            raise ValueError(f"no scopes: {', '.join(unknown)}")

    def known(self, now_s: float) -> KnownToken:
        """Return what those who judge are told of it."""
        scopes = Scope.NONE
        for name in self.scopes:
            scopes |= SCOPE_NAMES[name]
        return KnownToken(
            token_id=self.id,
            digest=bytes.fromhex(self.sha256),
            tenant=self.tenant,
            scopes=scopes,
            is_expired=self.expires_at_s is not None and now_s >= self.expires_at_s,
        )


class TokenList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds."""

    format: int = FORMAT
    tokens: Annotated[tuple[TokenRecord, ...], msgspec.Meta(max_length=TOKENS_MAX)] = ()


def token_file(paths: InstancePaths) -> Path:
    """Where the hashes of client tokens lie."""
    return paths.state_dir / "tokens.json"


def mark_of(path: Path) -> Mark:
    """Return by what a replaced file is told from the one before.

    NO_FILE when there is none, HIDDEN when nobody may look: who then reads it is told why.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return NO_FILE
    except OSError:
        return HIDDEN
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_tokens(path: Path) -> tuple[TokenRecord, ...]:
    """Return all records, none where there is no file.

    Raises StateFileError for a file that is damaged, not this user's, or open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StateFileError(f"{path} cannot be read: {error.strerror}") from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StateFileError(f"{path} is not a regular file: move it away")
        if status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid()):
            raise StateFileError(
                f"{path} is not this user's alone (uid {status.st_uid}, mode "
                f"{stat.S_IMODE(status.st_mode):04o}): chown it, and chmod 0600 {path}"
            )
        content = file.read(FILE_BYTES_MAX + 1)
    return _decoded(path, content)


def _decoded(path: Path, content: bytes) -> tuple[TokenRecord, ...]:
    try:
        found = msgspec.json.decode(content, type=TokenList)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateFileError(
            f"{path} is damaged ({error}): put a good copy there, or remove it, which revokes "
            "every token"
        ) from error
    if found.format != FORMAT:
        raise StateFileError(f"{path} has format {found.format}, this version reads {FORMAT}")
    return found.tokens


def write_tokens(path: Path, records: tuple[TokenRecord, ...]) -> None:
    """Replace the file; who looks at it sees all of the old or all of the new.

    It will be the directory's owner's: root must not leave there what the service cannot read.
    """
    content = msgspec.json.encode(TokenList(tokens=records))
    status = path.parent.stat()
    owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    replace_file(path, msgspec.json.format(content, indent=1) + b"\n", owner=owner)

"""`python -m pointsman_sched.client_tokens`: gives out, lists and revokes the tokens of clients.

What `pointsman tokens` becomes.  It works on the file in the state directory, whether the service
runs or not; workers see it within a second or two.  What root writes becomes the property of the
owner of the directory, so that the service can read it.

A new token is printed once and is nowhere afterwards: the file has its hash.  It never stands in a
command line, where every user of the host could read it.
"""

import argparse
import fcntl
import os
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from pointsman_sched.wall_clock import wall_clock_s
from pointsman_shm.logs.saying import answer, say
from pointsman_shm.paths import PathError, prepare_state_directory, resolve_paths
from pointsman_shm.state_files import StateFileError
from pointsman_shm.tokens.judging import ID_BYTES, SCOPE_NAMES, digest_of, make_token
from pointsman_shm.tokens.token_file import (
    TOKENS_MAX,
    TokenRecord,
    read_tokens,
    token_file,
    write_tokens,
)

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
LASTS_S_MAX = 999_999 * 86_400
ScopeName = Literal["submit", "read", "cancel"]
DONE, FAILED, USAGE = 0, 1, 2


class TokenWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token shall be; without lasts_s it never ends."""

    tenant: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    scopes: Annotated[tuple[ScopeName, ...], msgspec.Meta(min_length=1, max_length=3)] = (
        "submit",
        "read",
        "cancel",
    )
    lasts_s: Annotated[int, msgspec.Meta(ge=1, le=LASTS_S_MAX)] | None = None
    note: Annotated[str, msgspec.Meta(max_length=256)] = ""


class TokenLine(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a token that is no secret: its hash is left out as well."""

    id: str
    tenant: str
    scopes: tuple[str, ...]
    note: str = ""
    made_by_uid: int = 0
    expires_in_s: int | None = None
    expired: bool = False


class TokenError(Exception):
    """It cannot be done; the text says why and what to do."""


class TokenUsageError(TokenError):
    """It was asked for wrongly, or of a token that is not there."""


def main(arguments: Sequence[str]) -> int:
    """Do one thing to the tokens: 0 done, 1 failed, 2 wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        paths = resolve_paths(
            given.instance,
            state_dir=given.state_dir,
            runtime_dir="/",
            environment=os.environ,
            user_id=os.geteuid(),
        )
        prepare_state_directory(paths.state_dir, user_id=_owner_of(paths.state_dir))
        told = _ACTS[given.act](given, token_file(paths))
    except PathError as error:
        say("pointsman", str(error))
        return USAGE
    except (OSError, StateFileError, TokenError) as error:
        say("pointsman", f"cannot {given.act} tokens: {error}")
        return USAGE if isinstance(error, TokenUsageError) else FAILED
    answer(told.removesuffix("\n"))
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pointsman_sched.client_tokens", allow_abbrev=False)
    parser.add_argument("act", choices=tuple(_ACTS))
    parser.add_argument("id", nargs="?", default="")
    parser.add_argument("--tenant", default="")
    parser.add_argument("--scopes", default=",".join(SCOPE_NAMES))
    parser.add_argument("--expires", default="", help="like 90d, 12h, 30m, 45s; empty: never")
    parser.add_argument("--note", default="")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--instance", default="default")
    parser.add_argument("--state-dir", default=None)
    return parser


def _owner_of(directory: Path) -> int:
    """Return as whose the directory is to be used: root may act for its owner."""
    if os.geteuid() == 0 and directory.exists():
        return directory.lstat().st_uid
    return os.geteuid()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep two commands from writing over each other."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(directory / "tokens.lock", flags, 0o600), "rb") as file:
        if os.geteuid() == 0:
            status = directory.stat()
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def issue_token(path: Path, wish: TokenWish) -> tuple[TokenLine, str]:
    """Write down a new token: (what is shown of it, the token itself, which is kept nowhere).

    Raises TokenError, StateFileError, OSError.
    """
    with _alone(path.parent):
        records = read_tokens(path)
        if len(records) >= TOKENS_MAX:
            raise TokenError(f"there are {TOKENS_MAX}: revoke some first")
        now_s = int(wall_clock_s())
        text = make_token(_new_id(records), secrets.token_urlsafe)
        record = TokenRecord(
            id=text.split("_")[1],
            sha256=digest_of(text).hex(),
            tenant=wish.tenant,
            scopes=wish.scopes,
            note=wish.note,
            made_at_s=now_s,
            made_by_uid=os.getuid(),
            expires_at_s=now_s + wish.lasts_s if wish.lasts_s is not None else None,
        )
        write_tokens(path, (*records, record))
    return _shown(record), text


def listed_tokens(path: Path) -> list[TokenLine]:
    """Return what is shown of all tokens.  Raises StateFileError."""
    return [_shown(record) for record in read_tokens(path)]


def revoke_token(path: Path, token_id: str) -> bool:
    """Take one out; False where there is none of that id.  Raises StateFileError, OSError."""
    with _alone(path.parent):
        records = read_tokens(path)
        kept = tuple(record for record in records if record.id != token_id)
        if len(kept) < len(records):
            write_tokens(path, kept)
    return len(kept) < len(records)


def _add(given: argparse.Namespace, path: Path) -> str:
    wish = _wish(given)
    made, text = issue_token(path, wish)
    if given.json:
        return _json({**msgspec.to_builtins(made), "token": text})
    say(
        "pointsman",
        f"token {made.id} of tenant {made.tenant}: keep it, it is not shown again; "
        "a running service knows it within two seconds",
    )
    return f"{text}\n"


def _wish(given: argparse.Namespace) -> TokenWish:
    if not given.tenant:
        raise TokenUsageError("no tenant: name it with --tenant")
    scopes = [name.strip() for name in given.scopes.split(",") if name.strip()]
    if unknown := next((name for name in scopes if name not in SCOPE_NAMES), ""):
        there = ", ".join(SCOPE_NAMES)
        raise TokenUsageError(f"--scopes: there is no {unknown!r}; take some of {there}")
    said = {
        "tenant": given.tenant,
        "scopes": scopes,
        "note": given.note,
        "lasts_s": _seconds(given.expires) if given.expires else None,
    }
    try:
        return msgspec.convert(said, TokenWish)
    except msgspec.ValidationError as error:
        raise TokenUsageError(str(error)) from None


def _list(given: argparse.Namespace, path: Path) -> str:
    found = listed_tokens(path)
    if given.json:
        return _json({"tokens": found})
    if not found:
        return "no tokens\n"
    return "".join(f"{_line(token)}\n" for token in found)


def _revoke(given: argparse.Namespace, path: Path) -> str:
    if not revoke_token(path, given.id):
        raise TokenUsageError(f"there is no token {given.id!r}; `pointsman tokens list` shows all")
    if given.json:
        return _json({"revoked": given.id})
    return f"revoked {given.id}: its sessions end within a few seconds\n"


_ACTS = {"add": _add, "list": _list, "revoke": _revoke}


def _new_id(records: tuple[TokenRecord, ...]) -> str:
    taken = {record.id for record in records}
    while (found := secrets.token_hex(ID_BYTES)) in taken:
        continue
    return found


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise TokenUsageError(f"--expires {text!r}: take a number and one of s, m, h, d, like 90d")
    return int(match[1]) * UNITS_S[match[2]]


def _shown(record: TokenRecord) -> TokenLine:
    left_s = None if record.expires_at_s is None else record.expires_at_s - wall_clock_s()
    return TokenLine(
        id=record.id,
        tenant=record.tenant,
        scopes=record.scopes,
        note=record.note,
        made_by_uid=record.made_by_uid,
        expires_in_s=None if left_s is None else round(left_s),
        expired=left_s is not None and left_s <= 0,
    )


def _line(token: TokenLine) -> str:
    left_s = token.expires_in_s
    end = "never expires" if left_s is None else f"expires in {_span(left_s)}"
    end = "expired" if token.expired else end
    words = [token.id, token.tenant, ",".join(token.scopes), end, token.note]
    return "  ".join(word for word in words if word)


def _span(seconds: int) -> str:
    """Return a time in the largest unit of which there are two."""
    name = next((unit for unit in "dhm" if seconds >= 2 * UNITS_S[unit]), "s")
    words = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    return f"{round(seconds / UNITS_S[name])} {words[name]}"


def _json(value: dict[str, object]) -> str:
    return msgspec.json.encode(value).decode() + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

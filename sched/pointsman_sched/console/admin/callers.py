"""Who calls the admin API, and what he may do.

    unix socket   by the kernel's word (SO_PEERCRED, SO_PEERGROUPS): root and the user of the
                  service may change things, and members of admin.operator_group; members of
                  admin.read_group may read
    loopback TCP  by a bearer token of console.api_tokens_file: each line is a name, `read` or
                  `change`, and the token; compared in constant time, all of them every time

Everybody else gets a 403, or a 401 where a token is missing or wrong.
"""

import hmac
import pwd
import re
import socket
from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from pointsman_sched.console.admin.problems import ApiError
from pointsman_shm.config_load import ConfigError
from pointsman_wire.sockets.unix_sockets import Access, Groups, access_of, peer_of

TOKEN_LENGTH_MIN = 22  # 128 bits and more, in any usual alphabet
TOKENS_MAX = 64
ACCESS_BY_WORD: dict[str, Access] = {"read": "read", "change": "change"}
_TOKEN_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who it is, in words for the audit, and what he may do."""

    who: str
    access: Access = "none"
    is_known: bool = True  # False: on TCP, until his token was looked at


STRANGER = Caller(who="somebody on loopback", is_known=False)


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the tokens' file; it shows its name only."""

    name: str
    access: Access
    secret: bytes

    def __repr__(self) -> str:
        return f"Token({self.name!r}, {self.access})"


def parse_tokens(text: str) -> list[Token]:
    """Read the tokens of a file; raises ConfigError with the number of a line that is wrong."""
    tokens: list[Token] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"console.api_tokens_file, line {number}"
        if len(words) != 3 or not _TOKEN_NAME.fullmatch(words[0]):
            raise ConfigError(f"{where}: write NAME read|change TOKEN")
        name, said, secret = words
        if said not in ACCESS_BY_WORD:
            raise ConfigError(f"{where}: {name} may either read or change")
        if len(secret) < TOKEN_LENGTH_MIN:
            advice = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            raise ConfigError(
                f"{where}: the token of {name} has fewer than {TOKEN_LENGTH_MIN} characters; "
                f"make one with {advice}"
            )
        tokens.append(Token(name=name, access=ACCESS_BY_WORD[said], secret=secret.encode()))
    if len(tokens) > TOKENS_MAX:
        raise ConfigError(f"console.api_tokens_file: {len(tokens)} tokens, at most {TOKENS_MAX}")
    return tokens


def by_token(authorization: str, tokens: Sequence[Token]) -> Caller:
    """Return who presents this header; raises ApiError (401) when nobody we know does."""
    scheme, _, given = authorization.partition(" ")
    found: Token | None = None
    for token in tokens:
        if hmac.compare_digest(token.secret, given.strip().encode()):
            found = token
    if found is None or scheme.lower() != "bearer":
        advice = "send `Authorization: Bearer TOKEN` with a token of console.api_tokens_file"
        raise ApiError(HTTPStatus.UNAUTHORIZED, "no valid token was sent", todo=advice)
    return Caller(who=f"token {found.name}", access=found.access)


def by_peer(sock: socket.socket, groups: Groups) -> Caller:
    """Return who is at the other end of a unix socket, by what the kernel says."""
    peer = peer_of(sock)
    who = f"uid {peer.user} ({_user_name(peer.user)}), pid {peer.process_id}"
    return Caller(who=who, access=access_of(sock, groups))


def check_access(caller: Caller, needed: Access) -> None:
    """Raise ApiError (403) unless the caller may do this."""
    if caller.access == "change" or caller.access == needed:
        return
    if needed == "change":
        advice = "ask as a member of admin.operator_group, or with a token that may change things"
        what = f"{caller.who} may read, and change nothing"
    else:
        advice = "become a member of admin.read_group, and log in anew"
        what = f"{caller.who} may not use this API"
    raise ApiError(HTTPStatus.FORBIDDEN, what, todo=advice)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "no name"

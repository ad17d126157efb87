"""What a client's token is, and whether one that was sent is known: pure, in constant time.

    pmt_<id>_<secret>      id      8 hexadecimal digits, public: what `list` shows
                           secret  43 characters of base64url: 256 random bits

What is kept of a token is the SHA-256 of its whole text.  With 256 random bits a slow hash would
protect nothing: nobody can go through them.  The id finds the one record, and the digests are
compared in constant time, also where there is none, so that time tells nothing of either.
"""

from collections.abc import Callable, Iterable
from enum import IntFlag
from hashlib import sha256
from hmac import compare_digest

import msgspec

MARK = "pmt"
ID_BYTES = 4
SECRET_BYTES = 32
TOKEN_LENGTH_MAX = 128
NOBODY = sha256(b"").digest()


class Scope(IntFlag):
    """What the holder of a token may do."""

    NONE = 0
    SUBMIT = 1  # have jobs done
    READ = 2  # be told results, and what others say in a room
    CANCEL = 4
    ALL = SUBMIT | READ | CANCEL


SCOPE_NAMES = {"submit": Scope.SUBMIT, "read": Scope.READ, "cancel": Scope.CANCEL}


class KnownToken(msgspec.Struct, frozen=True, kw_only=True):
    """One token as those who judge know it."""

    token_id: str
    digest: bytes  # SHA-256 of its text
    tenant: str
    scopes: Scope
    is_expired: bool = False


class Tokens:
    """All tokens of an instance, by their ids."""

    def __init__(self, known: Iterable[KnownToken] = ()) -> None:
        self._by_id = {token.token_id: token for token in known}
        self.tenants = frozenset(token.tenant for token in self._by_id.values())

    def find(self, text: str) -> KnownToken | None:
        """Return the token whose secret this is, expired or not; None for any other text."""
        token = self._by_id.get(id_in(text))
        digest = sha256(text[: TOKEN_LENGTH_MAX + 1].encode("utf-8", "surrogatepass")).digest()
        is_same = compare_digest(digest, token.digest if token is not None else NOBODY)
        return token if is_same and text else None

    def is_good(self, token_id: str) -> bool:
        """Is there a token of this id that still counts?"""
        token = self._by_id.get(token_id)
        return token is not None and not token.is_expired


def id_in(text: str) -> str:
    """Return the id that the text names, "" for what has not the form of a token."""
    mark, _, rest = text.partition("_")
    token_id, _, secret = rest.partition("_")
    return token_id if mark == MARK and secret and len(text) <= TOKEN_LENGTH_MAX else ""


def make_token(token_id: str, urlsafe: Callable[[int], str]) -> str:
    """Return the text of a new token; `urlsafe(n)` gives n random bytes as base64url."""
    return f"{MARK}_{token_id}_{urlsafe(SECRET_BYTES)}"


def digest_of(text: str) -> bytes:
    """Return what is kept of a token."""
    return sha256(text.encode()).digest()


def scope_words(scopes: Scope) -> list[str]:
    """Return the names of the scopes, in their order."""
    return [name for name, scope in SCOPE_NAMES.items() if scope in scopes]

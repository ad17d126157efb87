"""How a node is introduced: a secret that an operator hands over, good once, for one name and pool.

    issue -> open --right secret, name, pool--> used (gone)
               |--its time is over-----------> gone
               '--a code, guessed at too often-> gone

A token has 128 random bits and comes by copying; a code has 40 and is read out, so guesses at codes
are few: five wrong ones burn every open code for where they come from (see guesses.py), and a
minute has only so many.  Neither is kept as it
is, only as a keyed digest, and neither outlives the process.  What is wrong is not told apart.
"""

from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest

import msgspec

from pointsman_sched.core.joining.guesses import Guesses, Tries
from pointsman_sched.core.joining.identities import Refusal
from pointsman_sched.core.joining.pairing import CODE_BYTES, read, spell
from pointsman_wire.errors import Code
from pointsman_wire.secure.grants import Grant, Labels

TOKEN_PREFIX = "enrol-"  # noqa: S105 - what tells a token from a code
TOKEN_BYTES = 16
TOKEN_LASTS_NS = 300_000_000_000
TOKEN_LASTS_MAX_NS = 1_800_000_000_000
CODE_LASTS_NS = 600_000_000_000
OPEN_MAX = 256
WRONG_WORDS = (
    "this introduction is wrong, was used before, is over, or is for another name or pool: ask "
    "for a new one (pointsman enrol)"
)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator wants: whom to introduce, how, and for how long (0: the usual time)."""

    name: str
    pool: str = ""
    tenant: str = ""  # the one that it may serve, "" for any
    labels: Labels = ()  # all that it may have, () for any
    is_code: bool = False
    lasts_ns: int = 0

    @property
    def grant(self) -> Grant:
        """What its certificate will say."""
        return Grant(name=self.name, pool=self.pool, tenant=self.tenant, labels=self.labels)

    @property
    def span_ns(self) -> int:
        """How long the secret is good: a code's time is fixed, a token's has an end."""
        if self.is_code:
            return CODE_LASTS_NS
        return min(self.lasts_ns or TOKEN_LASTS_NS, TOKEN_LASTS_MAX_NS)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a node shows: the secret, and as whom it wants to be known."""

    secret: str
    name: str
    pool: str = ""
    address: str = ""


class _Open:
    __slots__ = ("digest", "ends_at_ns", "tries", "wish")

    def __init__(self, digest: bytes, wish: Wish, ends_at_ns: int) -> None:
        self.digest = digest
        self.wish = wish
        self.ends_at_ns = ends_at_ns
        self.tries = Tries()


class Introductions:
    """All that are open."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._key = b""  # drawn with the first secret
        self._open: list[_Open] = []  # bounded by OPEN_MAX
        self._guesses = Guesses()

    def issue(self, wish: Wish, now_ns: int) -> str | None:
        """Return a new secret; None when too many are open."""
        self._drop_lapsed(now_ns)
        if len(self._open) >= OPEN_MAX:
            return None
        self._key = self._key or self._entropy(32)
        if wish.is_code:
            secret = spell(self._entropy(CODE_BYTES))
        else:
            secret = TOKEN_PREFIX + self._entropy(TOKEN_BYTES).hex()
        self._open.append(_Open(self._digest(secret), wish, now_ns + wish.span_ns))
        return secret

    def redeem(self, claim: Claim, now_ns: int) -> Wish | Refusal:
        """Use a secret up; return whom it introduces, or why nobody."""
        is_token = claim.secret.startswith(TOKEN_PREFIX)
        refusal = None if is_token else self._guesses.too_often(now_ns, claim.address)
        if refusal is not None:
            return refusal
        self._drop_lapsed(now_ns)
        digest = self._digest(claim.secret if is_token else read(claim.secret))
        found: _Open | None = None
        for candidate in self._open:  # all of them: how long it takes tells nothing
            is_right = compare_digest(candidate.digest, digest)
            if is_right and not candidate.tries.is_burned_for(claim.address):
                found = candidate
        is_theirs = found is not None and (found.wish.name, found.wish.pool) == (
            claim.name,
            claim.pool,
        )
        if found is None or not is_theirs:
            if not is_token:
                self._wrong_code(claim, now_ns)
            return Refusal(Code.UNAUTHORIZED, WRONG_WORDS)
        self._open.remove(found)
        return found.wish

    def _wrong_code(self, claim: Claim, now_ns: int) -> None:
        self._guesses.note(now_ns, claim.address)
        for candidate in self._open:
            if candidate.wish.is_code:
                candidate.tries.note(claim.address)
        self._open = [known for known in self._open if not known.tries.is_burned()]

    def _drop_lapsed(self, now_ns: int) -> None:
        self._open = [known for known in self._open if known.ends_at_ns > now_ns]

    def _digest(self, secret: str) -> bytes:
        words = secret[:128].encode("utf-8", "surrogatepass")
        return blake2b(words, key=self._key, digest_size=32).digest()

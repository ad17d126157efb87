"""How a node is introduced: a secret that an operator hands over, good once, for one name and pool.

    issue -> open --right secret, name, pool--> used (gone)
               |--its time is over-----------> gone
               '--a code, guessed at too often-> gone

A token has 128 random bits and comes by copying; a code has 40 and is read out, so guesses at codes
are few: five wrong ones burn every open code for where they come from (see guesses.py), and a
minute has only so many.  What is wrong is not told apart.
"""

from collections.abc import Callable

import msgspec

from pointsman_sched.core.joining.guesses import Guesses
from pointsman_sched.core.joining.identities import Refusal
from pointsman_sched.core.joining.open_secrets import OpenSecrets
from pointsman_sched.core.joining.pairing import CODE_BYTES, read, spell
from pointsman_wire.errors import Code
from pointsman_wire.secure.grants import Grant, Labels

TOKEN_PREFIX = "enrol-"  # noqa: S105 - what tells a token from a code
TOKEN_BYTES = 16
TOKEN_LASTS_NS = 300_000_000_000
TOKEN_LASTS_MAX_NS = 1_800_000_000_000
CODE_LASTS_NS = 600_000_000_000
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

    def is_of(self, wish: Wish) -> bool:
        """Does it come as whom the operator meant?"""
        return (wish.name, wish.pool) == (self.name, self.pool)


class Introductions:
    """All that are open."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._open = OpenSecrets[Wish](entropy)
        self._guesses = Guesses()

    def issue(self, wish: Wish, now_ns: int) -> str | None:
        """Return a new secret; None when too many are open."""
        if self._open.is_full(now_ns):
            return None
        if wish.is_code:
            secret = spell(self._entropy(CODE_BYTES))
        else:
            secret = TOKEN_PREFIX + self._entropy(TOKEN_BYTES).hex()
        self._open.add(secret, wish, now_ns + wish.span_ns)
        return secret

    def redeem(self, claim: Claim, now_ns: int) -> Wish | Refusal:
        """Use a secret up; return whom it introduces, or why nobody."""
        is_token = claim.secret.startswith(TOKEN_PREFIX)
        refusal = None if is_token else self._guesses.too_often(now_ns, claim.address)
        if refusal is not None:
            return refusal
        secret = claim.secret if is_token else read(claim.secret)
        found = self._open.find(secret, claim.address, now_ns)
        if found is None or not claim.is_of(found.purpose):
            if not is_token:
                self._guesses.note(now_ns, claim.address)
                self._open.note_wrong(claim.address, lambda wish: wish.is_code)
            return Refusal(Code.UNAUTHORIZED, WRONG_WORDS)
        self._open.drop(found.digest)
        return found.purpose

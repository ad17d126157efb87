"""Pairing codes: eight characters by which a person binds a session to their own node.

A code is 40 random bits in Crockford's base 32 (no I, L, O, U; those are read as what they look
like), and only a keyed hash of it is kept.  What makes so short a secret good enough:

  it lives 10 minutes, and works for one session: that one may come again with it
  nobody can tell which code a wrong one was meant to be, so a wrong try counts against every open
  code, and the fifth burns it for where it came from (see guesses.py)
  10 wrong tries a minute from one address, 100 from all: beyond that nothing is looked at

Instances that share a store have it decide instead, by the same bounds: federation/shared_pairing.

Comparing takes as long whether a code is right or not, and looks at every open code.
"""

from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest

import msgspec

from pointsman_sched.core.joining.guesses import Guesses, Tries
from pointsman_sched.core.joining.identities import Refusal
from pointsman_wire.errors import Code

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_BYTES = 5
CODE_LENGTH = 8
CODE_LASTS_NS = 600_000_000_000
OPEN_MAX = 256
USED_MAX = 10_000
_LOOK_ALIKES = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})


class Claim(msgspec.Struct, frozen=True):
    """A session that came with a code, and from where."""

    code: str
    tenant: str
    session_id: str
    address: str = ""

    @property
    def session(self) -> tuple[str, str]:
        """The session's key."""
        return self.tenant, self.session_id


class _OpenCode:
    __slots__ = ("digest", "ends_at_ns", "node_id", "tries")

    def __init__(self, digest: bytes, node_id: str, ends_at_ns: int) -> None:
        self.digest = digest
        self.node_id = node_id
        self.ends_at_ns = ends_at_ns
        self.tries = Tries()


class PairingCodes:
    """The codes of one instance; they do not outlive the process, nor does the key of the hash."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._key = b""  # drawn with the first code
        self._open: list[_OpenCode] = []  # bounded by OPEN_MAX
        self._used: dict[tuple[str, str], tuple[bytes, str]] = {}  # bounded by USED_MAX
        self._guesses = Guesses()

    @property
    def open_count(self) -> int:
        """How many codes could be used now, or have just lapsed."""
        return len(self._open)

    def issue(self, node_id: str, now_ns: int) -> str | None:
        """Return a new code for a node; None when too many are open."""
        self._drop_lapsed(now_ns)
        if len(self._open) >= OPEN_MAX:
            return None
        self._key = self._key or self._entropy(32)
        code = spell(self._entropy(CODE_BYTES))
        self._open.append(_OpenCode(self._digest(code), node_id, now_ns + CODE_LASTS_NS))
        return code

    def redeem(self, claim: Claim, now_ns: int) -> str | Refusal:
        """Return the node that a session is bound to by its code, or why it is bound to none."""
        known = self.known(claim, now_ns)
        if known is not None:
            return known
        self._drop_lapsed(now_ns)
        digest = self._digest(read(claim.code))
        right = [code for code in self._open if compare_digest(code.digest, digest)]
        if not right or right[0].tries.is_burned_for(claim.address):
            return self.wrong_try(claim, now_ns)
        self.note_used(claim, right[0].node_id)
        return right[0].node_id

    def known(self, claim: Claim, now_ns: int) -> str | Refusal | None:
        """Return what needs no look at open codes: the session's node, or that it must wait."""
        refusal = self._guesses.too_often(now_ns, claim.address)
        if refusal is not None:
            return refusal
        before = self._used.get(claim.session)
        if before is not None and compare_digest(before[0], self._digest(read(claim.code))):
            return before[1]
        return None

    def note_used(self, claim: Claim, node_id: str) -> None:
        """The code is this session's from now on."""
        self._key = self._key or self._entropy(32)
        digest = self._digest(read(claim.code))
        self._open = [code for code in self._open if not compare_digest(code.digest, digest)]
        self._used.pop(claim.session, None)
        self._used[claim.session] = (digest, node_id)
        if len(self._used) > USED_MAX:
            del self._used[next(iter(self._used))]

    def wrong_try(self, claim: Claim, now_ns: int) -> Refusal:
        """Count a code that is none, and say so."""
        self._guesses.note(now_ns, claim.address)
        if not is_guess(claim):
            words = f"a pairing code has {CODE_LENGTH} letters and digits, as in 7K3M-9QX2"
            return Refusal(Code.INVALID_PAIRING_CODE, words)
        for code in self._open:
            code.tries.note(claim.address)
        self._open = [code for code in self._open if not code.tries.is_burned()]
        words = "this pairing code is wrong, was used before, or is older than 10 minutes"
        return Refusal(Code.INVALID_PAIRING_CODE, words)

    def _drop_lapsed(self, now_ns: int) -> None:
        self._open = [code for code in self._open if code.ends_at_ns > now_ns]

    def _digest(self, code: str) -> bytes:
        return blake2b(
            code.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32
        ).digest()


def is_guess(claim: Claim) -> bool:
    """Might it be a code?  A slip of the finger is no guess."""
    return len(read(claim.code)) == CODE_LENGTH


def spell(bits: bytes) -> str:
    """Return five bytes as eight characters."""
    number = int.from_bytes(bits, "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def read(code: str) -> str:
    """Return a code as it was spelt, however a person has typed it."""
    return code[:64].upper().translate(_LOOK_ALIKES)

"""Pairing codes: eight characters by which a person binds a session to their own node.

A code is 40 random bits in Crockford's base 32 (no I, L, O, U; those are read as what they look
like); only a keyed hash of it is kept (open_secrets.py).  What makes so short a secret good enough:

  it lives 10 minutes, and works for one session: that one may come again with it
  nobody can tell which code a wrong one was meant to be, so a wrong try counts against every open
  code, and the fifth burns it for where it came from (see guesses.py)
  10 wrong tries a minute from one address, 100 from all: beyond that nothing is looked at

Instances that share a store have it decide instead, by the same bounds: federation/shared_pairing.
"""

from collections.abc import Callable
from hmac import compare_digest

import msgspec

from pointsman_sched.core.joining.guesses import Guesses
from pointsman_sched.core.joining.identities import Refusal
from pointsman_sched.core.joining.open_secrets import OpenSecrets
from pointsman_wire.errors import Code

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_BYTES = 5
CODE_LENGTH = 8
CODE_LASTS_NS = 600_000_000_000
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


class PairingCodes:
    """The codes of one instance; they do not outlive the process, nor does the key of the hash."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._open = OpenSecrets[str](entropy)
        self._used: dict[tuple[str, str], tuple[bytes, str]] = {}  # bounded by USED_MAX
        self._guesses = Guesses()

    @property
    def open_count(self) -> int:
        """How many codes could be used now, or have just lapsed."""
        return len(self._open)

    def issue(self, node_id: str, now_ns: int) -> str | None:
        """Return a new code for a node; None when too many are open."""
        if self._open.is_full(now_ns):
            return None
        code = spell(self._entropy(CODE_BYTES))
        self._open.add(code, node_id, now_ns + CODE_LASTS_NS)
        return code

    def redeem(self, claim: Claim, now_ns: int) -> str | Refusal:
        """Return the node that a session is bound to by its code, or why it is bound to none."""
        known = self.known(claim, now_ns)
        if known is not None:
            return known
        found = self._open.find(read(claim.code), claim.address, now_ns)
        if found is None:
            return self.wrong_try(claim, now_ns)
        self.note_used(claim, found.purpose)
        return found.purpose

    def known(self, claim: Claim, now_ns: int) -> str | Refusal | None:
        """Return what needs no look at open codes: the session's node, or that it must wait."""
        refusal = self._guesses.too_often(now_ns, claim.address)
        if refusal is not None:
            return refusal
        before = self._used.get(claim.session)
        if before is not None and compare_digest(before[0], self._open.digest(read(claim.code))):
            return before[1]
        return None

    def note_used(self, claim: Claim, node_id: str) -> None:
        """The code is this session's from now on."""
        digest = self._open.digest(read(claim.code))
        self._open.drop(digest)
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
        self._open.note_wrong(claim.address, lambda node_id: True)
        words = (
            "this pairing code is wrong, was used before, is older than 10 minutes, or has been "
            "given up, as five wrong ones were tried"
        )
        return Refusal(Code.INVALID_PAIRING_CODE, words)


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

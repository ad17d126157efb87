"""Secrets that were handed out and are not used yet: codes for sessions, introductions of nodes.

None is kept as it is, only as a digest under a key that was drawn for it and does not outlive the
process.  To look for one takes as long whether it is right or not: all that are open are compared.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from hmac import compare_digest
from typing import Generic, TypeVar

from pointsman_sched.core.joining.guesses import Tries

OPEN_MAX = 256
# What is longer is none of ours, and is cut before it is hashed.
LENGTH_MAX = 128
KEY_BYTES = 32

T = TypeVar("T")


class OpenSecret(Generic[T]):
    """One of them, and what it is good for."""

    __slots__ = ("digest", "ends_at_ns", "purpose", "tries")

    def __init__(self, digest: bytes, purpose: T, ends_at_ns: int) -> None:
        self.digest = digest
        self.purpose = purpose
        self.ends_at_ns = ends_at_ns
        self.tries = Tries()


class OpenSecrets(Generic[T]):
    """All that are open, OPEN_MAX at most."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._key = b""
        self._open: list[OpenSecret[T]] = []  # bounded by OPEN_MAX

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OpenSecret[T]]:
        return iter(self._open)

    def is_full(self, now_ns: int) -> bool:
        """Are there too many for one more?  Drops those whose time is over."""
        self._open = [known for known in self._open if known.ends_at_ns > now_ns]
        return len(self._open) >= OPEN_MAX

    def add(self, secret: str, purpose: T, ends_at_ns: int) -> None:
        """Make a secret good for something, until then."""
        self._open.append(OpenSecret(self.digest(secret), purpose, ends_at_ns))

    def find(self, secret: str, address: str, now_ns: int) -> OpenSecret[T] | None:
        """Return it when it is good for who comes from there."""
        digest = self.digest(secret)
        found: OpenSecret[T] | None = None
        for known in self._open:  # all of them: how long it takes tells nothing
            is_right = compare_digest(known.digest, digest) and known.ends_at_ns > now_ns
            if is_right and not known.tries.is_burned_for(address):
                found = known
        return found

    def drop(self, digest: bytes) -> None:
        """That one was used up."""
        self._open = [known for known in self._open if not compare_digest(known.digest, digest)]

    def note_wrong(self, address: str, counts: Callable[[T], bool]) -> None:
        """A wrong one came from there: it counts against all such, and may end them."""
        for known in self._open:
            if counts(known.purpose):
                known.tries.note(address)
        self._open = [known for known in self._open if not known.tries.is_burned()]

    def digest(self, secret: str) -> bytes:
        """Return what is kept of it; draws the key at the first."""
        self._key = self._key or self._entropy(KEY_BYTES)
        words = secret[:LENGTH_MAX].encode("utf-8", "surrogatepass")
        return blake2b(words, key=self._key, digest_size=32).digest()

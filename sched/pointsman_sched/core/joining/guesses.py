"""How often wrong codes may be tried: by address, and by all together; and what a code outlives.

A wrong code says nothing of which one it was meant to be, so it counts against every open one.  But
it counts by where it came from: five wrong tries burn the codes for that address, not for others,
so that a stranger who reaches the port cannot keep owners from their codes.  25 burn them for all,
which takes five addresses; a guess at a code is right by 25 chances in 2^40 at most.
"""

from collections import deque

from pointsman_sched.core.joining.identities import Refusal
from pointsman_wire.errors import Code
from pointsman_wire.sockets.bounds import whence

WINDOW_NS = 60_000_000_000
WRONG_PER_ADDRESS_MAX = 10
WRONG_IN_ALL_MAX = 100
# While one code is open: from one address, and from all.
TRIES_PER_ADDRESS_MAX = 5
TRIES_IN_ALL_MAX = 25


class Tries:
    """The wrong tries that one open code has lived through."""

    __slots__ = ("_by_address",)

    def __init__(self) -> None:
        self._by_address: dict[str, int] = {}  # bounded by TRIES_IN_ALL_MAX

    def note(self, address: str) -> None:
        """One more."""
        place = whence(address)
        self._by_address[place] = self._by_address.get(place, 0) + 1

    def is_burned(self) -> bool:
        """Is the code worth nothing any more, wherever it is shown?"""
        return sum(self._by_address.values()) >= TRIES_IN_ALL_MAX

    def is_burned_for(self, address: str) -> bool:
        """Is it worth nothing for who comes from there?"""
        return self._by_address.get(whence(address), 0) >= TRIES_PER_ADDRESS_MAX


class Guesses:
    """The wrong tries of the last minute."""

    def __init__(self) -> None:
        self._wrong: deque[tuple[int, str]] = deque(maxlen=WRONG_IN_ALL_MAX)

    def note(self, now_ns: int, address: str) -> None:
        """One more was wrong."""
        self._wrong.append((now_ns, whence(address)))

    def too_often(self, now_ns: int, address: str) -> Refusal | None:
        """Return why nothing is even looked at for now, or None."""
        wrong = self._wrong
        while wrong and wrong[0][0] <= now_ns - WINDOW_NS:
            wrong.popleft()
        place = whence(address)
        of_address = [at_ns for at_ns, where in wrong if where == place]
        if len(of_address) >= WRONG_PER_ADDRESS_MAX:
            free_at_ns = of_address[-WRONG_PER_ADDRESS_MAX] + WINDOW_NS
        elif len(wrong) >= WRONG_IN_ALL_MAX:
            free_at_ns = wrong[0][0] + WINDOW_NS
        else:
            return None
        words = "too many wrong codes; wait a minute"
        return Refusal(Code.RATE_LIMITED, words, (free_at_ns - now_ns) // 1_000_000 + 1)

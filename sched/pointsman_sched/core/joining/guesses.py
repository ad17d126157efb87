"""How often wrong codes may be tried: by address, and by all together, within a minute."""

from collections import deque

from pointsman_sched.core.joining.identities import Refusal
from pointsman_wire.errors import Code

WINDOW_NS = 60_000_000_000
WRONG_PER_ADDRESS_MAX = 10
WRONG_IN_ALL_MAX = 100


class Guesses:
    """The wrong tries of the last minute."""

    def __init__(self) -> None:
        self._wrong: deque[tuple[int, str]] = deque(maxlen=WRONG_IN_ALL_MAX)

    def note(self, now_ns: int, address: str) -> None:
        """One more was wrong."""
        self._wrong.append((now_ns, address))

    def too_often(self, now_ns: int, address: str) -> Refusal | None:
        """Return why nothing is even looked at for now, or None."""
        wrong = self._wrong
        while wrong and wrong[0][0] <= now_ns - WINDOW_NS:
            wrong.popleft()
        of_address = [at_ns for at_ns, where in wrong if where == address]
        if len(of_address) >= WRONG_PER_ADDRESS_MAX:
            free_at_ns = of_address[-WRONG_PER_ADDRESS_MAX] + WINDOW_NS
        elif len(wrong) >= WRONG_IN_ALL_MAX:
            free_at_ns = wrong[0][0] + WINDOW_NS
        else:
            return None
        words = "too many wrong codes; wait a minute"
        return Refusal(Code.RATE_LIMITED, words, (free_at_ns - now_ns) // 1_000_000 + 1)

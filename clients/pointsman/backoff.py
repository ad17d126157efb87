"""Back-off with full jitter: how long to wait before the next try.

The wait is drawn evenly from 0 to a bound that doubles with each failure up to a cap, so that
ten thousand peers of a restarted server come back spread out and not in waves.

And for how long a try may stay without an answer.  Who gives up too soon has waited in a line for
nothing, and begins again at its end: when all do, a server that is merely slow serves none but
those who have left.  So each try that was given up lets the next one wait twice as long.
"""

from collections.abc import Callable

Entropy = Callable[[int], bytes]

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
# A dial that leads to nothing is given up after so long.
DIAL_TIMEOUT_S = 10.0
# A connection that stood so long was good: the next back-off starts small again.
STOOD_S = 5.0
_DOUBLINGS_MAX = 32


def even_share(entropy: Entropy) -> float:
    """Return an evenly drawn number from 0 to just below 1."""
    return int.from_bytes(entropy(4), "little") / 2**32


class Backoff:
    """One retry schedule.  `first_s` bounds the first wait, `cap_s` every wait."""

    def __init__(self, entropy: Entropy, *, first_s: float, cap_s: float) -> None:
        self._entropy = entropy
        self._first_s = first_s
        self._cap_s = cap_s
        self.failures = 0

    def next_delay_ns(self, retry_after_ms: int | None = None) -> int:
        """Count a failure and return the wait; what the server asked for comes on top."""
        bound_s = min(self._cap_s, self._first_s * 2.0 ** min(self.failures, _DOUBLINGS_MAX))
        self.failures += 1
        jitter_ns = int(bound_s * NS_PER_S * even_share(self._entropy))
        return jitter_ns + (retry_after_ms or 0) * NS_PER_MS

    def reset(self) -> None:
        """Start anew after a success."""
        self.failures = 0


class Patience:
    """How long to wait for an answer: `first_s`, doubled by each try that got none, to `cap_s`."""

    def __init__(self, *, first_s: float, cap_s: float) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._unanswered = 0

    def limit_ns(self) -> int:
        """Return for how long the present try may stay unanswered."""
        doubled_s = self._first_s * 2.0 ** min(self._unanswered, _DOUBLINGS_MAX)
        return int(min(self._cap_s, doubled_s) * NS_PER_S)

    def given_up(self) -> None:
        """This try got no answer."""
        self._unanswered += 1

    def answered(self) -> None:
        """An answer came, whatever it says."""
        self._unanswered = 0

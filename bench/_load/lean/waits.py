"""How long the nodes of a bench wait, before a try and for its answer: as the SDK's agent does."""

import random

CONTROL_FIRST_S = 0.5
LANE_FIRST_S = 0.1
CAP_S = 30.0
DIAL_S = 5.0
RENEWAL_S = 5.0
ANSWER_S = 10.0
ANSWER_MAX_S = 60.0


class Backoff:
    """Waits drawn evenly from 0 to a bound that doubles."""

    __slots__ = ("_failures", "_first_s", "_unanswered")

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s
        self._failures = 0
        self._unanswered = 0

    def patience_s(self) -> float:
        """Return how long to wait for an answer: twice as long after each try that got none."""
        return min(ANSWER_MAX_S, ANSWER_S * 2.0 ** min(self._unanswered, 16))

    def given_up(self) -> None:
        """A try got no answer."""
        self._unanswered += 1

    def answered(self) -> None:
        """An answer came."""
        self._unanswered = 0

    def next_s(self, asked_ms: int | None = None) -> float:
        """Count a failure and return the wait; what the server asks for comes on top."""
        bound_s = min(CAP_S, self._first_s * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return bound_s * random.random() + (asked_ms or 0) / 1e3

    def reset(self) -> None:
        """Begin anew: what was lost had stood."""
        self._failures = 0

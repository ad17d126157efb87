"""What the checker says of one promise, and the numbers that it goes by."""

from enum import Enum

import msgspec

WORDS_MAX = 20

# The levels of an acceptance, each surviving more than the one before it.
LEVELS = {"memory": 0, "journal": 1, "fsync": 2, "redis": 3}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How late is too late; the defaults are what Pointsman promises."""

    recover_s: float = 10.0
    drain_s: float = 1.0
    # Older snapshots may be used, but it must be said of each decision.
    stale_s: float = 5.0
    # After all is healed, the slowest jobs take at most so many times as long as before, or
    # less than the floor: on a busy machine short times say little.
    recovered_ratio: float = 1.2
    recovered_floor_s: float = 0.25
    samples_min: int = 100


class State(Enum):
    """How a promise fared."""

    HELD = "held"
    BROKEN = "broken"
    NOT_JUDGED = "not judged"


class Verdict(msgspec.Struct, kw_only=True):
    """One promise: what was looked at, what broke it, what could not be judged, and why."""

    promise: str
    about: str
    judged: int = 0
    unjudged: int = 0
    why: str = ""
    broken: int = 0
    # The first breaches in words, each with its instant.
    words: list[tuple[int, str]] = []

    def breach(self, at_ns: int, words: str) -> None:
        """Count a breach, and keep its words while there is room."""
        self.broken += 1
        if len(self.words) < WORDS_MAX:
            self.words.append((at_ns, words))

    def skip(self, why: str) -> None:
        """Count what could not be judged."""
        self.unjudged += 1
        self.why = self.why or why

    @property
    def state(self) -> State:
        """Return how the promise fared in all."""
        if self.broken:
            return State.BROKEN
        return State.HELD if self.judged else State.NOT_JUDGED

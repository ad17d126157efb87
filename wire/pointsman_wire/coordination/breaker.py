"""The breaker before a server that does not answer.

              failures_max in a row            after open_ns
    CLOSED ------------------------> OPEN -------------------> HALF_OPEN
       ^                              ^                          |   |
       |            one success       |       one failure        |   |
       +------------------------------|--------------------------+   |
                                      +------------------------------+

Half open lets one call through at a time; the others are refused as when it is open.
"""

from enum import Enum


class State(Enum):
    """Whether calls may pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Counts failures in a row; told the time, it keeps none of its own."""

    def __init__(self, *, failures_max: int, open_ns: int) -> None:
        self._failures_max = failures_max
        self._open_ns = open_ns
        self._failures = 0
        self._opened_at_ns: int | None = None  # set while OPEN and HALF_OPEN
        self._trying = False  # one call is on its way, while HALF_OPEN

    def state(self, now_ns: int) -> State:
        """The state at this instant."""
        if self._opened_at_ns is None:
            return State.CLOSED
        opened_for_ns = now_ns - self._opened_at_ns
        return State.HALF_OPEN if opened_for_ns >= self._open_ns else State.OPEN

    @property
    def is_closed(self) -> bool:
        """Whether all calls pass."""
        return self._opened_at_ns is None

    def lets_through(self, now_ns: int) -> bool:
        """Whether a call may be made now; who is let through reports how it went."""
        state = self.state(now_ns)
        if state is State.HALF_OPEN and not self._trying:
            self._trying = True
            return True
        return state is State.CLOSED

    def succeeded(self) -> None:
        """A call was answered, with whatever answer."""
        self._failures = 0
        self._opened_at_ns = None
        self._trying = False

    def failed(self, now_ns: int) -> None:
        """A call was not answered in time, or could not be made."""
        self._failures += 1
        self._trying = False
        if self._opened_at_ns is not None or self._failures >= self._failures_max:
            self._opened_at_ns = now_ns

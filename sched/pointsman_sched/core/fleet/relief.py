"""Heartbeats are made rarer while this process is behind with its work.

Each heartbeat costs the manager some 50 µs, and in a large fleet they are most of what it does.
On a machine that gives it less than that, answers come late, nodes take it for silent and register
anew, and that costs more than their heartbeats did.  So a manager whose loop is late says so in its
answers: the interval doubles, and again while it stays late, and comes down step by step when it
has been in time for longer.  How soon a silent node is missed follows from its own interval: so
one pause alone, which the machine may have made, is no reason; late is who is late twice running.
"""

from pointsman_sched.core.fleet.intervals import NANOSECONDS

# The overload ladder's first step: 0.8 of a lag of 100 ms.
LATE_NS = 80_000_000
# A doubled interval has to be told to all, one beat each, before it can help.
RISE_NS = 2 * NANOSECONDS
CALM_NS = 10 * NANOSECONDS
STEPS_MAX = 3


class Relief:
    """Told how late the loop is, once a second; says by what intervals are multiplied."""

    def __init__(self) -> None:
        self._step = 0
        self._changed_at_ns = 0
        self._late_at_ns = 0
        self._is_late = False

    @property
    def factor(self) -> int:
        """Return 1, 2, 4 or 8."""
        return 1 << self._step

    def observe(self, clock_ns: int, lag_ns: int) -> None:
        """Take one measurement."""
        was_late, self._is_late = self._is_late, lag_ns >= LATE_NS
        if self._is_late:
            self._late_at_ns = clock_ns
            is_rise_over = clock_ns - self._changed_at_ns >= RISE_NS << self._step
            if was_late and (self._step == 0 or is_rise_over):
                self._move(clock_ns, min(STEPS_MAX, self._step + 1))
            return
        calm_since_ns = max(self._late_at_ns, self._changed_at_ns)
        if self._step and clock_ns - calm_since_ns >= CALM_NS:
            self._move(clock_ns, self._step - 1)

    def _move(self, clock_ns: int, step: int) -> None:
        self._step = step
        self._changed_at_ns = clock_ns

"""The overload ladder: how much of what a worker has is used up, and what it does about that.

     step  from   action (each step keeps those below it)
    +----+------+-----------------------------------------------------------------------------+
    | 0  |      | none                                                                        |
    | 1  | 0.80 | heartbeats half as often; what is logged for each job, which is nothing     |
    | 2  | 0.90 | no new client connections; the lowest priority is refused, and shed         |
    | 3  | 0.95 | no new jobs: QUEUE_FULL; heartbeats, results and cancels go on              |
    | 4  | 0.99 | no sessions are opened, and the clients that read slowest are hung up on    |
    +----+------+-----------------------------------------------------------------------------+

Pressure is the largest of memory, loop lag, queue fill and descriptors, each 0 to 1, looked at four
times a second.  A step that was taken is left a tenth below where it begins, so that it does not
flap (thresholds and trigger actions as in Envoy's overload manager).
"""

import msgspec

LOOK_NS = 250_000_000
STEPS = (0.80, 0.90, 0.95, 0.99)
HYSTERESIS = 0.10
LAG_MAX_NS = 100_000_000

SLOW_HEARTBEATS = 1
SHED_LOWEST = 2
REFUSE_JOBS = 3
CLOSE_SLOWEST = 4


class Pressure(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the shell has measured: shares of what there is, and the standing lag of the loop."""

    memory: float = 0.0
    loop_lag_ns: int = 0
    descriptors: float = 0.0

    def parts(self, queue_fill: float) -> dict[str, float]:
        """Return every part by its name; 1 is all there is."""
        return {
            "memory": self.memory,
            "loop lag": self.loop_lag_ns / LAG_MAX_NS,
            "queue": queue_fill,
            "descriptors": self.descriptors,
        }


class Ladder:
    """Where a worker stands."""

    def __init__(self) -> None:
        self.step = 0

    def look(self, pressure: float) -> int:
        """Take the pressure of now; return the step it leads to."""
        risen = sum(pressure >= bound for bound in STEPS)
        kept = sum(pressure >= bound * (1 - HYSTERESIS) for bound in STEPS[: self.step])
        self.step = max(risen, kept)
        return self.step

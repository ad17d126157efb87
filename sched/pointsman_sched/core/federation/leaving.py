"""The end of an instance among the others: a last word, where the whole service ends.

    StopWished ──► workers gone? ── yes ─► what is under way is answered ─► FleetLeave ─► Stopped
                        └─ no, for 0.2 s ─► Stopped: only the manager ends, another one follows

A service ends its workers before its manager, so a manager that has none left goes with all.
Whoever reads the last word takes the nodes for Offline at once, and the name is free.  If it cannot
be said within a second, the presence lapses by time.
"""

from pointsman_sched.core.state import ManagementState

# The end of the last worker, and the order to stop that follows it, come by different ways.
WORKERS_NS = 200_000_000
LEAVE_NS = 1_000_000_000


class Leaving:
    """What is left to do of a manager that was told to stop at `begun_at_ns` (core's clock)."""

    def __init__(self, begun_at_ns: int) -> None:
        self._begun_at_ns = begun_at_ns
        self.is_said = False  # the last word, with or without success

    def next_deadline_ns(self, state: ManagementState) -> int:
        """Return when to look again (core's clock)."""
        return self._begun_at_ns + (WORKERS_NS if _has_workers(state) else LEAVE_NS)

    def is_due(self, state: ManagementState) -> bool:
        """Is the last word to be said as soon as nothing else is under way?"""
        return not self.is_said and not _has_workers(state)

    def is_over(self, state: ManagementState) -> bool:
        """Is there nothing to be said, or no more time for it?"""
        return self.is_said or state.clock_ns >= self.next_deadline_ns(state)


def _has_workers(state: ManagementState) -> bool:
    return state.workers.connected_count > 0

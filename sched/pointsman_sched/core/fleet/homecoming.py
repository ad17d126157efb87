"""A recovered fleet comes home: who stands late in the line is not dead.

Every node that a new manager recovered dials again, waits until the port accepts it, and registers.
How long that takes for all of them nobody knows beforehand: it is the fleet's size by the rate of
the port, or much longer on a machine that has other things to do.  So deaths are not declared by
the clock alone: as long as nodes still come home, nobody is dead who may stand behind them.  When
none has come for a while, the rest is judged like any other node; and whoever comes for ever, as
long as the hold of a mass loss lasts, comes too late.
"""

from pointsman_sched.core.fleet.intervals import NANOSECONDS

# At the least: half of what one worker's port accepts.  The pause after which nobody more is
# expected grows with the fleet, as the line does.
RETURNS_PER_SECOND = 250
PAUSE_MAX_NS = 30 * NANOSECONDS


class Homecoming:
    """Nodes that were recovered and have not registered yet; instants are on the core's clock."""

    def __init__(self, hold_ns: int) -> None:
        self._hold_ns = hold_ns
        self._awaited: set[str] = set()
        self._began_ns = 0
        self._came_at_ns = 0
        self._pause_ns = 0

    @property
    def awaited_count(self) -> int:
        """Return how many have not come yet."""
        return len(self._awaited)

    def expect(self, node_ids: set[str], clock_ns: int) -> None:
        """Wait for these, from now on."""
        self._awaited = node_ids
        self._began_ns = self._came_at_ns = clock_ns
        self._pause_ns = min(PAUSE_MAX_NS, len(node_ids) * NANOSECONDS // RETURNS_PER_SECOND)

    def came(self, node_id: str, clock_ns: int) -> None:
        """A node has registered, perhaps one of those."""
        if node_id in self._awaited:
            self._awaited.discard(node_id)
            self._came_at_ns = clock_ns

    def is_going_on(self, clock_ns: int) -> bool:
        """May somebody who is silent stand in the line?"""
        is_pausing = clock_ns - self._came_at_ns >= self._pause_ns
        return not is_pausing and clock_ns - self._began_ns < self._hold_ns

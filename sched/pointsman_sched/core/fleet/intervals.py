"""How often a node shall beat, and how long its silence may last."""

from pointsman_shm.config import NodesConfig

NANOSECONDS = 1_000_000_000
JITTER_PERCENT = 10
# So many nodes in a row have intervals of their own, then it begins again.
STEPS = 2 * JITTER_PERCENT
LONGEST_NS = 30 * NANOSECONDS  # an interval is not doubled beyond this


def to_ns(seconds: float) -> int:
    """Return seconds as nanoseconds."""
    return int(seconds * NANOSECONDS)


class Intervals:
    """The heartbeat interval as a function of the fleet's size, and the deadlines it gives."""

    def __init__(self, config: NodesConfig) -> None:
        self._shortest_ns = to_ns(config.heartbeat_interval_s)
        self._per_second_max = config.heartbeats_per_second_max
        self.suspect_intervals = config.suspect_intervals
        self.offline_intervals = config.offline_intervals
        self.warm_up_ns = to_ns(config.warm_up_s)
        self.remember_ns = to_ns(config.remember_offline_s)
        # Of which interval and factor they are, as every turn and registration asks anew.
        self._known = (0, 1)
        self._by_step_ns: tuple[int, ...] = ()

    def by_step_ns(self, live_count: int, factor: int) -> tuple[int, ...]:
        """Return the intervals of a fleet of `live_count`, of each row modulo STEPS.

        `factor` is above 1 while a process has too much to do.
        """
        common_ns = self._common_ns(live_count)
        if self._known != (common_ns, factor):
            self._known = (common_ns, factor)
            assigned = [self.assigned_ns(live_count, step) for step in range(STEPS)]
            self._by_step_ns = tuple(self.relieved_ns(each, factor) for each in assigned)
        return self._by_step_ns

    def relieved_ns(self, interval_ns: int, factor: int) -> int:
        """Return what an interval becomes while a process has too much to do."""
        return max(interval_ns, min(factor * interval_ns, LONGEST_NS))

    def assigned_ns(self, live_count: int, row: int) -> int:
        """Return the interval of one node in a fleet of `live_count`.

        The configured interval as long as the fleet's beats stay below the configured rate, then
        as much longer, with a jitter by row so that a large fleet's beats spread out.
        """
        common_ns = self._common_ns(live_count)
        if common_ns == self._shortest_ns:
            return common_ns
        return common_ns + common_ns * (row * 37 % STEPS - JITTER_PERCENT) // 100

    def _common_ns(self, live_count: int) -> int:
        """Return the interval without jitter: the configured one, or a longer one."""
        needed_ns = live_count * NANOSECONDS // self._per_second_max
        if needed_ns <= self._shortest_ns:
            return self._shortest_ns
        # Two of a hundred steps at least: a fleet that grows by one tells nobody a new interval.
        return -(-needed_ns // 50_000_000) * 50_000_000

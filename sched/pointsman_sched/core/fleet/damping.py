"""Flapping nodes are made to wait: each return is dearer than the last, until it has been calm.

A node that comes and goes once a second costs a registration, an fsync and a publish each time,
and the jobs that it takes along.  So after a few free returns it must stay away for 1, 2, 4 ... s
after its last registration, up to a cap; it is told for how long.  Once it has stayed for the calm
time after that, its returns are free again.  Nothing of this outlives the manager: after a restart
of ours everybody comes back once, and nobody is to blame for it.
"""

from pointsman_sched.core.fleet.intervals import NANOSECONDS

BACKOFF_FIRST_NS = NANOSECONDS


class RegistrationDamping:
    """By node id: when it registered last, and how many times without calm between."""

    def __init__(self, *, free_max: int, backoff_max_ns: int, calm_ns: int, known_max: int) -> None:
        self._free_max = free_max
        self._backoff_max_ns = backoff_max_ns
        self._calm_ns = calm_ns
        self._known_max = known_max
        # Node id -> (last registration, returns before it); the longest ago stands first.
        self._known: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def wait_ns(self, node_id: str, clock_ns: int) -> int:
        """Return for how long the node must stay away still; 0: it may register."""
        known = self._known.get(node_id)
        if known is None:
            return 0
        at_ns, returns = known
        return max(0, at_ns + self._backoff_ns(returns) - clock_ns)

    def admitted(self, node_id: str, clock_ns: int) -> None:
        """Count a registration; entries that are calm by now are forgotten, and the oldest."""
        known = self._known.pop(node_id, None)
        returns = 0 if known is None or self._is_calm(known, clock_ns) else known[1] + 1
        self._known[node_id] = (clock_ns, returns)
        while len(self._known) > 1:
            oldest, entry = next(iter(self._known.items()))
            if len(self._known) <= self._known_max and not self._is_calm(entry, clock_ns):
                return
            del self._known[oldest]

    def _is_calm(self, known: tuple[int, int], clock_ns: int) -> bool:
        at_ns, returns = known
        return clock_ns - at_ns >= self._backoff_ns(returns) + self._calm_ns

    def _backoff_ns(self, returns: int) -> int:
        """How long after a registration with so many returns before it the next may come."""
        if returns < self._free_max:
            return 0
        doublings = min(returns - self._free_max, 32)
        return min(self._backoff_max_ns, BACKOFF_FIRST_NS << doublings)

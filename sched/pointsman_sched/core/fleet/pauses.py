"""What operators have paused and drained: the whole service, pools by number, nodes by id."""

OVER = 0  # the time of a drain is up, and its node was ended


class Pauses:
    """Only orders write it (core/orders), and the end of a drained node."""

    def __init__(self, drains_max: int) -> None:
        self._drains_max = drains_max
        self.is_paused = False
        self.pools: dict[int, None] = {}  # bounded by those who order
        # By mode of pools: those that were paused when another mode was put in force, in which
        # their numbers mean other pools.
        self.pools_aside: dict[str, dict[int, None]] = {}
        # Until when drained nodes may run what they have (core's clock), or OVER.  A node that was
        # ended comes again, and is drained still; of too many the oldest orders give way.
        self.drains: dict[str, int] = {}

    def change_mode(self, before: str, after: str) -> bool:
        """Pools of another mode are other pools; False when it is the same, or none is paused."""
        if before == after:
            return False
        had, has = self.pools, self.pools_aside.pop(after, {})
        if had:
            self.pools_aside[before] = had
        self.pools = has
        return bool(had or has)

    def drain(self, node_id: str, until_ns: int) -> None:
        """A node is drained; a second order counts instead of the first."""
        self.drains.pop(node_id, None)
        self.drains[node_id] = until_ns
        if len(self.drains) > self._drains_max:
            del self.drains[next(iter(self.drains))]

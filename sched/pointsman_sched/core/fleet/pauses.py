"""What operators have paused and drained: the whole service, pools by number, nodes by id."""

OVER = 0  # the time of a drain is up, and its node was ended


class Pauses:
    """Only orders write it (core/orders), and the end of a drained node."""

    def __init__(self, drains_max: int) -> None:
        self._drains_max = drains_max
        self.is_paused = False
        self.pools: dict[int, None] = {}  # bounded by those who order
        # Until when drained nodes may run what they have (core's clock), or OVER.  A node that was
        # ended comes again, and is drained still; of too many the oldest orders give way.
        self.drains: dict[str, int] = {}

    def drain(self, node_id: str, until_ns: int) -> None:
        """A node is drained; a second order counts instead of the first."""
        self.drains.pop(node_id, None)
        self.drains[node_id] = until_ns
        if len(self.drains) > self._drains_max:
            del self.drains[next(iter(self.drains))]

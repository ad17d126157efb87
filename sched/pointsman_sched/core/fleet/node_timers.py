"""One coarse timer entry per node, whatever the size of the fleet.

Heartbeats do not touch the timer: an entry that fires finds out what the node's next deadline is
by now, and is filed again when that lies ahead.  Only a deadline that came nearer is filed anew;
the older entry is then stale, recognised by its tick.
"""

from heapq import heappop, heappush

from pointsman_sched.core.fleet.node import Node

TICK_NS = 64_000_000


class NodeTimers:
    """Buckets of 64 ms on the core's clock."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[Node]] = {}
        self._ticks: list[int] = []  # a heap of the buckets' numbers

    def file(self, node: Node, due_ns: int) -> None:
        """See to it that the node is looked at at `due_ns` or up to a tick later, or earlier."""
        tick = -(-due_ns // TICK_NS)
        if tick < 1:
            tick = 1
        if node.filed_tick and node.filed_tick <= tick:
            return
        node.filed_tick = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [node]
            heappush(self._ticks, tick)
        else:
            bucket.append(node)

    def take_due(self, clock_ns: int, limit: int) -> list[Node]:
        """Return at most `limit` nodes whose entry fired; each has no entry any more."""
        due: list[Node] = []
        while self._ticks and self._ticks[0] * TICK_NS <= clock_ns and len(due) < limit:
            tick = self._ticks[0]
            bucket = self._buckets[tick]
            while bucket and len(due) < limit:
                node = bucket.pop()
                if node.filed_tick == tick:
                    node.filed_tick = 0
                    due.append(node)
            if not bucket:
                del self._buckets[tick]
                heappop(self._ticks)
        return due

    def next_due_ns(self) -> int | None:
        """Return when the next entry fires, on the core's clock."""
        return self._ticks[0] * TICK_NS if self._ticks else None

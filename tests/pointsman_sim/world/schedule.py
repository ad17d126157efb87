"""Virtual time: what will happen and when; nothing happens but by this list.

Things of one instant happen in the order in which they were put in, so a run depends on nothing
but its seed.
"""

from collections.abc import Callable
from heapq import heappop, heappush

Act = Callable[[], None]


class Schedule:
    """A heap of acts; `now_ns` is the instant of the one that runs."""

    def __init__(self, start_ns: int) -> None:
        self.now_ns = start_ns
        self._heap: list[tuple[int, int, Act]] = []
        self._count = 0

    def at(self, at_ns: int, act: Act) -> None:
        """Have something happen at an instant, or now when that has passed."""
        self._count += 1
        heappush(self._heap, (max(at_ns, self.now_ns), self._count, act))

    def after(self, delay_ns: int, act: Act) -> None:
        """Have something happen after a delay."""
        self.at(self.now_ns + delay_ns, act)

    def run_next(self) -> None:
        """Let time pass up to the next act, and do it."""
        self.now_ns, _, act = heappop(self._heap)
        act()

"""Clients of peers whose libraries block: jobs in flight, awaited oldest first.

With others done before the oldest, a job's time ends when its turn to be looked at comes; at
depth 1 there is no difference.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from _load.orders import Order, Outcome, Window

IN_FLIGHT_MAX = 100_000


class BlockingVolley:
    """Keeps a number of jobs in flight by a call that submits and one that waits for a result."""

    def __init__(
        self,
        watched: dict[str, int],
        submit: Callable[[], Any],
        wait: Callable[[Any], None],
    ) -> None:
        self._watched = {**watched, "client": os.getpid()}
        self._submit = submit
        self._wait = wait

    async def run(self, order: Order) -> Outcome:
        """Keep the depth for the ordered time; returns when all jobs have ended."""
        flying: deque[tuple[int, Any]] = deque(maxlen=IN_FLIGHT_MAX)
        for _ in range(order.depth):
            flying.append((time.perf_counter_ns(), self._submit()))
        self._go_on(flying, time.monotonic() + order.warm_s, None)
        window = Window(self._watched)
        self._go_on(flying, time.monotonic() + order.run_s, window)
        outcome = window.close()
        for _, job in flying:
            self._wait(job)
        return outcome

    def _go_on(self, flying: deque[tuple[int, Any]], until_s: float, window: Window | None) -> None:
        while time.monotonic() < until_s:
            began_ns, job = flying.popleft()
            self._wait(job)
            if window is not None:
                window.latencies_ns.append(time.perf_counter_ns() - began_ns)
            flying.append((time.perf_counter_ns(), self._submit()))


def end_with_input() -> None:
    """End this process when its standard input ends: the bench is over, or dead."""

    def watch() -> None:
        while sys.stdin.readline():
            continue
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()

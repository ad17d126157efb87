"""Whole jobs through real services of so many workers, which run side by side.

Nodes and a client with a trunk to each worker load them from the same processors, so jobs a second
say what the machine could do; how workers scale is told by jobs for each CPU second of theirs.
"""

from contextlib import ExitStack

import msgspec
from _load.orders import Order, Outcome

from _shared.processes import Child
from _shared.service import MANAGER, WatchedService, watched_service

NODES, SLOTS = "10", "256"
IN_FLIGHT = 32  # of each worker
WARM_S = 0.3


class Whole:
    """A service with so many workers, its nodes and its client, until the stack ends."""

    def __init__(self, stack: ExitStack, worker_count: int) -> None:
        self.worker_count = worker_count
        self._service: WatchedService = stack.enter_context(watched_service(worker_count))
        address = self._service.address
        stack.enter_context(Child("_load.nodes", address, NODES, SLOTS)).next_line()
        watched = [f"{name}={pid}" for name, pid in self._service.pids.items()]
        self._client = stack.enter_context(
            Child("_load.client", address, f"trunks={worker_count}", *watched)
        )
        self._client.next_line()

    def run(self, run_s: float) -> Outcome:
        """Keep jobs in flight for so long."""
        order = Order(depth=IN_FLIGHT * self.worker_count, warm_s=WARM_S, run_s=run_s)
        answer = self._client.ask(msgspec.json.encode(order).decode())
        return msgspec.json.decode(answer, type=Outcome)

    def loads_of(self, outcome: Outcome) -> tuple[list[float], float]:
        """Return the CPU seconds of each worker, and those of the manager."""
        return [outcome.cpu_s[name] for name in self._service.workers], outcome.cpu_s[MANAGER]

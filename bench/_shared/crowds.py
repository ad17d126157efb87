"""Fleets of lean nodes in processes beside the bench, as large as descriptors and ports allow."""

import resource
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec

from _shared.processes import Child, ChildTrouble
from pointsman_shm.config import LimitsConfig
from pointsman_shm.descriptors import connections_max

RESERVED = 500
PATIENCE_S = 600.0
LOOK_S = 0.05


def nodes_max() -> int:
    """Return how many nodes the manager, and each worker, may keep a connection to."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections_max(hard, LimitsConfig().descriptors_percent) - RESERVED


def nodes_per_process(worker_count: int) -> int:
    """Return how many nodes one process can be: descriptors, and the ports of one address."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    ports = int(high) - int(low) - RESERVED
    return min(hard - RESERVED, ports) // (1 + worker_count)


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How many nodes, of how many workers, that dial at a rate, in all; `pair` is SRC-TGT."""

    nodes: int
    workers: int
    per_s: float
    pair: str = "en-es"


class Crowd:
    """Processes of nodes; `wait_until_ready` returns when all have joined."""

    def __init__(self, stack: ExitStack, address: str, size: Size) -> None:
        nodes = size.nodes
        process_count = max(2, -(-nodes // nodes_per_process(size.workers)))
        shares = [nodes // process_count] * process_count
        shares[0] += nodes - sum(shares)
        # Addresses of its own for each process, as each address has ports of its own.
        self._children = [
            stack.enter_context(
                Child(
                    "_load.lean.agents",
                    address,
                    f"n{number}",
                    str(share),
                    str(size.per_s / process_count),
                    f"127.0.{number + 1}",
                    size.pair,
                )
            )
            for number, share in enumerate(shares)
        ]

    def wait_until_ready(self) -> None:
        """Return when all nodes are.  Raises ChildTrouble when that takes too long."""
        give_up_at_s = time.monotonic() + PATIENCE_S
        for child in self._children:
            while not child.has_line():
                if time.monotonic() > give_up_at_s:
                    raise ChildTrouble(f"the nodes did not become ready within {PATIENCE_S:g} s")
                time.sleep(LOOK_S)
            child.next_line()

    def anew(self, per_s: float) -> None:
        """From now on let so many nodes a second register anew."""
        self.ask(f"anew {per_s / len(self._children)}")

    def ask(self, order: str) -> list[str]:
        """Give every process an order and return their answers."""
        return [child.ask(order) for child in self._children]

"""The shared memory of one simulated host: heap buffers that outlive the processes.

What a process attaches to at its start it attaches to here; a dead worker's cells and a dead
manager's half-written page are met by their successors as they were left.
"""

from collections.abc import Callable

from pointsman_sched.core.setup import SharedMemory
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.header import BIRTH
from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_workers.core.setup import WorkerMemory


def no_fence() -> None:
    """Do nothing: in one thread stores and loads are in order."""


class HostMemory:
    """All segments of one instance."""

    def __init__(self, max_nodes: int, worker_count: int, *, born_at_ns: int) -> None:
        self.born_at_ns = born_at_ns
        self.max_nodes = max_nodes
        self.worker_count = worker_count
        self.layout = CatalogLayout(max_nodes)
        self._catalog = bytearray(self.layout.size)
        self._rows = bytearray(NodeRows.size(max_nodes))
        self._ledger = bytearray(Ledger.size(max_nodes=max_nodes, worker_count=worker_count))
        self._waiting = bytearray(WaitingWords.size(worker_count))
        self._stats = [bytearray(StatsPage.size()) for _ in range(worker_count + 1)]
        # As a segment has it: readers tell a young catalog from an old one.
        memoryview(self._catalog).cast("Q")[BIRTH] = born_at_ns
        CatalogWriter(self._catalog, self.layout, create=True)
        self.rows = NodeRows(self._rows, max_nodes=max_nodes, create=True)
        self.ledger = Ledger(
            self._ledger, max_nodes=max_nodes, worker_count=worker_count, create=True
        )
        self.waiting = WaitingWords(self._waiting, worker_count=worker_count, create=True)
        self.stats = [StatsPage(page, create=True) for page in self._stats]

    def for_manager(self, crash: Callable[[str], None]) -> SharedMemory:
        """Return what a manager attaches to; the catalog as its predecessor left it."""
        return SharedMemory(
            layout=self.layout,
            catalog=CatalogWriter(self._catalog, self.layout, crash=crash),
            rows=self.rows,
            ledger=self.ledger,
            waiting=self.waiting,
            stats=self.stats[0],
            worker_stats=tuple(self.stats[1:]),
        )

    def for_worker(self, index: int) -> WorkerMemory:
        """Return what a worker attaches to: its cells hold what its predecessor held."""
        return WorkerMemory(
            layout=self.layout,
            catalog=CatalogReader(self._catalog, self.layout),
            rows=self.rows,
            ledger=self.ledger,
            own_ledger=OwnLedger(self.ledger, index, fence=no_fence),
            waiting=self.waiting,
            stats=self.stats[1 + index],
        )

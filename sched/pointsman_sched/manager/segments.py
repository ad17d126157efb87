"""The instance's shared memory: taken over from a predecessor where it is whole, else made anew.

Catalog and rows belong together: the one says which node has a row, the other how it is.  When
either cannot be taken over both are made anew, and the fleet registers again.  The others hold
what workers write, and stand alone.  Only who holds the manager's lock comes here.
"""

from collections.abc import Callable
from typing import TypeVar

from pointsman_sched.core.setup import SharedMemory
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_slots import CatalogDamaged
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.header import LayoutMismatch, SegmentUnready
from pointsman_shm.memory.ledger import Ledger
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.segment import (
    Segment,
    SegmentForeign,
    SegmentMissing,
    attach_segment,
    create_segment,
    unlink_segment,
)
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.paths import InstancePaths, worker_process

T = TypeVar("T")
Say = Callable[[str], None]

UNUSABLE = (SegmentMissing, SegmentUnready, LayoutMismatch, SegmentForeign, CatalogDamaged)


class ManagerSegments:
    """All segments of an instance, mapped writable, and the structures over them."""

    def __init__(self, paths: InstancePaths, say: Say) -> None:
        self._paths = paths
        self._say = say
        self._segments: list[Segment] = []
        self.memory: SharedMemory

    def open(
        self, *, max_nodes: int, worker_count: int, crash: Callable[[str], None]
    ) -> SharedMemory:
        """Take over or make everything.  Raises SegmentsFull, or OSError for a foreign one."""
        paths = self._paths
        layout = CatalogLayout(max_nodes)

        def open_catalog(buffer: memoryview, create: bool) -> CatalogWriter:
            return CatalogWriter(buffer, layout, create=create, crash=crash)

        def open_rows(buffer: memoryview, create: bool) -> NodeRows:
            return NodeRows(buffer, max_nodes=max_nodes, create=create)

        def open_ledger(buffer: memoryview, create: bool) -> Ledger:
            return Ledger(buffer, max_nodes=max_nodes, worker_count=worker_count, create=create)

        try:
            catalog = self._attach(paths.catalog_segment, layout.size, open_catalog)
            rows = self._attach(paths.rows_segment, NodeRows.size(max_nodes), open_rows)
        except UNUSABLE as error:
            if not isinstance(error, SegmentMissing):
                self._say(f"{error}: catalog and rows are made anew")
            catalog = self._create(paths.catalog_segment, layout.size, open_catalog)
            rows = self._create(paths.rows_segment, NodeRows.size(max_nodes), open_rows)
        ledger_size = Ledger.size(max_nodes=max_nodes, worker_count=worker_count)
        ledger = self._have(paths.ledger_segment, ledger_size, open_ledger)
        waiting = self._have(
            paths.waiting_segment,
            WaitingWords.size(worker_count=worker_count),
            lambda buffer, create: WaitingWords(buffer, worker_count=worker_count, create=create),
        )
        return SharedMemory(
            layout=layout,
            catalog=catalog,
            rows=rows,
            ledger=ledger,
            waiting=waiting,
            stats=self._stats("manager"),
            worker_stats=tuple(self._stats(worker_process(index)) for index in range(worker_count)),
        )

    def lost(self) -> str:
        """Return the name of a segment that is no longer what its name leads to, or ""."""
        return next((segment.name for segment in self._segments if not segment.is_intact()), "")

    def close(self) -> None:
        """Unmap everything; the segments stay, for a successor."""
        for segment in self._segments:
            segment.close()

    def _stats(self, process: str) -> StatsPage:
        name = self._paths.stats_segment(process)
        return self._have(
            name, StatsPage.size(), lambda buffer, create: StatsPage(buffer, create=create)
        )

    def _have(self, name: str, size: int, open_it: Callable[[memoryview, bool], T]) -> T:
        try:
            return self._attach(name, size, open_it)
        except UNUSABLE as error:
            if not isinstance(error, SegmentMissing):
                self._say(f"{error}: {name} is made anew")
            return self._create(name, size, open_it)

    def _attach(self, name: str, size: int, open_it: Callable[[memoryview, bool], T]) -> T:
        segment = attach_segment(name, writable=True)
        try:
            if segment.size != size:
                raise LayoutMismatch(
                    f"{name} has {segment.size} bytes, this configuration wants {size}"
                )
            structure = open_it(segment.buffer, False)
        except UNUSABLE:
            segment.close()
            raise
        self._segments.append(segment)
        return structure

    def _create(self, name: str, size: int, open_it: Callable[[memoryview, bool], T]) -> T:
        unlink_segment(name)
        for former in [segment for segment in self._segments if segment.name == name]:
            self._segments.remove(former)
            former.close()
        segment = create_segment(name, size)
        self._segments.append(segment)
        return open_it(segment.buffer, True)

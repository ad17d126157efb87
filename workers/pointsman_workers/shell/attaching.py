"""Finds what this worker may use: the lock of its shard, then the segments that the manager made.

Both may take a while: a frozen predecessor keeps its lock until it is thawed, and the manager may
be on its way.  So both are tried again, with what is waited for said once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self, TypeVar

from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.header import LayoutMismatch, SegmentUnready
from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_shm.memory.ownership import LockHeld, OwnerLock, acquire_lock
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.segment import Segment, SegmentMissing, attach_segment
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.paths import worker_process
from pointsman_shm.state_files import when_there_is_room
from pointsman_workers.core.setup import WorkerMemory
from pointsman_workers.shell.options import WorkerOptions

RETRY_FIRST_S = 0.02
RETRY_MAX_S = 0.5
# A manager of this build replaces what another build left; it needs a moment to come up.
MISMATCH_PATIENCE_S = 10.0

T = TypeVar("T")
Say = Callable[[str], None]


async def take_shard_lock(options: WorkerOptions, say: Say) -> OwnerLock:
    """Return the lock of this worker's shard; waits for a predecessor that still holds it."""
    path = options.paths.shard_lock(options.index)

    async def try_it() -> OwnerLock:
        return await when_there_is_room(partial(acquire_lock, path), say)

    return await _until_there(try_it, (LockHeld,), say)


class SharedSegments:
    """The mapped segments of an instance as one worker uses them."""

    def __init__(self, segments: list[Segment], memory: WorkerMemory) -> None:
        self._segments = segments
        self.memory = memory

    @classmethod
    def attach(cls, options: WorkerOptions) -> Self:
        """Map everything: what is only read, read-only.

        Raises SegmentMissing or SegmentUnready (try again), LayoutMismatch, SegmentForeign.
        """
        paths = options.paths
        segments: list[Segment] = []

        def view(name: str, *, writable: bool) -> memoryview:
            segments.append(attach_segment(name, writable=writable))
            return segments[-1].buffer

        try:
            max_nodes = options.config.nodes.max_nodes
            count = options.worker_count
            layout = CatalogLayout(max_nodes)
            catalog = CatalogReader(view(paths.catalog_segment, writable=False), layout)
            rows = NodeRows(view(paths.rows_segment, writable=False), max_nodes=max_nodes)
            cells = view(paths.ledger_segment, writable=True)
            ledger = Ledger(cells, max_nodes=max_nodes, worker_count=count)
            words = view(paths.waiting_segment, writable=True)
            stats_name = paths.stats_segment(worker_process(options.index))
            memory = WorkerMemory(
                layout=layout,
                catalog=catalog,
                rows=rows,
                ledger=ledger,
                own_ledger=OwnLedger(ledger, options.index),
                waiting=WaitingWords(words, worker_count=count),
                stats=StatsPage(view(stats_name, writable=True)),
            )
        except BaseException:
            for segment in segments:
                segment.close()
            raise
        return cls(segments, memory)

    def lost(self) -> str:
        """Return the name of a segment that is no longer what its name leads to, or ""."""
        return next((segment.name for segment in self._segments if not segment.is_intact()), "")

    def close(self) -> None:
        """Unmap everything that nothing looks at any more."""
        for segment in self._segments:
            segment.close()


async def attach_segments(options: WorkerOptions, say: Say) -> SharedSegments:
    """Return the segments once the manager has made them.

    Raises LayoutMismatch when what is there stays another build's, SegmentForeign.
    """

    async def try_it() -> SharedSegments:
        return SharedSegments.attach(options)

    not_yet = (SegmentMissing, SegmentUnready)
    try:
        async with asyncio.timeout(MISMATCH_PATIENCE_S):
            return await _until_there(try_it, (*not_yet, LayoutMismatch), say)
    except TimeoutError:
        return await _until_there(try_it, not_yet, say)


async def _until_there(
    try_it: Callable[[], Awaitable[T]], not_yet: tuple[type[Exception], ...], say: Say
) -> T:
    pause_s = RETRY_FIRST_S
    told = ""
    while True:
        try:
            return await try_it()
        except not_yet as error:
            if str(error) != told and pause_s > RETRY_FIRST_S:
                told = str(error)
                say(f"waits: {told}")
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, RETRY_MAX_S)

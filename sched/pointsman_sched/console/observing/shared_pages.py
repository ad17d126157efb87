"""Reads shared memory from outside: copies of bytes, never a mapping, never a lock.

Looking at a mapping that somebody cut is fatal, and whoever only looks on must survive whatever is
done to the files.  A copy may be one event apart from itself; each word in it is whole.
"""

from collections import Counter as Tally
from typing import NamedTuple
from zlib import crc32

import msgspec

from pointsman_shm.memory.catalog_layout import (
    BEAT,
    PLACE_CRC_MASK,
    PLACE_LENGTH_MASK,
    PLACE_LENGTH_SHIFT,
    PLACE_SLOT_SHIFT,
    SLOT_HEAD_SIZE,
    SLOT_VERSION,
    VERSION,
    CatalogLayout,
)
from pointsman_shm.memory.catalog_slots import Directory, Entry, map_catalog, read_directory
from pointsman_shm.memory.header import LayoutMismatch, SegmentUnready, check_header
from pointsman_shm.memory.ledger import Ledger
from pointsman_shm.memory.rows import (
    FLAGS_MASK,
    FLAGS_SHIFT,
    SLOTS_MASK,
    STATE_MASK,
    STATE_SHIFT,
    NodeRows,
    NodeState,
    RowFlag,
    unpack_load,
)
from pointsman_shm.memory.segment import peek_segment
from pointsman_shm.memory.stats import StatsPage, StatsView
from pointsman_shm.paths import InstancePaths, worker_process
from pointsman_shm.snapshot.codec import SnapshotCorrupt, decode_pools

UNREADABLE = (SegmentUnready, LayoutMismatch)


class PoolFigures(msgspec.Struct, frozen=True):
    """Members of a pool that are not Offline, and those that are Ready."""

    name: str
    online: int
    ready: int


class CatalogFigures(msgspec.Struct, frozen=True):
    """What the manager has published: version, instants (monotonic ns), pools."""

    version: int
    beat_at_ns: int
    published_at_ns: int = 0
    pools: tuple[PoolFigures, ...] = ()


class CatalogHead(NamedTuple):
    """A catalog as it was: its identity, and its directory unless that is just being written."""

    version: int
    beat_at_ns: int
    identity: tuple[int, int]
    directory: Directory | None


class FleetFigures(msgspec.Struct, frozen=True):
    """The fleet by its words; `held` has a number for each worker."""

    nodes: dict[str, int]  # by state
    flagged: dict[str, int]  # by flag
    slots: int  # of the nodes that get jobs: Ready or Degraded
    held: list[int]
    foreign: int
    oldest_heartbeat_at_ns: int  # among those, 0 when there is none


def copy_stats(paths: InstancePaths, process: str) -> StatsPage | None:
    """Return a copy of the page of a process, None where there is none to read."""
    found = peek_segment(paths.stats_segment(process), StatsPage.size())
    try:
        return StatsPage(bytearray(found))
    except UNREADABLE:
        return None


def read_stats(paths: InstancePaths, process: str) -> StatsView | None:
    """Return all that a process says of itself now, None where there is none to read."""
    page = copy_stats(paths, process)
    return None if page is None else page.read()


def read_workers(paths: InstancePaths, worker_count: int) -> dict[int, StatsView]:
    """Return what each worker says of itself, by its number; whose page is not there is missing."""
    views = {n: read_stats(paths, worker_process(n)) for n in range(worker_count)}
    return {number: view for number, view in views.items() if view is not None}


def read_beat(paths: InstancePaths, max_nodes: int) -> int:
    """Return the manager's last sign of life in the catalog, 0 where there is none to read."""
    head = memoryview(peek_segment(paths.catalog_segment, 8 * (BEAT + 1)))
    if len(head) < 8 * (BEAT + 1):
        return 0
    words = head.cast("Q")
    try:
        check_header(words, CatalogLayout(max_nodes).shape)
    except UNREADABLE:
        return 0
    beat_at_ns: int = words[BEAT]
    return beat_at_ns


def read_catalog(paths: InstancePaths, max_nodes: int) -> CatalogFigures | None:
    """Return what the catalog says now; no pools when they are just being written."""
    layout = CatalogLayout(max_nodes)
    head = read_head(paths, layout)
    if head is None:
        return None
    directory = head.directory
    if directory is None:
        return CatalogFigures(head.version, head.beat_at_ns)
    payload = copy_page(paths, layout, layout.pools, directory.entries[layout.pools])
    pools = _pools_in(payload)
    return CatalogFigures(head.version, head.beat_at_ns, directory.published_at_ns, pools)


def read_head(paths: InstancePaths, layout: CatalogLayout) -> CatalogHead | None:
    """Return what the catalog's head says now, None where there is none to read."""
    head = memoryview(peek_segment(paths.catalog_segment, 8 * layout.directory_at(2)))
    if len(head) < 8 * layout.directory_at(2):
        return None
    words = head.cast("Q")
    try:
        check_header(words, layout.shape)
    except UNREADABLE:
        return None
    memory = map_catalog(head, words, layout)
    version = words[VERSION]
    directory = read_directory(memory, version & 1)
    if directory is not None and directory.version != version:
        directory = None
    return CatalogHead(version, words[BEAT], memory.identity, directory)


def copy_page(paths: InstancePaths, layout: CatalogLayout, page: int, entry: Entry) -> bytes | None:
    """Return a page as a directory names it, None when it has just become another."""
    version, place = entry
    length = place >> PLACE_LENGTH_SHIFT & PLACE_LENGTH_MASK
    if not version or length > layout.payload_max(page):
        return None
    start = layout.slot_at(page, place >> PLACE_SLOT_SHIFT)
    slot = memoryview(peek_segment(paths.catalog_segment, SLOT_HEAD_SIZE + length, start))
    if len(slot) < SLOT_HEAD_SIZE + length:
        return None
    payload = bytes(slot[SLOT_HEAD_SIZE:])
    is_named = slot[:SLOT_HEAD_SIZE].cast("Q")[SLOT_VERSION] == version
    return payload if is_named and crc32(payload) == place & PLACE_CRC_MASK else None


def _pools_in(payload: bytes | None) -> tuple[PoolFigures, ...]:
    if payload is None:
        return ()
    try:
        page = decode_pools(payload)
    except SnapshotCorrupt:
        return ()
    return tuple(
        PoolFigures(
            name=pool.name,
            online=sum(online for _, online, _ in pool.classes),
            ready=sum(ready for _, _, ready in pool.classes),
        )
        for pool in page.pools
    )


def read_fleet(paths: InstancePaths, max_nodes: int, worker_count: int) -> FleetFigures | None:
    """Return the figures of all nodes and slots, None where there are none to read."""
    words = copy_words(paths, max_nodes, worker_count)
    return None if words is None else _figures(*words)


def copy_words(
    paths: InstancePaths, max_nodes: int, worker_count: int
) -> tuple[NodeRows, Ledger] | None:
    """Return copies of the rows and the ledger, None where there are none to read."""
    sizes = NodeRows.size(max_nodes), Ledger.size(max_nodes=max_nodes, worker_count=worker_count)
    try:
        rows = NodeRows(bytearray(peek_segment(paths.rows_segment, sizes[0])), max_nodes=max_nodes)
        ledger = Ledger(
            bytearray(peek_segment(paths.ledger_segment, sizes[1])),
            max_nodes=max_nodes,
            worker_count=worker_count,
        )
    except UNREADABLE:
        return None
    return rows, ledger


def _figures(rows: NodeRows, ledger: Ledger) -> FleetFigures:
    standing = rows.standing.tolist()
    states = Tally(word >> STATE_SHIFT & STATE_MASK for word in standing)
    there = [row for row, word in enumerate(standing) if word >> STATE_SHIFT & STATE_MASK]
    flags = Tally(standing[row] >> FLAGS_SHIFT & FLAGS_MASK for row in there)
    takes_jobs = (NodeState.READY, NodeState.DEGRADED)
    serving = [row for row in there if standing[row] >> STATE_SHIFT & STATE_MASK in takes_jobs]
    return FleetFigures(
        nodes={s.name.lower(): states[s.value] for s in NodeState if s is not NodeState.FREE},
        flagged={
            (flag.name or "").lower(): sum(n for word, n in flags.items() if word & flag)
            for flag in RowFlag
        },
        slots=sum(standing[row] & SLOTS_MASK for row in serving),
        held=ledger.held_by_worker(),
        foreign=sum(unpack_load(rows.load[row]).foreign for row in serving),
        oldest_heartbeat_at_ns=min((rows.heartbeat_at_ns[row] for row in serving), default=0),
    )

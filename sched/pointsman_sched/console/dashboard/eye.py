"""Looks at the whole fleet from outside, by copies; what did not change is not read again."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from pointsman_sched.console.observing.shared_pages import (
    UNREADABLE,
    copy_page,
    copy_words,
    read_head,
    read_workers,
)
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_slots import NEVER_WRITTEN, Directory
from pointsman_shm.memory.ledger import Ledger
from pointsman_shm.memory.rows import (
    FLAGS_MASK,
    FLAGS_SHIFT,
    GENERATION_MASK,
    GENERATION_SHIFT,
    SLOTS_MASK,
    STATE_MASK,
    STATE_SHIFT,
    NodeRows,
    unpack_load,
)
from pointsman_shm.memory.segment import peek_segment
from pointsman_shm.memory.stats import StatsView
from pointsman_shm.memory.waiting import Waiting, WaitingWords
from pointsman_shm.paths import InstancePaths
from pointsman_shm.snapshot.codec import SnapshotCorrupt
from pointsman_shm.snapshot.records import NodeRecord
from pointsman_shm.snapshot.snapshot import RuntimeSnapshot, decode_pages, empty_snapshot

NOBODY = -1  # no worker's number: `others` of it are all


class NodeLook(NamedTuple):
    """A node as it is now: what the catalog knows of it, and its words taken apart."""

    record: NodeRecord
    state: int
    flags: int
    slots: int
    held: int
    foreign: int
    cpu: int  # percentages, 255 for unknown
    gpu: int
    memory: int
    beat_at_ns: int


class Place(NamedTuple):
    """A row that somebody is in, by its words alone."""

    state: int
    flags: int
    slots: int
    held: int


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen at one instant (monotonic)."""

    now_ns: int
    snapshot: RuntimeSnapshot
    places: Sequence[Place]
    nodes: tuple[NodeLook, ...]  # none unless asked for
    waiting: tuple[Waiting, ...]
    workers: Mapping[int, StatsView]  # those whose page can be read


class FleetEye:
    """Looks again and again, and keeps what it has decoded of the catalog."""

    def __init__(self, paths: InstancePaths, *, max_nodes: int, worker_count: int) -> None:
        self._paths = paths
        self._layout = CatalogLayout(max_nodes)
        self._worker_count = worker_count
        self._identity = (0, 0)
        self._forget()

    def _forget(self) -> None:
        self._snapshot = empty_snapshot(self._layout)
        self._entries = [NEVER_WRITTEN] * self._layout.page_count

    def look(self, now_ns: int, *, has_nodes: bool) -> Look:
        """Return what is to be seen now; what cannot be read is as it was, or not there."""
        self._follow()
        words = copy_words(self._paths, self._layout.max_nodes, self._worker_count)
        return Look(
            now_ns=now_ns,
            snapshot=self._snapshot,
            places=() if words is None else places_of(*words),
            nodes=nodes_of(self._snapshot, *words) if words is not None and has_nodes else (),
            waiting=self._waiting(),
            workers=read_workers(self._paths, self._worker_count),
        )

    def _follow(self) -> None:
        head = read_head(self._paths, self._layout)
        if head is None:
            return
        if head.identity != self._identity:
            self._identity = head.identity
            self._forget()
        if head.directory is not None and head.version != self._snapshot.version:
            self._take_up(head.directory)

    def _take_up(self, directory: Directory) -> None:
        """Decode the pages that changed; one that is just being written is for the next look."""
        entries = [*self._entries]
        changed = {}
        for page, entry in enumerate(directory.entries):
            if entry == entries[page]:
                continue
            payload = copy_page(self._paths, self._layout, page, entry)
            if payload is not None:
                changed[page] = payload
                entries[page] = entry
        try:
            self._snapshot, _ = decode_pages(
                self._snapshot,
                changed,
                self._layout,
                version=directory.version if entries == directory.entries else 0,
                published_at_ns=directory.published_at_ns,
            )
        except SnapshotCorrupt:
            return
        self._entries = entries

    def _waiting(self) -> tuple[Waiting, ...]:
        size = WaitingWords.size(self._worker_count)
        copy = bytearray(peek_segment(self._paths.waiting_segment, size))
        try:
            words = WaitingWords(copy, worker_count=self._worker_count)
        except UNREADABLE:
            return ()
        return tuple(words.others(NOBODY))


def places_of(rows: NodeRows, ledger: Ledger) -> list[Place]:
    """Take the words of all rows apart in which somebody is."""
    held_of = ledger.held
    # Rows are used from the first one on: what follows the last is not walked.
    end = -(-len(rows.standing.tobytes().rstrip(b"\0")) // 8)
    return [
        Place(
            state=word >> STATE_SHIFT & STATE_MASK,
            flags=word >> FLAGS_SHIFT & FLAGS_MASK,
            slots=word & SLOTS_MASK,
            held=held_of(row),
        )
        for row, word in enumerate(rows.standing[:end].tolist())
        if word >> STATE_SHIFT & STATE_MASK
    ]


def nodes_of(snapshot: RuntimeSnapshot, rows: NodeRows, ledger: Ledger) -> tuple[NodeLook, ...]:
    """Put records and words together; a row that has just become another's waits for its page."""
    found = []
    held_of, beats, loads = ledger.held, rows.heartbeat_at_ns.tolist(), rows.load.tolist()
    for row, word in enumerate(rows.standing.tolist()):
        record = snapshot.node(row) if word >> STATE_SHIFT & STATE_MASK else None
        if record is None or record.generation & GENERATION_MASK != word >> GENERATION_SHIFT:
            continue
        load = unpack_load(loads[row])
        found.append(
            NodeLook(
                record=record,
                state=word >> STATE_SHIFT & STATE_MASK,
                flags=word >> FLAGS_SHIFT & FLAGS_MASK,
                slots=word & SLOTS_MASK,
                held=held_of(row),
                foreign=load.foreign,
                cpu=load.cpu,
                gpu=load.gpu,
                memory=load.memory,
                beat_at_ns=beats[row],
            )
        )
    return tuple(found)

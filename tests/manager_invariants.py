"""What must be true of a registry core after every step, whatever happened to it."""

import msgspec

from pointsman_sched.core.publishing import Publisher
from pointsman_sched.core.state import ManagementState
from pointsman_shm.memory.catalog_layout import PUBLISH_INTERVAL_NS, CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.rows import NodeState, RowFlag, unpack_standing
from pointsman_shm.snapshot.records import CapabilityClass, ClassPage, NodePage, PoolsPage

EMPTY_PAGE = b"\x90"


class Invariants:
    """Remembers what must not change between steps: classes, generations, publish instants."""

    def __init__(self) -> None:
        self.published_at_ns = 0
        self.version = 0
        self.classes: list[CapabilityClass] = []
        self.generations: dict[int, int] = {}

    def expect_only(self, published: list[CapabilityClass]) -> None:
        """A successor knows of classes only what was published."""
        assert self.classes[: len(published)] == published
        self.classes = published

    def check(self, state: ManagementState) -> None:
        """Fail if anything is out of order."""
        self._check_nodes(state)
        self._check_rows(state)
        self._check_classes(state)
        self._check_cadence(state)

    def _check_nodes(self, state: ManagementState) -> None:
        nodes = state.nodes
        silent_count = 0
        for node_id, node in nodes.by_id.items():
            assert node.node_id == node_id
            assert nodes.by_row[node.row] is node, "one node per row"
            assert node.state is not NodeState.FREE
            assert (node_id in nodes.offline) is (node.state is NodeState.OFFLINE)
            assert (node_id in nodes.remote) is (node.is_live and bool(node.instance))
            assert bool(node.flags & RowFlag.REMOTE) is bool(node.instance)
            if node.state is NodeState.READY:
                assert node.is_lanes_ready, "Ready implies that its lanes are up"
            if node.is_live:
                assert state.planner.pools_of(node_id) != ()
            else:
                assert state.planner.pools_of(node_id) == ()
                assert node.connection is None
            if node.connection is not None:
                assert state.peers[node.connection].node is node
            silent_count += node.is_silent
            is_judged_here = not node.instance or not node.is_live
            assert bool(node.filed_tick) is is_judged_here, "every node of ours has a timer"
        assert state.silent_count == silent_count
        held = [row for row, node in enumerate(nodes.by_row) if node is not None]
        assert len(held) == len(nodes.by_id), "rows are unique"

    def _check_rows(self, state: ManagementState) -> None:
        for row, word in enumerate(state.setup.memory.rows.standing):
            shown = unpack_standing(word)
            node = state.nodes.by_row[row]
            before = self.generations.get(row, 0)
            if node is None:
                assert shown.state is NodeState.FREE
                assert shown.generation >= before
            else:
                marked = shown.flags & RowFlag.MARKED
                assert bool(marked) is state.marks.is_marked(row, node.generation)
                assert (shown.generation, shown.state) == (node.generation, node.state)
                assert (shown.class_number, shown.slots_max) == (node.class_number, node.slots_max)
                assert node.generation in (before, before + 1), "generations rise by one"
                assert node.capability == state.classes.classes[node.class_number]
            self.generations[row] = shown.generation

    def _check_classes(self, state: ManagementState) -> None:
        classes = state.classes.classes
        assert classes[: len(self.classes)] == self.classes, "classes are append-only"
        self.classes = list(classes)

    def _check_cadence(self, state: ManagementState) -> None:
        catalog = state.setup.memory.catalog
        if catalog.version != self.version:
            assert catalog.version > self.version
            assert catalog.published_at_ns - self.published_at_ns >= PUBLISH_INTERVAL_NS
        self.version, self.published_at_ns = catalog.version, catalog.published_at_ns


def check_published(state: ManagementState, catalog_bytes: bytearray) -> None:
    """What a reader that starts now gets must be the registry, once nothing is dirty."""
    assert not state.dirty
    layout = state.layout
    pages = CatalogReader(catalog_bytes, layout).refresh() or {}
    publisher = Publisher(state)
    for page in range(layout.page_count):
        if page in pages:
            assert pages[page] == publisher.encode(page), f"page {page}"
        elif page < layout.node_page_count:
            assert publisher.encode(page) == EMPTY_PAGE
    check_pools(state, pages[layout.pools])
    check_members(state, layout, pages)


def check_pools(state: ManagementState, payload: bytes) -> None:
    """The pools' counts are those of the nodes, counted anew."""
    counts: dict[tuple[int, int], list[int]] = {}
    for node in state.nodes.by_id.values():
        for pool in state.planner.pools_of(node.node_id):
            count = counts.setdefault((pool, node.class_number), [0, 0])
            count[0] += 1
            count[1] += node.state is NodeState.READY
    page = msgspec.msgpack.decode(payload, type=PoolsPage)
    shown = {
        (pool.id, number): [online, ready]
        for pool in page.pools
        for number, online, ready in pool.classes
    }
    assert shown == counts


def check_members(state: ManagementState, layout: CatalogLayout, pages: dict[int, bytes]) -> None:
    """Every record names a class that is published, and the node that has the row."""
    class_count = sum(
        len(msgspec.msgpack.decode(pages[page], type=ClassPage).classes)
        for page in range(layout.node_page_count, layout.pools)
        if page in pages
    )
    seen = set()
    for page in range(layout.node_page_count):
        for record in msgspec.msgpack.decode(pages.get(page, EMPTY_PAGE), type=NodePage):
            assert record.class_number < class_count
            node = state.nodes.by_id[record.node_id]
            pools = state.planner.pools_of(record.node_id)
            assert (node.row, node.generation, pools) == (
                record.row,
                record.generation,
                record.pools,
            )
            # A page is not built anew for an epoch, which the row's own word has.
            assert record.epoch <= node.epoch == state.setup.memory.rows.epoch[node.row]
            seen.add(record.node_id)
    assert seen == set(state.nodes.by_id)

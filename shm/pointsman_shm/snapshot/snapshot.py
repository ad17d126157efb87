"""The runtime snapshot: one immutable view of the fleet, made from the one before it.

A placement pins one snapshot and reads nothing newer. Successive snapshots share every page that
did not change, so a changed node costs the decoding of its page, whatever the size of the fleet.
"""

from collections.abc import Mapping

import msgspec

from pointsman_shm.memory.catalog_layout import (
    CLASS_PAGE_COUNT,
    CLASSES_PER_PAGE,
    ROWS_PER_NODE_PAGE,
    CatalogLayout,
)
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.pool_view import PairMemo, PoolView
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    ConfigPage,
    MarkRecord,
    NodeRecord,
    PolicyPage,
    PoolsPage,
)

ClassPages = tuple[tuple[CapabilityClass, ...], ...]


class ClassTable(msgspec.Struct, frozen=True):
    """The interned capability classes; numbers are only ever appended."""

    pages: ClassPages = ((),) * CLASS_PAGE_COUNT

    def get(self, number: int) -> CapabilityClass | None:
        """The class of that number, None when the table does not have it (yet)."""
        page_number, offset = divmod(number, CLASSES_PER_PAGE)
        if not 0 <= page_number < CLASS_PAGE_COUNT:
            return None
        page = self.pages[page_number]
        return page[offset] if offset < len(page) else None

    @property
    def count(self) -> int:
        """One more than the largest number in use."""
        for page_number in range(CLASS_PAGE_COUNT - 1, -1, -1):
            if self.pages[page_number]:
                return page_number * CLASSES_PER_PAGE + len(self.pages[page_number])
        return 0


class SnapshotChange(msgspec.Struct, frozen=True):
    """What a refresh brought, so that indexes follow without looking at the rest."""

    node_pages: tuple[int, ...] = ()
    has_classes: bool = False
    has_rewritten_classes: bool = False  # a known number means something else: another catalog
    has_pools: bool = False
    has_config: bool = False
    has_marks: bool = False
    has_policy: bool = False


class RuntimeSnapshot(msgspec.Struct, frozen=True):
    """The fleet at one version; version 0 is the empty snapshot before the first refresh."""

    version: int
    published_at_ns: int
    node_pages: tuple[codec.DenseNodePage, ...]
    classes: ClassTable
    pools: PoolsPage
    config: ConfigPage
    policy: PolicyPage
    overrides: Mapping[str, int]
    marks: Mapping[int, tuple[MarkRecord, ...]]  # by row
    pool_view: PoolView
    pair_memo: PairMemo

    def node(self, row: int) -> NodeRecord | None:
        """The node in a row; None for a free row and for one outside the fleet."""
        page_number, offset = divmod(row, ROWS_PER_NODE_PAGE)
        if not 0 <= page_number < len(self.node_pages):
            return None
        return self.node_pages[page_number][offset]

    def class_of(self, number: int) -> CapabilityClass | None:
        """The capability class of a number."""
        return self.classes.get(number)

    def marks_of(self, row: int) -> tuple[MarkRecord, ...]:
        """The marks on a row, of whatever generation."""
        return self.marks.get(row, ())


def empty_snapshot(layout: CatalogLayout) -> RuntimeSnapshot:
    """The snapshot of a catalog that was never written."""
    classes, pools, config, memo = ClassTable(), PoolsPage(), ConfigPage(), PairMemo()
    return RuntimeSnapshot(
        version=0,
        published_at_ns=0,
        node_pages=(codec.EMPTY_NODE_PAGE,) * layout.node_page_count,
        classes=classes,
        pools=pools,
        config=config,
        policy=PolicyPage(),
        overrides={},
        marks={},
        pool_view=PoolView(pools, classes.get, config, memo),
        pair_memo=memo,
    )


def decode_pages(
    previous: RuntimeSnapshot,
    changed: Mapping[int, bytes],
    layout: CatalogLayout,
    *,
    version: int,
    published_at_ns: int,
) -> tuple[RuntimeSnapshot, SnapshotChange]:
    """Make the next snapshot from the pages (page number -> payload) that changed.

    Raises SnapshotCorrupt, in which case `previous` stays good and the caller keeps `changed`,
    because the catalog's reader hands each page out only once.
    """
    classes, is_rewritten = _decode_class_pages(previous.classes, changed, layout)
    change = _what_changed(changed, layout, has_rewritten_classes=is_rewritten)
    pools, config, policy = previous.pools, previous.config, previous.policy
    marks, overrides = previous.marks, previous.overrides
    if change.has_pools:
        pools = codec.decode_pools(changed[layout.pools])
    if change.has_config:
        config = codec.decode_config(changed[layout.config])
    if change.has_policy:
        policy = codec.decode_policy(changed[layout.policy])
        overrides = dict(policy.tenant_overrides)
    if change.has_marks:
        marks = _by_row(codec.decode_marks(changed[layout.marks]))
    memo = PairMemo() if is_rewritten else previous.pair_memo
    pool_view = previous.pool_view
    if change.has_pools or change.has_config or change.has_classes:
        pool_view = PoolView(pools, classes.get, config, memo)
    snapshot = RuntimeSnapshot(
        version=version,
        published_at_ns=published_at_ns,
        node_pages=_decode_node_pages(previous.node_pages, changed, layout),
        classes=classes,
        pools=pools,
        config=config,
        policy=policy,
        overrides=overrides,
        marks=marks,
        pool_view=pool_view,
        pair_memo=memo,
    )
    return snapshot, change


def _what_changed(
    changed: Mapping[int, bytes], layout: CatalogLayout, *, has_rewritten_classes: bool
) -> SnapshotChange:
    return SnapshotChange(
        node_pages=tuple(sorted(page for page in changed if page < layout.node_page_count)),
        has_classes=any(layout.node_page_count <= page < layout.pools for page in changed),
        has_rewritten_classes=has_rewritten_classes,
        has_pools=layout.pools in changed,
        has_config=layout.config in changed,
        has_marks=layout.marks in changed,
        has_policy=layout.policy in changed,
    )


def _decode_node_pages(
    previous: tuple[codec.DenseNodePage, ...], changed: Mapping[int, bytes], layout: CatalogLayout
) -> tuple[codec.DenseNodePage, ...]:
    pages = list(previous)
    for page, payload in changed.items():
        if page < layout.node_page_count:
            first_row = page * ROWS_PER_NODE_PAGE
            pages[page] = codec.decode_nodes(payload, first_row, layout.max_nodes)
    return tuple(pages)


def _decode_class_pages(
    previous: ClassTable, changed: Mapping[int, bytes], layout: CatalogLayout
) -> tuple[ClassTable, bool]:
    """The next class table, and whether a number that was known means something else now."""
    pages = list(previous.pages)
    is_rewritten = has_changed = False
    for number in range(CLASS_PAGE_COUNT):
        payload = changed.get(layout.node_page_count + number)
        if payload is None:
            continue
        before = pages[number]
        pages[number] = codec.decode_classes(payload, number * CLASSES_PER_PAGE)
        is_rewritten |= pages[number][: len(before)] != before
        has_changed = True
    return (ClassTable(tuple(pages)) if has_changed else previous), is_rewritten


def _by_row(marks: tuple[MarkRecord, ...]) -> dict[int, tuple[MarkRecord, ...]]:
    rows: dict[int, tuple[MarkRecord, ...]] = {}
    for mark in marks:
        rows[mark.row] = (*rows.get(mark.row, ()), mark)
    return rows

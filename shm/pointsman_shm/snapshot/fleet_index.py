"""The fleet index: which rows can do a requirement, dense, private to its reader, always current.

Rows lie in buckets, one `array("I")` per (pool, class) and one per class for the whole fleet. A row
that changes class or pools is moved by swapping with the last of its bucket, so one changed page
costs that page. A candidate list is the concatenation of the buckets of all classes that can do
a requirement; it is kept until a bucket of one of those classes changes, and then built anew, so a
list that somebody still walks never changes under them.

Feasibility is asked once per class and requirement, and again only for classes appended since.
"""

from array import array
from collections.abc import Mapping

from pointsman_shm.memory.catalog_layout import ROWS_PER_NODE_PAGE
from pointsman_shm.rules.eligibility import first_failure
from pointsman_shm.snapshot.records import NodeRecord, Requirement
from pointsman_shm.snapshot.snapshot import ClassTable, RuntimeSnapshot, SnapshotChange

WHOLE_FLEET = -1
NO_POOL = -2  # the rows of nodes that are in no pool: those Offline, which refusals still count

# Bounds of the caches: rows over all candidate lists (4 bytes each), lists, and verdicts.
CACHED_ROWS_MAX = 4 * 1024 * 1024
CACHED_LISTS_MAX = 4096
VERDICTS_MAX = 2048

FEASIBLE = 0  # any other verdict is a Reason plus one

Key = tuple[int, Requirement]


class FleetIndex:
    """Rows by pool and class, and candidates by requirement."""

    def __init__(self, max_nodes: int) -> None:
        self._max_nodes = max_nodes
        self._records: list[NodeRecord | None] = [None] * max_nodes
        self._buckets: dict[int, dict[int, array[int]]] = {WHOLE_FLEET: {}}
        # _positions[k][row]: where the row lies in the bucket of its k-th membership, the first of
        # which is the whole fleet and the others its pools in order.
        self._positions: list[array[int]] = []
        self._classes = ClassTable()
        self._require_gpu = False
        self._verdicts: dict[Requirement, bytearray] = {}
        self._lists: dict[Key, array[int]] = {}  # oldest use first once it is half full
        self._keys_by_pool: dict[int, dict[Requirement, None]] = {}
        self._cached_rows = 0

    def apply(self, snapshot: RuntimeSnapshot, change: SnapshotChange) -> None:
        """Follow the snapshot; `change` tells what differs from the one applied before."""
        self._classes = snapshot.classes
        if change.has_rewritten_classes or snapshot.config.require_gpu != self._require_gpu:
            self._require_gpu = snapshot.config.require_gpu
            self._verdicts.clear()
            self._drop_all_lists()
        touched: dict[int, set[int]] = {}
        for page in change.node_pages:
            self._apply_page(snapshot, page, touched)
        for pool_id, classes in touched.items():
            self._drop_lists(pool_id, classes)

    def candidates(self, pool_id: int | None, requirement: Requirement) -> "array[int]":
        """Rows of the pool (None: of the whole fleet) whose class can do the requirement.

        The array is shared and must not be written; it is never changed after it was handed out.
        """
        key = (WHOLE_FLEET if pool_id is None else pool_id, requirement)
        rows = self._lists.get(key)
        if rows is None:
            return self._build_list(key)
        if self._cached_rows * 2 > CACHED_ROWS_MAX or len(self._lists) * 2 > CACHED_LISTS_MAX:
            del self._lists[key]  # to the young end
            self._lists[key] = rows
        return rows

    def feasible(self, requirement: Requirement) -> bytearray:
        """By class number: 0 when the class can do the requirement, else its first Reason + 1."""
        verdicts = self._verdicts.get(requirement)
        if verdicts is None:
            if len(self._verdicts) >= VERDICTS_MAX:
                del self._verdicts[next(iter(self._verdicts))]
            verdicts = self._verdicts[requirement] = bytearray()
        for number in range(len(verdicts), self._classes.count):
            capability = self._classes.get(number)
            if capability is None:
                break
            reason = first_failure(capability, requirement, self._require_gpu)
            verdicts.append(FEASIBLE if reason is None else reason + 1)
        return verdicts

    def buckets(self, pool_id: int | None) -> Mapping[int, "array[int]"]:
        """Rows by class number, for a breakdown; valid until the next apply."""
        return self._buckets.get(WHOLE_FLEET if pool_id is None else pool_id, {})

    def record(self, row: int) -> NodeRecord | None:
        """The record under which a row is indexed."""
        return self._records[row] if 0 <= row < self._max_nodes else None

    @property
    def cached_list_count(self) -> int:
        """Candidate lists held now."""
        return len(self._lists)

    @property
    def cached_row_count(self) -> int:
        """Rows in all candidate lists held now."""
        return self._cached_rows

    # -- rows ---------------------------------------------------------------------------------

    def _apply_page(
        self, snapshot: RuntimeSnapshot, page: int, touched: dict[int, set[int]]
    ) -> None:
        first_row = page * ROWS_PER_NODE_PAGE
        row_count = min(ROWS_PER_NODE_PAGE, self._max_nodes - first_row)
        before = self._records[first_row : first_row + row_count]
        after = snapshot.node_pages[page][:row_count]
        for offset, (old, new) in enumerate(zip(before, after, strict=True)):
            if old == new:
                continue
            if old is not None and new is not None and _same_place(old, new):
                self._records[first_row + offset] = new
                continue
            if old is not None:
                self._take_out(old, touched)
            self._records[first_row + offset] = new
            if new is not None:
                self._put_in(new, touched)

    def _put_in(self, record: NodeRecord, touched: dict[int, set[int]]) -> None:
        class_number = record.class_number
        for place, pool_id in enumerate(_memberships(record)):
            if place == len(self._positions):
                self._positions.append(array("I", bytes(4 * self._max_nodes)))
            bucket = self._buckets.setdefault(pool_id, {}).setdefault(class_number, array("I"))
            self._positions[place][record.row] = len(bucket)
            bucket.append(record.row)
            touched.setdefault(pool_id, set()).add(class_number)

    def _take_out(self, record: NodeRecord, touched: dict[int, set[int]]) -> None:
        class_number = record.class_number
        for place, pool_id in enumerate(_memberships(record)):
            pool = self._buckets[pool_id]
            bucket = pool[class_number]
            position = self._positions[place][record.row]
            last_row = bucket.pop()
            if last_row != record.row:
                bucket[position] = last_row
                self._positions[self._place_of(last_row, pool_id)][last_row] = position
            if not bucket:
                del pool[class_number]
            if not pool and pool_id != WHOLE_FLEET:
                del self._buckets[pool_id]
            touched.setdefault(pool_id, set()).add(class_number)

    def _place_of(self, row: int, pool_id: int) -> int:
        """Which of a row's memberships this pool is."""
        if pool_id == WHOLE_FLEET:
            return 0
        record = self._records[row]
        assert record is not None, "a row in a bucket has a record"
        return _memberships(record).index(pool_id)

    # -- lists --------------------------------------------------------------------------------

    def _build_list(self, key: Key) -> "array[int]":
        pool_id, requirement = key
        verdicts = self.feasible(requirement)
        known_count = len(verdicts)
        rows = array("I")
        for class_number, bucket in self._buckets.get(pool_id, {}).items():
            if class_number < known_count and verdicts[class_number] == FEASIBLE:
                rows.extend(bucket)
        self._make_room(len(rows))
        self._lists[key] = rows
        self._keys_by_pool.setdefault(pool_id, {})[requirement] = None
        self._cached_rows += len(rows)
        return rows

    def _make_room(self, row_count: int) -> None:
        while self._lists and (
            len(self._lists) >= CACHED_LISTS_MAX or self._cached_rows + row_count > CACHED_ROWS_MAX
        ):
            self._drop_list(next(iter(self._lists)))

    def _drop_list(self, key: Key) -> None:
        pool_id, requirement = key
        self._cached_rows -= len(self._lists.pop(key))
        requirements = self._keys_by_pool[pool_id]
        del requirements[requirement]
        if not requirements:
            del self._keys_by_pool[pool_id]

    def _drop_lists(self, pool_id: int, classes: set[int]) -> None:
        """Drop the lists of a pool that hold, or would now hold, rows of these classes."""
        for requirement in tuple(self._keys_by_pool.get(pool_id, ())):
            verdicts = self.feasible(requirement)
            known_count = len(verdicts)
            if any(number < known_count and verdicts[number] == FEASIBLE for number in classes):
                self._drop_list((pool_id, requirement))

    def _drop_all_lists(self) -> None:
        self._lists.clear()
        self._keys_by_pool.clear()
        self._cached_rows = 0


def _memberships(record: NodeRecord) -> tuple[int, ...]:
    return (WHOLE_FLEET, *(record.pools or (NO_POOL,)))


def _same_place(old: NodeRecord, new: NodeRecord) -> bool:
    return old.class_number == new.class_number and old.pools == new.pools

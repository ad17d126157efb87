"""Names of nodes by row and generation, also of those whose row somebody else has now."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from pointsman_shm.memory.rows import GENERATION_MASK
from pointsman_shm.snapshot.codec import EMPTY_NODE_PAGE, DenseNodePage
from pointsman_shm.snapshot.records import NodeRecord
from pointsman_shm.snapshot.snapshot import RuntimeSnapshot

FORMER_MAX = 16_384


class FormerNames:
    """Who had a row before: a record names a row and its generation, never who is there now."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, int], str] = {}
        self._order: deque[tuple[int, int]] = deque(maxlen=FORMER_MAX)

    def follow(self, before: RuntimeSnapshot, after: RuntimeSnapshot, pages: Sequence[int]) -> None:
        """Remember who has left the rows of these pages."""
        for page in pages:
            if before.node_pages[page] is not EMPTY_NODE_PAGE:
                self._follow_page(before.node_pages[page], after.node_pages[page])

    def _follow_page(self, before: DenseNodePage, after: DenseNodePage) -> None:
        for old, new in zip(before, after, strict=True):
            if old is None or (new is not None and new.generation == old.generation):
                continue
            if len(self._order) == FORMER_MAX:
                self._names.pop(self._order[0], None)
            place = (old.row, old.generation & GENERATION_MASK)
            self._order.append(place)
            self._names[place] = old.node_id

    def name(self, snapshot: RuntimeSnapshot, row: int, generation: int) -> str:
        """Whoever had the row in that generation; "" when it is not known any more."""
        record = snapshot.node(row)
        if record is not None and record.generation & GENERATION_MASK == generation:
            return record.node_id
        return self._names.get((row, generation), "")


class NodesByName:
    """The nodes of a snapshot in the order of their ids, for lists that are asked for in pages.

    Sorted once for each version that is asked about, so that a page costs what it shows: a fleet
    whose manager is dead, when workers are asked, has one version for all of them.
    """

    def __init__(self) -> None:
        self._version = (0, 0)  # none: the first version is 1
        self._records: list[NodeRecord] = []

    def after(
        self, snapshot: RuntimeSnapshot, node_id: str, limit: int
    ) -> tuple[list[NodeRecord], int]:
        """Return the first so many nodes whose ids are greater, and how many there are in all."""
        if (version := (snapshot.version, snapshot.published_at_ns)) != self._version:
            pages = (page for page in snapshot.node_pages if page is not EMPTY_NODE_PAGE)
            records = (record for page in pages for record in page if record is not None)
            self._records = sorted(records, key=_name_of)
            self._version = version
        first = bisect_right(self._records, node_id, key=_name_of)
        return self._records[first : first + limit], len(self._records)


def _name_of(record: NodeRecord) -> str:
    return record.node_id


def find_record(snapshot: RuntimeSnapshot, node_id: str) -> NodeRecord | None:
    """The record of a node by its id: a walk over the fleet, for questions of people only."""
    return next(
        (
            record
            for page in snapshot.node_pages
            if page is not EMPTY_NODE_PAGE
            for record in page
            if record is not None and record.node_id == node_id
        ),
        None,
    )

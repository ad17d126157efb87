"""Another configuration is put in force: pools are planned anew beside the old ones, then swapped.

    offered ──► plan: every node into a new planner ──► encode: pages of nodes that move
                a slice a turn; the old planner serves                 │ a slice a turn
                on, and what changes meanwhile is looked at again      ▼
                                  one publish: configuration, pools and all moved nodes at once

A worker sees the old configuration or the new one, never a mixture, as one version carries it
all.  Until then nothing has happened: a fault on the way drops the plan.
"""

from itertools import islice

import msgspec

from pointsman_sched.core.events import Answer, ConfigOffered
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.state import ManagementState
from pointsman_shm.memory.catalog_layout import ROWS_PER_NODE_PAGE
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.records import NODE_RECORD_SIZE_MAX, NodeRecord
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, error_info
from pointsman_wire.order_messages import ConfigDiff

# About 10 µs a node, 0.2 ms a page: a turn stays near a millisecond.
ROWS_PER_TURN = 96
PAGES_PER_TURN = 4
# A fleet that changes faster than this looks is caught up with in one turn, after so long.
SLICED_NS = 5_000_000_000

# The ticket of a configuration that nobody ordered here: it is the fleet's.
NOBODY = 0


class Rebuild:
    """A configuration that is being put in force; `pages` are those of nodes that move."""

    def __init__(self, state: ManagementState, offered: ConfigOffered, told: ConfigDiff) -> None:
        self.config = offered.config
        self.planner = state.planner.successor(offered.config.pools)
        self.pages: dict[int, bytes] = {}
        self.ticket = offered.ticket
        self._told = told
        self._began_ns = state.now_ns
        self._next_row = 0  # all nodes before it are planned, but for
        self._todo: dict[str, None] = {}  # ids to be planned anew
        self._row_count = len(state.nodes.by_row)
        self._stale = set(range(state.layout.node_page_count))

    @property
    def is_whole(self) -> bool:
        """May it be put in force?  True only for the turn in which `advance` ended with nothing
        left to do."""
        return self._is_planned and not self._stale

    @property
    def _is_planned(self) -> bool:
        return self._next_row >= self._row_count and not self._todo

    def note(self, node_id: str) -> None:
        """Something happened to a node that matters to pools: look at it again."""
        self._todo[node_id] = None

    def advance(self, state: ManagementState) -> str:
        """Do the slice of one turn; return why it cannot be put in force at all, or ""."""
        layout = state.layout
        self._stale.update(page for page in state.dirty if page < layout.node_page_count)
        is_late = state.now_ns - self._began_ns > SLICED_NS
        while not self._is_planned:
            for node_id in self._take(state):
                if trouble := self._plan(state, node_id):
                    return trouble
            if not is_late:
                break
        if not self._is_planned:
            return ""
        for page in sorted(self._stale)[: None if is_late else PAGES_PER_TURN]:
            self._stale.discard(page)
            self._prepare(state, page)
        if not self.is_whole:
            return ""
        size = len(codec.encode_pools(self.planner.page()))
        size_max = layout.payload_max(layout.pools)
        if size > size_max:
            return f"the pools take {size} bytes in shared memory, at most {size_max} fit"
        return ""

    def _take(self, state: ManagementState) -> list[str]:
        """The nodes of one slice: the next rows, then those to which something has happened."""
        first = self._next_row
        if first < self._row_count:
            self._next_row = first + ROWS_PER_TURN
            rows = state.nodes.by_row[first : self._next_row]
            return [node.node_id for node in rows if node is not None]
        again = [*islice(self._todo, ROWS_PER_TURN)]
        for node_id in again:
            del self._todo[node_id]
        return again

    def told(self, snapshot_version: int, config_version: int) -> Answer:
        """Return the answer to whoever ordered it, once it is in force."""
        told = msgspec.structs.replace(
            self._told,
            applied=True,
            snapshot_version=snapshot_version,
            config_version=config_version,
        )
        return Answer(self.ticket, told)

    def refused(self, words: str) -> Answer:
        """Return the answer when it cannot be put in force."""
        info = error_info(Code.INVALID_MESSAGE, f"{self._told.source}: {words}")
        return Answer(self.ticket, Error(info))

    def _plan(self, state: ManagementState, node_id: str) -> str:
        node = state.nodes.by_id.get(node_id)
        if node is None or not node.is_live:
            moves = self.planner.remove(node_id)
        else:
            moves = self.planner.add(
                node_id, node.class_number, node.capability, is_ready=node.is_ready
            )
            count = len(self.planner.pools_of(node_id))
            if count > 1 and len(codec.encode_record(self._record(node))) > NODE_RECORD_SIZE_MAX:
                return f"node {node_id} would be in {count} pools, more than its record can hold"
        for moved_id in moves:
            moved = state.nodes.by_id.get(moved_id)
            if moved is not None:
                self._stale.add(state.layout.node_page(moved.row))
        return ""

    def _prepare(self, state: ManagementState, page: int) -> None:
        """Encode a page if a node of it moves; one whose nodes stay where they are is not sent."""
        first = page * ROWS_PER_NODE_PAGE
        found = state.nodes.by_row[first : first + ROWS_PER_NODE_PAGE]
        nodes = [node for node in found if node is not None]
        before, after = state.planner.pools_of, self.planner.pools_of
        if all(before(node.node_id) == after(node.node_id) for node in nodes):
            self.pages.pop(page, None)
        else:
            self.pages[page] = codec.encode_nodes(map(self._record, nodes))

    def _record(self, node: Node) -> NodeRecord:
        return node.record_in(self.planner.pools_of(node.node_id))

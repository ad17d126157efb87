"""A new manager over the memory of a dead one: the fleet goes on, and nobody is declared dead.

Truth is put together from three places.  The catalog says which node has which row, class and
pools; the rows say how each was at the last moment (they are newer than the catalog by up to one
publish); the registry file says the highest epoch of each id.  Where they differ:

  record, row of the same generation   the node, in the row's state
  record, row FREE or of another       it was forgotten, and the removal not yet published
  row in use, no record                it registered and was not published: it will come again
  class that no page has               it was not published: the record's class counts

A recovered node keeps its state, Ready ones stay choosable.  Its silence is counted from a moment
ahead, so that it has offline_intervals before it is even Suspect; and as many nodes come back at
once, which takes its time (the port accepts by rate, a turn registers a share), a large fleet has
as much more, and nobody is dead while others still come (fleet/homecoming.py).  A node that died
meanwhile is missed by its lanes.
"""

from collections.abc import Mapping

from pointsman_sched.core.fleet.homecoming import RETURNS_PER_SECOND
from pointsman_sched.core.fleet.intervals import NANOSECONDS
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.fleet.pauses import OVER
from pointsman_sched.core.joining.declaration import flags_of
from pointsman_sched.core.lifecycle import refile
from pointsman_sched.core.orders.standing import restore_orders
from pointsman_sched.core.publishing import Publisher
from pointsman_sched.core.state import NEVER_NS, ManagementState
from pointsman_shm.memory.catalog_layout import CLASSES_PER_PAGE, ROWS_PER_NODE_PAGE
from pointsman_shm.memory.rows import (
    GENERATION_SHIFT,
    NodeState,
    RowFlag,
    Standing,
    pack_standing,
    unpack_standing,
)
from pointsman_shm.memory.stats_names import Gauge
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.records import CapabilityClass, NodeRecord, OrdersRecord

EMPTY_PAGE = codec.encode_nodes(())
KEPT_FLAGS = RowFlag.PAUSED | RowFlag.OVERLOADED | RowFlag.MARKED | RowFlag.REMOTE | RowFlag.STALE


def recover(state: ManagementState, publisher: Publisher) -> None:
    """Fill a new state from what a predecessor published, and mark what must be published."""
    pages = state.setup.memory.catalog.pages()
    layout = state.layout
    state.classes.restore(_read_classes(state, pages))
    if layout.marks in pages:
        state.marks.restore(codec.decode_marks(pages[layout.marks]), state.now_ns)
    orders = OrdersRecord()
    if layout.policy in pages:
        orders = codec.decode_policy(pages[layout.policy]).orders
    restore_orders(state, orders)
    if layout.pools in pages:
        known = codec.decode_pools(pages[layout.pools])
        state.pauses.change_mode(known.mode, state.planner.mode)
        state.planner.restore(known, orders.paused_pools, orders.pool_keys)
    for page in range(layout.node_page_count):
        if page in pages:
            _recover_nodes(state, page, pages[page])
    _wait_for_all(state)
    _release_other_rows(state)
    taken = {node.row for node in state.nodes.by_id.values()}
    state.rows.occupy(taken, state.setup.memory.catalog.version)
    state.count_fleet()
    state.stats.gauge(Gauge.NODES, len(state.nodes))
    _compare_pages(state, publisher, pages)


def _read_classes(state: ManagementState, pages: Mapping[int, bytes]) -> list[CapabilityClass]:
    """All classes up to the first page that is missing: numbers must have no gap."""
    classes: list[CapabilityClass] = []
    for page in range(state.layout.node_page_count, state.layout.pools):
        if page not in pages:
            break
        first = (page - state.layout.node_page_count) * CLASSES_PER_PAGE
        classes.extend(codec.decode_classes(pages[page], first))
    return classes


def _recover_nodes(state: ManagementState, page: int, payload: bytes) -> None:
    first_row = page * ROWS_PER_NODE_PAGE
    for record in codec.decode_nodes(payload, first_row, state.layout.max_nodes):
        if record is not None:
            _recover_node(state, record)


def _recover_node(state: ManagementState, record: NodeRecord) -> None:
    standing = _read_standing(state, record.row)
    if standing is None or standing.generation != record.generation:
        return
    if standing.state is NodeState.FREE or record.class_number >= len(state.classes.classes):
        return
    setup = state.setup
    node = Node(record.node_id, record.row, record.generation, state.clock_ns)
    node.state = standing.state
    node.reason = "recovered after a restart of the manager"
    node.epoch = max(
        record.epoch,
        setup.memory.rows.epoch[record.row],
        state.identities.epoch_of(record.node_id),
    )
    node.class_number = record.class_number
    node.capability = state.classes.classes[record.class_number]
    node.instance = record.instance
    node.slots_max = standing.slots_max or record.slots_max
    kept = standing.flags & KEPT_FLAGS
    node.flags = int(flags_of(node.capability) | kept)
    # Who was drained by an operator must not come back Ready because a manager died.
    node.is_drained_by_operator = RowFlag.DRAINED in standing.flags
    # Only what was Ready is known to have had its lanes.
    node.is_lanes_ready = node.was_good = standing.state is NodeState.READY
    node.interval_ns = state.intervals.assigned_ns(len(state.nodes) + 1, record.row)
    intervals = state.intervals
    ahead = intervals.offline_intervals - intervals.suspect_intervals
    node.heard_at_ns = state.clock_ns + ahead * node.interval_ns
    node.drain_deadline_ns = _drain_deadline_ns(state, node)
    state.nodes.add(node)
    if node.is_live:
        state.enter_pools(node)
    else:
        state.nodes.retire(node)
    state.show_row(node)
    if not node.instance or not node.is_live:
        refile(state, node)


def _drain_deadline_ns(state: ManagementState, node: Node) -> int:
    """Until when it may run what it has, if it is draining."""
    usual_ns = state.clock_ns + int(state.config.nodes.drain_s * 1e9)
    if not node.is_drained_by_operator:
        return usual_ns
    until_ns = state.pauses.drains.get(node.node_id)
    if until_ns is None:
        until_ns = usual_ns
        state.pauses.drain(node.node_id, until_ns)
    return until_ns if until_ns != OVER else NEVER_NS


def _wait_for_all(state: ManagementState) -> None:
    """Give a large fleet the time that it takes to register anew."""
    nodes = state.nodes.by_id.values()
    ours = {node.node_id for node in nodes if node.is_live and not node.instance}
    state.homecoming.expect(ours, state.clock_ns)
    more_ns = len(state.nodes) * NANOSECONDS // RETURNS_PER_SECOND
    for node in state.nodes.by_id.values():
        node.heard_at_ns += more_ns


def _read_standing(state: ManagementState, row: int) -> Standing | None:
    """Return a row's standing, None when the row or its state cannot be."""
    standing = state.setup.memory.rows.standing
    if not 0 <= row < len(standing):
        return None
    try:
        return unpack_standing(standing[row])
    except ValueError:
        return None


def _release_other_rows(state: ManagementState) -> None:
    """Rows in use without a node: free them at once, nobody was ever told of them by a record."""
    rows = state.setup.memory.rows
    for row, word in enumerate(rows.standing):
        generation = word >> GENERATION_SHIFT
        empty = pack_standing(
            generation=generation,
            class_number=0,
            state=NodeState.FREE,
            flags=RowFlag(0),
            slots_max=0,
        )
        if state.nodes.by_row[row] is None and word != empty:
            rows.standing[row] = empty


def _compare_pages(
    state: ManagementState, publisher: Publisher, pages: Mapping[int, bytes]
) -> None:
    """Have everything published that differs from what is there; the config page in any case,
    so that a new manager shows itself by a new version."""
    layout = state.layout
    last_class = max(0, len(state.classes.classes) - 1)
    wanted = {
        *range(layout.node_page_count),
        *range(layout.class_page(0), layout.class_page(last_class) + 1),
        layout.pools,
        layout.marks,
        layout.policy,
    }
    for page in wanted:
        content = publisher.encode(page)
        is_there = page in pages
        is_empty_page = page < layout.node_page_count and content == EMPTY_PAGE
        if pages.get(page) != content and (is_there or not is_empty_page):
            state.dirty.add(page)
    state.dirty.add(layout.config)

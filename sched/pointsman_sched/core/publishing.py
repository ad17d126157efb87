"""Publishes the pages that changed: coalesced, never closer than 20 ms, in slices.

What is dirty when a publish is due goes out in it, except that a fleet-wide change takes its node
pages a slice at a time: a node's record stands by itself, so it does no harm that another page
follows 20 ms later.  A record is only published with or after the page of its class.  The beat
word advances every 100 ms whether anything changed or not, and each beat also reads back a page
or two, so that damaged memory is noticed and written anew.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from pointsman_sched.core.events import Alarm, TellWorkers
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.orders.rebuild import Rebuild
from pointsman_sched.core.orders.standing import drains_that_fit, orders_record
from pointsman_sched.core.state import ManagementState
from pointsman_shm.config_live import tenant_places
from pointsman_shm.logs.events import Event
from pointsman_shm.memory.catalog_layout import (
    CLASSES_PER_PAGE,
    PUBLISH_INTERVAL_NS,
    ROWS_PER_NODE_PAGE,
)
from pointsman_shm.memory.stats_names import Counter, Gauge, Timing
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.config_pages import config_page, policy_page
from pointsman_shm.snapshot.records import NodeRecord
from pointsman_shm.uplink import SnapshotPublished

BEAT_INTERVAL_NS = 100_000_000
# About 0.1 ms each when full.
NODE_PAGES_PER_PUBLISH = 16
PAGES_VERIFIED_PER_BEAT = 2


class Publisher:
    """When to publish and to beat; what, it finds in the state."""

    def __init__(self, state: ManagementState) -> None:
        self._state = state
        self._catalog = state.setup.memory.catalog
        # A predecessor's instants are on the same monotonic clock.
        self._next_publish_ns = self._catalog.published_at_ns + PUBLISH_INTERVAL_NS
        self._next_beat_ns = state.setup.started_at_ns
        self._verified_to = 0
        self._outgrown: set[int] = set()  # pages that do not fit, as was told

    def next_deadline_ns(self) -> int:
        """Return when to be called next (real clock)."""
        rebuild = self._state.rebuild
        if self._state.dirty or (rebuild is not None and rebuild.is_whole):
            return min(self._next_beat_ns, self._next_publish_ns)
        return self._next_beat_ns

    def run(self) -> None:
        """Beat and publish if it is time."""
        now_ns = self._state.now_ns
        if now_ns >= self._next_beat_ns:
            self._beat(now_ns)
        rebuild = self._state.rebuild
        if now_ns < self._next_publish_ns:
            return
        if rebuild is not None and rebuild.is_whole:
            self._put_in_force(rebuild, now_ns)
        elif self._state.dirty:
            self._publish(now_ns, {})

    def _beat(self, now_ns: int) -> None:
        self._catalog.beat(now_ns)
        self._state.stats.beat(now_ns)
        self._next_beat_ns = now_ns + BEAT_INTERVAL_NS
        start = self._verified_to
        stop = start + PAGES_VERIFIED_PER_BEAT
        self._state.dirty.update(self._catalog.damaged_pages(start, stop))
        if not self._catalog.is_directory_sound():
            self._state.dirty.add(self._state.layout.config)
        self._verified_to = stop if stop < self._state.layout.page_count else 0

    def _put_in_force(self, rebuild: Rebuild, now_ns: int) -> None:
        """Swap the configuration and the pools, and show all of it in one version."""
        state = self._state
        has_other_pauses = state.pauses.change_mode(state.planner.mode, rebuild.planner.mode)
        state.retired = state.planner
        state.config, state.planner, state.rebuild = rebuild.config, rebuild.planner, None
        state.tenant_places = tenant_places(state.config.tenants.listed, state.tenant_places)
        state.config_version += 1
        layout = state.layout
        state.dirty.update((layout.config, layout.pools, layout.policy))
        self._publish(now_ns, rebuild.pages)
        if has_other_pauses:
            _show(state, state.nodes.by_row)
        elif state.pauses.pools:
            _show_moved(state, rebuild)
        version = self._catalog.version
        state.outbox.wish(rebuild.told(version, state.config_version))
        if state.federation is not None:
            state.federation.settings.in_force(rebuild.ticket)

    def _publish(self, now_ns: int, prepared: dict[int, bytes]) -> None:
        """Publish the dirty pages that are chosen, and all that are prepared."""
        state = self._state
        began_ns = state.setup.stopwatch_ns()
        changed = {page: self.encode(page) for page in self._choose() if page not in prepared}
        changed |= prepared
        state.dirty.difference_update(changed)
        for page in [page for page in changed if self._has_outgrown(page, changed[page])]:
            del changed[page]
        version = self._catalog.publish(changed, now_ns)
        self._next_publish_ns = now_ns + PUBLISH_INTERVAL_NS
        state.rows.note_published(lambda row: state.layout.node_page(row) in changed, version)
        state.stats.add(Counter.PUBLISHES)
        state.stats.gauge(Gauge.SNAPSHOT_VERSION, version)
        state.stats.observe(Timing.PUBLISH, state.setup.stopwatch_ns() - began_ns)
        state.outbox.wish(TellWorkers(SnapshotPublished(version)))
        state.outbox.published()

    def _has_outgrown(self, page: int, payload: bytes) -> bool:
        """Does the page not fit any more?  It stays as it was: better than to have no manager.

        What nodes and settings may be is bounded, so this takes pools, each of which counts its
        nodes by class, that are many and full of many kinds of nodes.
        """
        size_max = self._state.layout.payload_max(page)
        if len(payload) <= size_max:
            self._outgrown.discard(page)
            return False
        if page not in self._outgrown:
            self._outgrown.add(page)
            what = "the pools take" if page == self._state.layout.pools else f"page {page} takes"
            words = (
                f"{what} {len(payload)} bytes in shared memory, at most {size_max} fit: workers go "
                "on with what they know, and nodes of a new kind get no jobs; have fewer pools "
                "(pools.auto_max_pools, pools.pool_count, pools.multi_pool)"
            )
            self._state.outbox.wish(Alarm(words, Event.FLEET_ALARM))
        return True

    def _choose(self) -> list[int]:
        """All dirty pages, but of node pages one slice."""
        node_page_count = self._state.layout.node_page_count
        ordered = sorted(self._state.dirty)
        node_pages = [page for page in ordered if page < node_page_count]
        others = [page for page in ordered if page >= node_page_count]
        return node_pages[:NODE_PAGES_PER_PUBLISH] + others

    def encode(self, page: int) -> bytes:
        """Return what the page must hold now."""
        state = self._state
        layout = state.layout
        if page < layout.node_page_count:
            return codec.encode_nodes(self._node_records(page))
        if page < layout.pools:
            first = (page - layout.node_page_count) * CLASSES_PER_PAGE
            return codec.encode_classes(first, state.classes.page(first))
        if page == layout.pools:
            return codec.encode_pools(state.planner.page())
        if page == layout.config:
            return codec.encode_config(config_page(state.config, state.tenant_places))
        if page == layout.marks:
            return codec.encode_marks(state.marks.page())
        assert page == layout.policy, page
        federation = state.federation
        others = federation.neighbours.records() if federation is not None else ()
        orders = orders_record(state)
        policy = replace(policy_page(state.config, others), orders=orders)
        payload = codec.encode_policy(policy)
        if not state.pauses.drains:
            return payload
        drains = drains_that_fit(state, layout.payload_max(page) - len(payload))
        return codec.encode_policy(replace(policy, orders=replace(orders, drains=drains)))

    def _node_records(self, page: int) -> tuple[NodeRecord, ...]:
        state = self._state
        first = page * ROWS_PER_NODE_PAGE
        found = state.nodes.by_row[first : first + ROWS_PER_NODE_PAGE]
        return tuple(state.record_of(node) for node in found if node is not None)


def _show_moved(state: ManagementState, rebuild: Rebuild) -> None:
    """Nodes that were moved into a paused pool, or out of one, say so in their rows."""
    for page in rebuild.pages:
        first = page * ROWS_PER_NODE_PAGE
        _show(state, state.nodes.by_row[first : first + ROWS_PER_NODE_PAGE])


def _show(state: ManagementState, nodes: Iterable[Node | None]) -> None:
    for node in nodes:
        if node is not None:
            state.show_row(node)

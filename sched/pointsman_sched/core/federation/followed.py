"""Another instance as this one knows it: whether it lives, what it shows, and what is taken of it.

It lives as long as its presence goes on counting, by *our* clock: the lives that the store gives
its keys only clean up, so a store that forgets, or whose clock jumps, kills nobody.
"""

from collections.abc import Iterator

from pointsman_sched.core.federation.merging import (
    Merged,
    lose_remote,
    mark_aged,
    show_words,
    upsert_node_from_snapshot,
)
from pointsman_sched.core.federation.told import (
    NodeTold,
    NodeWords,
    PageVersions,
    Presence,
    RecordsPage,
    TenantShare,
    Untrue,
    WordsPage,
)
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.state import ManagementState
from pointsman_shm.snapshot.records import CapabilityClass, InstanceRecord
from pointsman_wire.coordination.fleet_requests import Part

NOTHING = PageVersions(0, 0)
Told = tuple[NodeTold, CapabilityClass]


class Followed:
    """One other instance."""

    def __init__(self, name: str, uid: str, worker_count: int, now_ns: int) -> None:
        self.name = name
        self.uid = uid
        self.worker_count = worker_count
        self.software = ""
        self.addresses: tuple[str, ...] = ()
        self.tls_addresses: tuple[str, ...] = ()
        self.settings_version = 0
        self.shares: tuple[TenantShare, ...] = ()
        # The count of its last presence, and when we first saw it (core's clock).
        self.count = 0
        self.heard_at_ns = now_ns
        self.is_alive = True
        self.is_aged = False
        self.shown: tuple[PageVersions, ...] = ()
        # What was taken of each page: versions, and the nodes in the order of the records.
        self._taken: dict[int, PageVersions] = {}
        self._nodes: dict[int, dict[str, Told]] = {}
        # Pages of which not every node could be taken: looked at again now and then.
        self._short: dict[int, int] = {}
        # Rows may be left from before a restart of ours; who they are shows when all is read.
        self._must_compare = True

    @property
    def record(self) -> InstanceRecord:
        """What workers are told of it."""
        return InstanceRecord(self.name, self.uid, self.worker_count, self.is_alive)

    @property
    def node_count(self) -> int:
        """Return how many nodes it shows, as far as they were read."""
        return sum(map(len, self._nodes.values()))

    @property
    def left_out_count(self) -> int:
        """Return how many of its nodes could not be taken."""
        return sum(self._short.values())

    def hear(self, presence: Presence, now_ns: int) -> bool:
        """Take a presence; False when it is none that we did not have."""
        if presence.count == self.count:
            return False
        self.count = presence.count
        self.heard_at_ns = now_ns
        self.is_alive, self.is_aged = True, False
        self.worker_count = presence.worker_count
        self.software, self.addresses = presence.software, presence.addresses
        self.tls_addresses = presence.tls_addresses
        self.settings_version = presence.settings_version
        self.shares = presence.shares
        self.shown = presence.pages
        return True

    def wanted(self) -> Iterator[Part]:
        """Name the parts that are newer than what was taken, records before words."""
        for page, shown in enumerate(self.shown):
            taken = self._taken.get(page, NOTHING)
            if shown.records and shown.records != taken.records:
                yield Part(self.name, f"r{page}")
            if shown.words and shown.words != taken.words:
                yield Part(self.name, f"w{page}")

    def take_records(self, state: ManagementState, page: RecordsPage) -> None:
        """Show the nodes of a page as they are told; who is no longer in it is lost."""
        self._check(page)
        before = self._nodes.get(page.page, {})
        after: dict[str, Told] = {}
        left_out = 0
        for node in page.nodes:
            told = (node, page.classes[node.class_index])
            after[node.node_id] = told
            if before.get(node.node_id) == told and self._has(state, node.node_id):
                continue
            merged = upsert_node_from_snapshot(state, self.name, *told)
            left_out += merged in (Merged.NO_ROOM, Merged.NO_CLASS)
            if merged is not Merged.TAKEN:
                self._short.setdefault(page.page, 0)
        self._nodes[page.page] = after
        if left_out or page.page in self._short:
            self._short[page.page] = left_out
        self._taken[page.page] = PageVersions(page.version, 0)
        for node_id in before.keys() - after.keys():
            self._lose(state, node_id, "its instance no longer has it")

    def take_words(
        self, state: ManagementState, page: WordsPage, words: tuple[NodeWords, ...]
    ) -> None:
        """Show states and loads; those of records that we do not have wait for these."""
        self._check(page)
        taken = self._taken.get(page.page, NOTHING)
        nodes = self._nodes.get(page.page, {})
        if page.records_version != taken.records:
            return
        if len(words) != len(nodes):
            raise Untrue(f"page {page.page} of {self.name}: {len(words)} words, {len(nodes)} nodes")
        self._taken[page.page] = PageVersions(taken.records, page.version)
        for node_id, told in zip(nodes, words, strict=True):
            node = self._find(state, node_id)
            if node is not None:
                show_words(state, node, told)

    def settle(self, state: ManagementState) -> None:
        """After a round: lose pages that are no longer shown, and rows that nobody tells of."""
        for page in [page for page in self._nodes if page >= len(self.shown)]:
            for node_id in self._nodes.pop(page):
                self._lose(state, node_id, "its instance no longer has it")
            self._taken.pop(page, None)
            self._short.pop(page, None)
        is_whole = all(
            shown.records and self._taken.get(page, NOTHING).records == shown.records
            for page, shown in enumerate(self.shown)
        )
        if self._must_compare and self.count and is_whole:
            self._must_compare = False
            told = {node_id for nodes in self._nodes.values() for node_id in nodes}
            for node in self._rows(state):
                if node.node_id not in told:
                    lose_remote(state, node, "its instance no longer has it")

    def look_again(self) -> None:
        """Have pages read anew of which not every node could be taken."""
        for page in self._short:
            self._taken.pop(page, None)
        self._short.clear()

    def age(self, state: ManagementState) -> None:
        """Show on its rows that they are no longer fresh."""
        self.is_aged = True
        for node in self._rows(state):
            mark_aged(state, node)

    def lapse(self, state: ManagementState, words: str) -> None:
        """It is gone: its nodes are Offline at once, and it has to begin anew if it comes back."""
        self.is_alive = False
        for node in self._rows(state):
            lose_remote(state, node, words)
        self.shown, self.shares = (), ()
        self._taken.clear()
        self._nodes.clear()
        self._short.clear()

    def _rows(self, state: ManagementState) -> list[Node]:
        return [node for node in state.nodes.remote.values() if node.instance == self.name]

    def _check(self, page: RecordsPage | WordsPage) -> None:
        if (page.name, page.uid) != (self.name, self.uid):
            raise Untrue(f"a page of {page.name} ({page.uid}) stands under {self.name}")
        if page.page >= len(self.shown):
            raise Untrue(f"{self.name} shows {len(self.shown)} pages, and page {page.page} came")

    def _find(self, state: ManagementState, node_id: str) -> Node | None:
        node = state.nodes.by_id.get(node_id)
        return node if node is not None and node.instance == self.name and node.is_live else None

    def _has(self, state: ManagementState, node_id: str) -> bool:
        return self._find(state, node_id) is not None

    def _lose(self, state: ManagementState, node_id: str, words: str) -> None:
        node = self._find(state, node_id)
        if node is not None:
            lose_remote(state, node, words)

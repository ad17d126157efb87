"""What this instance shows of its own nodes: pages of 64 rows, each part with a version.

State and pools of a node change its page at once; loads alone are looked at in turn, so many pages
a round, as they change all the time and are only hints.
"""

from typing import TYPE_CHECKING

from pointsman_sched.core.federation.told import (
    ROWS_PER_SHOWN_PAGE,
    NodeTold,
    PageVersions,
    RecordsPage,
    WordsPage,
    encode,
    pack_words,
)
from pointsman_shm.memory.rows import unpack_load, unpack_standing
from pointsman_shm.snapshot.records import CapabilityClass

if TYPE_CHECKING:
    from pointsman_sched.core.fleet.node import Node
    from pointsman_sched.core.state import ManagementState

# About 0.2 ms a page: a turn stays near 3 ms.
PAGES_PER_ROUND = 16
LOADS_PER_ROUND = 16


class Shown:
    """Versions of our own pages, and which of them have to be told anew."""

    def __init__(self, max_nodes: int) -> None:
        count = -(-max_nodes // ROWS_PER_SHOWN_PAGE)
        self._last_version = 0
        self._records = [0] * count
        self._words = [0] * count
        self._nodes: list[tuple[int, ...]] = [()] * count  # rows, in the order of the records
        self._bytes: list[bytes] = [b""] * count  # of the words, as last told
        self._stale_records: set[int] = set()
        self._stale_words: set[int] = set()
        self._next_load = 0

    def begin_at(self, version: int) -> None:
        """Give versions above this one."""
        self._last_version = version

    @property
    def part_count(self) -> int:
        """Return how many parts the store must have by now."""
        return sum(map(bool, self._records)) + sum(map(bool, self._words))

    @property
    def is_behind(self) -> bool:
        """Is there more to tell than one round takes?"""
        return bool(self._stale_records or self._stale_words)

    def _next_version(self) -> int:
        self._last_version += 1
        return self._last_version

    def note_record(self, row: int) -> None:
        """Who is in the row, or what it can do, has changed."""
        self._stale_records.add(row // ROWS_PER_SHOWN_PAGE)

    def note_words(self, row: int) -> None:
        """The state of the node in the row has changed."""
        self._stale_words.add(row // ROWS_PER_SHOWN_PAGE)

    def note_all(self) -> None:
        """The store may have forgotten everything: tell all pages anew that hold anything."""
        for page, version in enumerate(self._records):
            if version:
                self._stale_records.add(page)
                self._records[page] = self._words[page] = 0

    def versions(self) -> tuple[PageVersions, ...]:
        """Return the versions of all pages up to the last that holds, or may hold, anything.

        A page with version 0 is still to be told: what was told of it before stands.
        """
        last = len(self._records)
        while last and not self._records[last - 1] and last - 1 not in self._stale_records:
            last -= 1
        pairs = zip(self._records[:last], self._words[:last], strict=True)
        return tuple(PageVersions(records, words) for records, words in pairs)

    def take(self, state: "ManagementState") -> dict[str, bytes]:
        """Return the parts that are to be told now; the rest has its turn in the next round."""
        parts: dict[str, bytes] = {}
        for page in sorted(self._stale_records)[:PAGES_PER_ROUND]:
            self._stale_records.discard(page)
            parts[f"r{page}"] = self._show_records(state, page)
            self._stale_words.add(page)
        behind = self._stale_records
        urgent = sorted(self._stale_words - behind)[: 2 * PAGES_PER_ROUND]
        for page in [*urgent, *self._loads_in_turn(behind, urgent)]:
            self._stale_words.discard(page)
            told = self._show_words(state, page)
            if told:
                parts[f"w{page}"] = told
        return parts

    def _loads_in_turn(self, behind: set[int], urgent: list[int]) -> list[int]:
        count = len(self._records)
        found = []
        for _ in range(min(LOADS_PER_ROUND, count)):
            page, self._next_load = self._next_load, (self._next_load + 1) % count
            if self._records[page] and page not in behind and page not in urgent:
                found.append(page)
        return found

    def _show_records(self, state: "ManagementState", page: int) -> bytes:
        nodes = _own_nodes(state, page)
        classes: dict[CapabilityClass, int] = {}
        told = []
        for node in nodes:
            entry = state.identities.entry_of(node.node_id)
            told.append(
                NodeTold(
                    place=node.row % ROWS_PER_SHOWN_PAGE,
                    node_id=node.node_id,
                    epoch=node.epoch,
                    class_index=classes.setdefault(node.capability, len(classes)),
                    slots_max=node.slots_max,
                    key_hash=entry.key_hash if entry is not None else b"",
                )
            )
        self._records[page] = self._next_version()
        self._words[page] = 0
        self._nodes[page] = tuple(node.row for node in nodes)
        self._bytes[page] = b""
        return encode(
            RecordsPage(
                name=state.setup.instance,
                uid=state.setup.instance_uid,
                page=page,
                version=self._records[page],
                classes=tuple(classes),
                nodes=tuple(told),
            )
        )

    def _show_words(self, state: "ManagementState", page: int) -> bytes:
        """Return the words of a page; b"" if they say what was told before."""
        rows, ledger = state.setup.memory.rows, state.setup.memory.ledger
        words = bytearray()
        for row in self._nodes[page]:
            load = unpack_load(rows.load[row])
            running = load.foreign + ledger.held(row)
            words += pack_words(unpack_standing(rows.standing[row]), load, running)
        if self._words[page] and words == self._bytes[page]:
            return b""
        self._bytes[page] = bytes(words)
        self._words[page] = self._next_version()
        return encode(
            WordsPage(
                name=state.setup.instance,
                uid=state.setup.instance_uid,
                page=page,
                version=self._words[page],
                records_version=self._records[page],
                words=bytes(words),
            )
        )


def _own_nodes(state: "ManagementState", page: int) -> "list[Node]":
    first = page * ROWS_PER_SHOWN_PAGE
    found = state.nodes.by_row[first : first + ROWS_PER_SHOWN_PAGE]
    return [node for node in found if node is not None and node.is_live and not node.instance]

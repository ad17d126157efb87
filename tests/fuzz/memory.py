"""What reads shared memory: the catalog under the hands of strangers, and pages that lie."""

import random
from collections.abc import Callable

import msgspec

from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.header import LayoutMismatch, SegmentUnready
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.fleet_index import FleetIndex
from pointsman_shm.snapshot.snapshot import decode_pages, empty_snapshot

Feed = Callable[[bytes], None]

LAYOUT = CatalogLayout(300)
PAGES = (0, 1, 2, LAYOUT.pools, LAYOUT.config)


def writes() -> list[bytes]:
    """Seeds of random writes: 6 bytes each, a place and what is written there."""
    dice = random.Random(5)
    return [dice.randbytes(6 * count) for count in (1, 4, 16, 64)]


class Mapping:
    """A catalog with a reader that is one version behind, where strangers write (S4)."""

    def __init__(self) -> None:
        self.memory = bytearray(LAYOUT.size)
        self.writer = CatalogWriter(self.memory, LAYOUT, create=True)
        self.versions: dict[int, dict[int, bytes]] = {0: {}}
        self.reader = CatalogReader(self.memory, LAYOUT)
        self.known: dict[int, bytes] = {}
        self.publish({page: bytes([page]) * (40 + page) for page in PAGES})

    def publish(self, pages: dict[int, bytes]) -> None:
        version = self.writer.publish(pages, 1)
        newest = self.versions[max(self.versions)] | pages
        # Two are enough for a reader that looks after each; a dict must not grow.
        self.versions = {version - 1: self.versions[max(self.versions)], version: newest}

    def damage(self, data: bytes) -> None:
        """Write at 1 to 64 places where bytes mean something."""
        for at in range(0, min(len(data), 6 * 64) - 5, 6):
            place = int.from_bytes(data[at : at + 4], "little")
            region = self._regions[place % len(self._regions)]
            self.memory[region.start + (place >> 8) % len(region)] = data[at + 5]

    @property
    def _regions(self) -> list[range]:
        found = [range(8 * LAYOUT.directory_at(2))]
        for page in PAGES:
            for slot in (0, 1):
                start = LAYOUT.slot_at(page, slot)
                found.append(range(start, start + 64 + 48 + page))
        return found

    def look(self) -> None:
        """The reader takes a version that was published, or keeps what it had."""
        before = self.reader.version
        changed = self.reader.refresh()
        assert self.reader.version >= before
        if changed is not None:
            self.known = self.known | changed
            assert self.known == self.versions[self.reader.version]
        try:
            CatalogReader(self.memory, LAYOUT).refresh()
        except (LayoutMismatch, SegmentUnready):
            return

    def mend(self) -> None:
        """The manager's patrol: what does not verify is written anew."""
        damaged = self.writer.damaged_pages()
        newest = self.versions[self.writer.version]
        if damaged or not self.writer.is_directory_sound():
            self.publish({page: newest[page] for page in damaged})
        assert not self.writer.damaged_pages()
        assert self.writer.is_directory_sound()
        changed = CatalogReader(self.memory, LAYOUT).refresh()
        assert changed == self.versions[self.writer.version]
        self.look()


def catalog() -> Feed:
    """S4: strangers write; nothing mixed is accepted, nothing crashes, the manager mends it."""
    mapping = Mapping()

    def feed(data: bytes) -> None:
        number = mapping.writer.version
        page = PAGES[number % len(PAGES)]
        mapping.publish({page: bytes([number & 255]) * (40 + page)})
        mapping.damage(data)
        mapping.look()
        mapping.mend()

    return feed


def pages() -> Feed:
    """U3: bytes that got past the checksum are checked all the same."""
    layout = CatalogLayout(1000)

    def feed(data: bytes) -> None:
        for page in (0, layout.node_page_count, layout.pools, layout.config, layout.marks):
            try:
                found, change = decode_pages(
                    empty_snapshot(layout), {page: data}, layout, version=1, published_at_ns=1
                )
            except codec.SnapshotCorrupt:
                continue
            FleetIndex(layout.max_nodes).apply(found, change)

    return feed


def encoded_pages() -> list[bytes]:
    return [b"\x90", b"\x92\x00\x90", msgspec.msgpack.encode([1, 85, {}, {}])]

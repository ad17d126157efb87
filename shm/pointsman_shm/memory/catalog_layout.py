"""Byte layout of the catalog segment.  This file is the format: change it, change LAYOUT.

      word             field            written by
    +-----------------+----------------+--------------------------------------------------------+
    | 0 .. 7          | header         | creator; (birth, boot) in it is the catalog's identity |
    | 16              | version        | writer, last in each publish; 0 = never written        |
    | 24              | beat           | writer, every 100 ms, changed or not: monotonic ns     |
    | 32 ..           | directory 0    | writer, for versions of even number                    |
    | then            | directory 1    | writer, for versions of odd number                     |
    | then, per page  | slot 0, slot 1 | writer: the page's new bytes go to the slot that the   |
    |                 |                | newest directory does not name                         |
    +-----------------+----------------+--------------------------------------------------------+

      directory word       field                       page slot word   field
    +---------------------+--------------------+     +----------------+-------------------------+
    | 0                   | sequence           |     | 0              | sequence: odd = written |
    | 1                   | crc of all below   |     | 1              | version of these bytes  |
    | 2                   | version            |     | 2              | length                  |
    | 3, 4                | birth, boot        |     | 3              | crc of the payload      |
    | 5                   | published at, ns   |     | 4 .. 7         | spare                   |
    | 6                   | page count         |     | 8 ..           | payload                 |
    | 7                   | spare              |     +----------------+-------------------------+
    | 8 + 2 page          | version of the page, 0 = never written                             |
    | 9 + 2 page          | slot 1 bit, length 31 bits, crc 32 bits                            |
    +---------------------+--------------------------------------------------------------------+

Order of a publish: for each changed page its inactive slot (sequence odd, payload, version, length,
CRC, sequence even); then the directory of the new version's parity, in the same way; then the one
store of the version word.  A reader acts only on pages that all equal one directory; a page found
newer sends it to a new directory.  Versions are 64 bits and never used again inside one catalog,
whose identity every directory carries.

The reader's progress depends on publishes that are PUBLISH_INTERVAL_NS apart or more.
"""

import msgspec

from pointsman_shm.memory.header import HEADER_WORDS, Shape

MAGIC = b"pmcatl"
LAYOUT = 1
PUBLISH_INTERVAL_NS = 20_000_000

VERSION = 2 * HEADER_WORDS
BEAT = 3 * HEADER_WORDS
DIRECTORIES = 32
DIRECTORY_HEAD_WORDS = 8
SEQUENCE = 0
DIRECTORY_CRC = 1
DIRECTORY_BODY = 2
SLOT_VERSION, SLOT_LENGTH, SLOT_CRC = 1, 2, 3
SLOT_HEAD_SIZE = 64

PLACE_SLOT_SHIFT = 63
PLACE_LENGTH_SHIFT = 32
PLACE_LENGTH_MASK = 0x7FFFFFFF
PLACE_CRC_MASK = 0xFFFFFFFF

ROWS_PER_NODE_PAGE = 256
CLASSES_PER_PAGE = 64
CLASS_COUNT_MAX = 4096
CLASS_PAGE_COUNT = CLASS_COUNT_MAX // CLASSES_PER_PAGE
SMALL_SLOT_SIZE = 128 * 1024
SINGLE_SLOT_SIZES = (2048 * 1024, 256 * 1024, 256 * 1024, 256 * 1024)
_ALIGNMENT = 4096


class CatalogLayout(msgspec.Struct, frozen=True):
    """Which page holds what, and where its two slots are, for a fleet of at most `max_nodes`."""

    max_nodes: int

    def node_page(self, row: int) -> int:
        """Return the page of a node row."""
        return row // ROWS_PER_NODE_PAGE

    def class_page(self, class_number: int) -> int:
        """Return the page of a capability class."""
        return self.node_page_count + class_number // CLASSES_PER_PAGE

    @property
    def node_page_count(self) -> int:
        """Return the number of node pages; they are pages 0 and up, class pages follow."""
        return -(-self.max_nodes // ROWS_PER_NODE_PAGE)

    @property
    def pools(self) -> int:
        """Return the page of pools and the language index."""
        return self.node_page_count + CLASS_PAGE_COUNT

    @property
    def config(self) -> int:
        """Return the page of the configuration."""
        return self.pools + 1

    @property
    def marks(self) -> int:
        """Return the page of marks."""
        return self.pools + 2

    @property
    def policy(self) -> int:
        """Return the page of policy."""
        return self.pools + 3

    @property
    def page_count(self) -> int:
        """Return the number of all pages."""
        return self.pools + len(SINGLE_SLOT_SIZES)

    def slot_size(self, page: int) -> int:
        """Return the bytes of one slot of a page, its head included."""
        assert 0 <= page < self.page_count, page
        if page < self.pools:
            return SMALL_SLOT_SIZE
        return SINGLE_SLOT_SIZES[page - self.pools]

    def payload_max(self, page: int) -> int:
        """Return how many bytes a page may have."""
        return self.slot_size(page) - SLOT_HEAD_SIZE

    def slot_at(self, page: int, slot: int) -> int:
        """Return the byte offset of slot 0 or 1 of a page."""
        small_count = min(page, self.pools)
        before = 2 * (
            SMALL_SLOT_SIZE * small_count + sum(SINGLE_SLOT_SIZES[: max(0, page - self.pools)])
        )
        return self._slots_at + before + slot * self.slot_size(page)

    @property
    def directory_words(self) -> int:
        """Return the words of one directory, rounded up to a cache line."""
        return -(-(DIRECTORY_HEAD_WORDS + 2 * self.page_count) // 8) * 8

    def directory_at(self, slot: int) -> int:
        """Return the word at which directory 0 or 1 begins."""
        return DIRECTORIES + slot * self.directory_words

    @property
    def _slots_at(self) -> int:
        return -(-8 * self.directory_at(2) // _ALIGNMENT) * _ALIGNMENT

    @property
    def size(self) -> int:
        """Return the bytes of the whole segment."""
        return self._slots_at + 2 * SMALL_SLOT_SIZE * self.pools + 2 * sum(SINGLE_SLOT_SIZES)

    @property
    def shape(self) -> Shape:
        """Return what creator and reader must agree on."""
        return Shape(MAGIC, LAYOUT, self.size, self.max_nodes << 32 | self.page_count)

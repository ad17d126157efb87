"""The writer of the catalog: one process, which holds the segment's lock.

A publish writes only slots and the directory that no reader of the published version needs, and
then stores one word.  So a writer may die at any point: readers keep the version they have, and a
successor takes up the newest version of which everything is whole.  The named crash points are
where a test kills the writer.
"""

from collections.abc import Callable, Mapping
from zlib import crc32

from pointsman_shm.memory.catalog_layout import (
    BEAT,
    DIRECTORY_BODY,
    DIRECTORY_CRC,
    PLACE_LENGTH_SHIFT,
    PLACE_SLOT_SHIFT,
    SEQUENCE,
    SLOT_CRC,
    SLOT_HEAD_SIZE,
    SLOT_LENGTH,
    SLOT_VERSION,
    VERSION,
    CatalogLayout,
)
from pointsman_shm.memory.catalog_slots import (
    NEVER_WRITTEN,
    CatalogDamaged,
    CatalogMemory,
    Directory,
    Entry,
    directory_body,
    map_catalog,
    no_pause,
    read_directory,
    read_page,
)
from pointsman_shm.memory.header import (
    BIRTH,
    OWNER_BOOT,
    WORD_MAX,
    LayoutMismatch,
    SegmentUnready,
    check_header,
    open_words,
    write_header,
)


class PageTooLarge(Exception):
    """A page does not fit its slot; nothing was written."""


class VersionsExhausted(Exception):
    """The last 64-bit version is used; only a new catalog can go on."""


class CatalogWriter:
    """Publishes pages; `version` and `published_at_ns` are those of the last publish."""

    def __init__(
        self,
        buffer: memoryview | bytearray,
        layout: CatalogLayout,
        *,
        create: bool = False,
        crash: Callable[[str], None] = no_pause,
    ) -> None:
        """Create a catalog in zeroed bytes, or take over the one that is there.

        Raises SegmentUnready, LayoutMismatch, or CatalogDamaged when there is nothing whole to
        take over: then the segment has to be made anew.
        """
        view = memoryview(buffer)
        self._shape = layout.shape
        words = open_words(view, self._shape, create=create)
        self._memory = map_catalog(view, words, layout)
        self._layout = layout
        self._directories_at = layout.directory_at(0), layout.directory_at(1)
        self._words = words
        self._view = view
        self._crash = crash
        self.version = 0
        self.published_at_ns = 0
        self._entries: list[Entry] = [NEVER_WRITTEN] * layout.page_count
        self._directory = b""  # the bytes of the one that was published last
        self._directory_crc = 0
        self._next_version = 1
        if not create:
            self._take_over()

    @property
    def identity(self) -> tuple[int, int]:
        """Return (birth, boot) of the catalog, as its readers see it."""
        return self._memory.identity

    def publish(self, changed: Mapping[int, bytes], now_ns: int) -> int:
        """Make all of `changed` visible at once and return the new version.

        An empty mapping publishes a fresh directory.  Raises PageTooLarge or VersionsExhausted,
        both before anything is written.
        """
        version = self._next_version
        if version > WORD_MAX:
            raise VersionsExhausted(f"version {self.version} is the last of this catalog")
        for page, payload in changed.items():
            if len(payload) > self._layout.payload_max(page):
                raise PageTooLarge(
                    f"page {page} has {len(payload)} bytes, its slot holds "
                    f"{self._layout.payload_max(page)}"
                )
        self._crash("catalog-before-slot")
        entries = self._entries.copy()
        for page, payload in changed.items():
            entries[page] = self._write_page(page, payload, version)
        self._write_directory(Directory(version, now_ns, entries))
        self._crash("catalog-before-version")
        self._words[VERSION] = version  # PUBLISH: the directory, and every slot that it names
        self._crash("catalog-after-version")
        self._entries = entries
        self.version = version
        self.published_at_ns = now_ns
        self._next_version = version + 1
        self._words[BEAT] = now_ns
        self._restore_header()
        return version

    def beat(self, now_ns: int) -> None:
        """Say that the writer is alive; every 100 ms, whether anything changed or not."""
        self._words[BEAT] = now_ns

    def pages(self) -> dict[int, bytes]:
        """Return what is published now, read back; pages that no longer verify are missing."""
        found: dict[int, bytes] = {}
        for page, entry in enumerate(self._entries):
            if entry == NEVER_WRITTEN:
                continue
            payload = read_page(self._memory, page, entry, no_pause)
            if payload is not None:
                found[page] = payload
        return found

    def damaged_pages(self, start: int = 0, stop: int | None = None) -> list[int]:
        """Return which published pages of a range no longer verify; publish those anew.

        Reads every byte of the range, about 0.1 ms for a full page, so look in slices.
        """
        return [
            page
            for page, entry in enumerate(self._entries[start:stop], start)
            if entry != NEVER_WRITTEN and read_page(self._memory, page, entry, no_pause) is None
        ]

    def is_directory_sound(self) -> bool:
        """Return whether header, version word and directory still say what was published.

        If not, any publish writes all three anew: an empty one will do.
        """
        try:
            check_header(self._words, self._shape)
        except (SegmentUnready, LayoutMismatch):
            return False
        identity = (self._words[BIRTH], self._words[OWNER_BOOT])
        if identity != self._memory.identity or self._words[VERSION] != self.version:
            return False
        if self.version == 0:
            return True
        # As bytes: to take it apart costs forty times as much, and this is asked at each beat.
        at = self._directories_at[self.version & 1]
        start = 8 * (at + DIRECTORY_BODY)
        is_whole = bytes(self._view[start : start + len(self._directory)]) == self._directory
        crc, sequence = self._words[at + DIRECTORY_CRC], self._words[at + SEQUENCE]
        return is_whole and crc == self._directory_crc and not sequence & 1

    def _write_page(self, page: int, payload: bytes, version: int) -> Entry:
        old_version, old_place = self._entries[page]
        slot = 1 - (old_place >> PLACE_SLOT_SHIFT) if old_version else 0
        at = self._layout.slot_at(page, slot)
        head, start, length = at // 8, at + SLOT_HEAD_SIZE, len(payload)
        middle = length // 2
        crc = crc32(payload)
        odd = self._begin(head)
        self._view[start : start + middle] = payload[:middle]
        self._crash("catalog-mid-payload")
        self._view[start + middle : start + length] = payload[middle:]
        self._words[head + SLOT_VERSION] = version
        self._words[head + SLOT_LENGTH] = length
        self._crash("catalog-before-crc")
        self._words[head + SLOT_CRC] = crc
        self._words[head + SEQUENCE] = (odd + 1) & WORD_MAX
        return version, slot << PLACE_SLOT_SHIFT | length << PLACE_LENGTH_SHIFT | crc

    def _write_directory(self, directory: Directory) -> None:
        body = directory_body(self._memory, directory)
        head = self._layout.directory_at(directory.version & 1)
        start = 8 * (head + DIRECTORY_BODY)
        middle = len(body) // 2
        self._crash("catalog-before-directory")
        odd = self._begin(head)
        self._view[start : start + middle] = body[:middle]
        self._crash("catalog-mid-directory")
        self._view[start + middle : start + len(body)] = body[middle:]
        self._directory, self._directory_crc = body, crc32(body)
        self._words[head + DIRECTORY_CRC] = self._directory_crc
        self._words[head + SEQUENCE] = (odd + 1) & WORD_MAX

    def _restore_header(self) -> None:
        """Store the header again as it is, which mends it should a stranger have written there."""
        self._words[BIRTH], self._words[OWNER_BOOT] = self._memory.identity
        write_header(self._words, self._layout.shape)

    def _begin(self, head: int) -> int:
        """Mark a slot as being written; the new odd number was never there before."""
        odd: int = ((self._words[head + SEQUENCE] + 1) | 1) & WORD_MAX
        self._words[head + SEQUENCE] = odd
        return odd

    def _take_over(self) -> None:
        """Continue from the newest version of which everything is whole.

        A dead writer may have finished all but the version word: then its publish is finished
        here.  If the newest directory names damaged pages and the older one does not, the older
        is continued, under a version that no reader has seen and that spares its directory.
        """
        memory = self._memory
        found = [d for d in (read_directory(memory, 0), read_directory(memory, 1)) if d]
        if not found:
            if self._words[VERSION] != 0:
                raise CatalogDamaged("no directory of the catalog verifies")
            return
        chosen = min(found, key=lambda d: (_damage_count(memory, d), -d.version))
        newest_version = max(d.version for d in found)
        if self._words[VERSION] == newest_version + 1:
            newest_version += 1  # readers may have it, and its directory was damaged since
        self._entries = chosen.entries
        self.version = chosen.version
        self.published_at_ns = chosen.published_at_ns
        self._directory = directory_body(memory, chosen)
        self._directory_crc = crc32(self._directory)
        self._next_version = newest_version + 1
        if self._next_version & 1 == chosen.version & 1:
            self._next_version += 1
        if chosen.version == newest_version:
            self._words[VERSION] = newest_version  # PUBLISH: what the dead writer had prepared


def _damage_count(memory: CatalogMemory, directory: Directory) -> int:
    return sum(
        entry != NEVER_WRITTEN and read_page(memory, page, entry, no_pause) is None
        for page, entry in enumerate(directory.entries)
    )

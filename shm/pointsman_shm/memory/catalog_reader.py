"""A reader of the catalog: drafts pages until all of them equal one directory, never waits.

Checking pages one by one and then noting the version mixes versions (most refreshes did, at full
speed).  So a directory is read first, and a page counts only when its version, place and CRC are
those of that directory.  A page found newer sends the reader to a newer directory; the copies that
the newer one still names stay in the draft, also from one call to the next, and so a fresh reader
of a large catalog catches up with a writer that keeps its cadence.
"""

from collections.abc import Callable

from pointsman_shm.memory.catalog_layout import BEAT, VERSION, CatalogLayout
from pointsman_shm.memory.catalog_slots import (
    NEVER_WRITTEN,
    Directory,
    Entry,
    map_catalog,
    no_pause,
    read_directory,
    read_page,
)
from pointsman_shm.memory.header import open_words

TRIES_MAX = 8


class CatalogReader:
    """One reader's view: `version` and `published_at_ns` are of what was last handed out.

    `retry_count` counts tries that met other bytes than one directory's: a busy writer, or, when
    it grows while the version word stands still, damage.
    """

    def __init__(
        self,
        buffer: memoryview | bytearray,
        layout: CatalogLayout,
        *,
        pause: Callable[[str], None] = no_pause,
    ) -> None:
        """Attach; raises SegmentUnready or LayoutMismatch.  `pause` is called in mid copy."""
        view = memoryview(buffer)
        self._words = open_words(view, layout.shape, create=False)
        self._memory = map_catalog(view, self._words, layout)
        self._pause = pause
        self._entries: list[Entry] = [NEVER_WRITTEN] * layout.page_count
        self._draft: dict[int, tuple[Entry, bytes]] = {}
        self._version_given_up = 0
        self.version = 0
        self.published_at_ns = 0
        self.retry_count = 0

    @property
    def identity(self) -> tuple[int, int]:
        """Return (birth, boot) of the catalog; versions compare only inside one identity."""
        return self._memory.identity

    def version_word(self) -> int:
        """Return the version that the writer published last; one load."""
        version: int = self._words[VERSION]
        return version

    def beat_at_ns(self) -> int:
        """Return the writer's last sign of life; one load."""
        beat_at_ns: int = self._words[BEAT]
        return beat_at_ns

    def refresh(self) -> dict[int, bytes] | None:
        """Return all pages that changed since the last time, as one version published them.

        None when there is nothing new, or when within the bounded tries nothing consistent was
        found: then what was handed out before stays good, and the draft is continued next time.
        """
        version = self._words[VERSION]
        if version == self.version:
            return None
        # A version that could not be read before is damaged or being replaced: look once.
        tries = 1 if version == self._version_given_up else TRIES_MAX
        for _ in range(tries):
            directory = self._newer_directory()
            if directory is not None and self._complete(directory):
                return self._hand_out(directory)
            self.retry_count += 1
        self._version_given_up = version
        return None

    def _newer_directory(self) -> Directory | None:
        """Return the directory that the version word names, if it is whole and newer than ours."""
        version = self._words[VERSION]
        if version <= self.version:
            return None
        directory = read_directory(self._memory, version & 1)
        if directory is None or directory.version != version:
            return None
        return directory

    def _complete(self, directory: Directory) -> bool:
        """Copy into the draft what the directory names and we lack; False at the first misfit."""
        draft = self._draft
        for page, entry in enumerate(directory.entries):
            if entry == self._entries[page]:
                continue
            drafted = draft.get(page)
            if drafted is not None and drafted[0] == entry:
                continue
            payload = read_page(self._memory, page, entry, self._pause)
            if payload is None:
                return False
            draft[page] = (entry, payload)
        return True

    def _hand_out(self, directory: Directory) -> dict[int, bytes]:
        changed = {
            page: self._draft[page][1]
            for page, entry in enumerate(directory.entries)
            if entry != self._entries[page]
        }
        self._entries = directory.entries
        self._draft = {}
        self.version = directory.version
        self.published_at_ns = directory.published_at_ns
        return changed

"""The next segment's room, allocated by a thread before anybody needs it.

(none) -- allocate --> a thread asks the disk --> there --> taken --> (none)
              ^                    | no room, or the journal is as large as it may be
              +-- about a second --+
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pointsman_workers.journal.segment_files import (
    Disk,
    JournalFailed,
    JournalNoRoom,
    Room,
    enlarge_room,
    take_room,
)
from pointsman_workers.journal.syncing import start_thread

RETRY_S = 1.0
ALLOCATION_S_MAX = 60.0  # a disk that takes longer has failed


class RoomAhead:
    """Keeps the room of one segment ready; `room` is there, or None."""

    def __init__(self, directory: Path, disk: Disk, size: int) -> None:
        self.room: Room | None = None
        self._directory = directory
        self._disk = disk
        self._size = size
        self._thread: ThreadPoolExecutor | None = None  # once it has started
        self._asked: Future[Room] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._may_grow: Callable[[], bool]
        self._changed: Callable[[], None]
        self._failed: Callable[[JournalFailed], None]

    def start(
        self,
        may_grow: Callable[[], bool],
        *,
        changed: Callable[[], None],
        failed: Callable[[JournalFailed], None],
    ) -> None:
        """Begin to work on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = start_thread("journal-room")
        self._may_grow, self._changed, self._failed = may_grow, changed, failed
        self.allocate()

    def allocate(self) -> None:
        """See to it that there is room, now or as soon as the disk has some."""
        thread = self._thread
        if thread is None or self._has_enough() or self._asked is not None:
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self._may_grow():
            self._try_later()
            return
        asked = thread.submit(take_room, self._directory, self._size, self._disk)
        self._asked = asked
        asked.add_done_callback(lambda ended: self._loop.call_soon_threadsafe(self._got, ended))

    def take(self, size_min: int) -> Room:
        """Return room of at least this size; asks the disk if there is none.

        Raises JournalFailed when the disk has none either.
        """
        if self._asked is not None:
            self._settle(self._asked)
        room, self.room = self.room, None
        try:
            room = room or take_room(self._directory, self._size, self._disk)
            return enlarge_room(self._directory, room, size_min, self._disk)
        except JournalNoRoom as error:
            raise JournalFailed(str(error)) from error

    def close(self) -> None:
        """Ask no more; the room that is there stays on the disk for a successor."""
        if self._retry is not None:
            self._retry.cancel()
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._thread = None
        if self._asked is not None:
            self._settle(self._asked)
        if self.room is not None:
            os.close(self.room.descriptor)
            self.room = None

    def _got(self, ended: Future[Room]) -> None:
        if ended is not self._asked:  # it was taken at once
            return
        try:
            self._settle(ended)
        except JournalFailed as error:
            self._failed(error)
            return
        if not self._has_enough():
            self._try_later()
        self._changed()

    def _has_enough(self) -> bool:
        """A disk that was nearly full gave less than was asked: it is asked again."""
        return self.room is not None and self.room.size >= self._size

    def _settle(self, asked: Future[Room]) -> None:
        """Wait for the thread.  Raises JournalFailed."""
        self._asked = None
        former, self.room = self.room, None
        if former is not None:  # it was too small: the same file, opened anew and made larger
            os.close(former.descriptor)
        try:
            self.room = asked.result(ALLOCATION_S_MAX)
        except JournalNoRoom:
            return

    def _try_later(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self._loop.call_later(RETRY_S, self._again)

    def _again(self) -> None:
        self._retry = None
        self.allocate()

"""Group commit: who needs the disk itself waits for one sync together with all others.

    write (must_sync) -> gather at most some ms -> one thread: sync -> told -> the next one, if any
    every flush_s: the same, if anything was written since

One sync runs at a time and covers everything that was written when it began.  A sync that fails is
never tried again: the process ends.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from pointsman_workers.journal.segment_files import JournalFailed


def start_thread(name: str) -> ThreadPoolExecutor:
    """Return one thread that runs already, so that it cannot be missing later.

    Raises JournalFailed when the system has no room for it.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        thread.submit(int).result()
    except RuntimeError as error:
        thread.shutdown()
        raise JournalFailed(f"no thread can be started for the journal: {error}") from error
    return thread


class SyncWork(msgspec.Struct, frozen=True):
    """One sync: what the thread does, and what the loop does when it is done."""

    run: Callable[[], None]
    done: Callable[[], None]


class GroupCommit:
    """Decides when to sync.  `begin` returns the work for everything written until then."""

    def __init__(
        self,
        begin: Callable[[], SyncWork],
        *,
        failed: Callable[[JournalFailed], None],
        gather_s: float,
        flush_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._begin = begin
        self._failed = failed
        self._gather_s = gather_s
        self._flush_s = flush_s
        self._thread = start_thread("journal-sync")
        self._running: asyncio.Future[None] | None = None
        self._is_wanted = False  # somebody waits for a sync that has not begun
        self.is_dirty = False  # something was written since the last one began
        self._timer: asyncio.TimerHandle | None = None
        self._flush_timer = self._loop.call_later(flush_s, self._flush)

    def want(self) -> None:
        """Somebody waits for what has been written: sync as soon as others had time to join."""
        self.is_dirty = True
        self._is_wanted = True
        if self._timer is None and self._running is None:
            self._timer = self._loop.call_later(self._gather_s, self._start)

    def _flush(self) -> None:
        self._flush_timer = self._loop.call_later(self._flush_s, self._flush)
        if self.is_dirty and self._running is None and self._timer is None:
            self._start()

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_wanted = self.is_dirty = False
        work = self._begin()
        self._running = self._loop.run_in_executor(self._thread, work.run)
        self._running.add_done_callback(lambda ended: self._ended(ended, work))

    def _ended(self, ended: asyncio.Future[None], work: SyncWork) -> None:
        self._running = None
        if ended.cancelled():
            return
        error = ended.exception()
        if isinstance(error, JournalFailed):
            self._failed(error)
            return
        if error is not None:
            raise error
        work.done()
        if self._is_wanted and self._timer is None:
            self._timer = self._loop.call_later(self._gather_s, self._start)

    def close(self) -> None:
        """Wait for a sync that runs, and plan no other."""
        self._flush_timer.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown(wait=True)

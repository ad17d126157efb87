"""Group commit of the registry: the loop goes on while the disk confirms.

    record ---> waiting --- the thread is free ---> written and fsynced in one go ---> recorded
                  ^                                            |
                  +----- what came meanwhile goes together ----+

One thread writes, in order, everything that waits when it begins.  On a busy disk one fsync takes
longer than hundreds of registrations; on the loop each of them made all heartbeats wait, and nodes
were lost to that.  A disk that fails is not tried again: the process ends.  One that is full is
tried until it has room: who registers waits for that, and all who are in the fleet notice nothing.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from pointsman_sched.core.events import Record, RegistryEntry
from pointsman_shm.state_files import ROOM_RETRY_S, is_no_room


class RegistryHooks(msgspec.Struct, frozen=True):
    """`append` has entries on disk (raises OSError), `recorded` is told up to which record."""

    append: Callable[[tuple[RegistryEntry, ...]], None]
    recorded: Callable[[int], None]
    failed: Callable[[OSError], None]
    say: Callable[[str], None]


class RegistrySync:
    """Takes records on the loop; `close` has the last of them written."""

    def __init__(self, hooks: RegistryHooks) -> None:
        """Start the thread now, so that it cannot be missing later.  Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._hooks = hooks
        self._waiting: list[RegistryEntry] = []  # the core bounds how many may be on their way
        self._number = 0
        self._running: asyncio.Future[None] | None = None
        self._is_over = False
        self._is_full = False  # the disk, as far as we know
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry-sync")
        try:
            self._thread.submit(int).result()
        except RuntimeError as error:
            self._thread.shutdown()
            raise OSError(f"no thread can be started for the registry: {error}") from error

    def record(self, command: Record) -> None:
        """Have these on disk as soon as the thread is free."""
        self._waiting += command.entries
        self._number = command.number
        if self._running is None and not self._is_over:
            self._start()

    def _start(self) -> None:
        entries, self._waiting = tuple(self._waiting), []
        number = self._number
        self._running = self._loop.run_in_executor(self._thread, self._hooks.append, entries)
        self._running.add_done_callback(lambda ended: self._ended(ended, entries, number))

    def _start_again(self) -> None:
        if self._running is None and not self._is_over:
            self._start()

    def _ended(
        self, ended: asyncio.Future[None], entries: tuple[RegistryEntry, ...], number: int
    ) -> None:
        self._running = None
        if ended.cancelled():
            return
        error = ended.exception()
        if is_no_room(error):
            self._wait_for_room(entries, error)
            return
        if isinstance(error, OSError):
            self._is_over = True
            self._hooks.failed(error)
            return
        if error is not None:
            raise error
        if self._is_full:
            self._is_full = False
            self._hooks.say("the disk has room again: nodes can register")
        self._hooks.recorded(number)
        if self._waiting and not self._is_over:
            self._start()

    def _wait_for_room(
        self, entries: tuple[RegistryEntry, ...], error: BaseException | None
    ) -> None:
        self._waiting = [*entries, *self._waiting]
        if not self._is_full:
            self._is_full = True
            self._hooks.say(f"nodes that register wait, the registry cannot be written: {error}")
        self._loop.call_later(ROOM_RETRY_S, self._start_again)

    def close(self) -> None:
        """Wait for the thread, and write what still waits; nobody is told any more."""
        is_sound = not self._is_over
        self._is_over = True
        self._thread.shutdown(wait=True)
        if self._waiting and is_sound and not self._is_full:
            self._hooks.append(tuple(self._waiting))
            self._waiting = []

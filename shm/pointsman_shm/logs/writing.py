"""Writes lines in a thread of its own, so that nobody waits for who reads them (or does not).

A pipe that nobody empties, a full disk and a journald that hangs block the thread alone.  Behind it
is a queue with a bound; a line that does not fit is lost and counted.
"""

import os
import queue
import select
import socket
import threading
from collections.abc import Callable

QUEUE_LINES_MAX = 1_000
CLOSE_S = 0.5
JOURNAL_SOCKET = "/run/systemd/journal/socket"

Write = Callable[[bytes], None]


class LineWriter:
    """Hands lines to `write`, one after another; `write` may block and may raise OSError.

    `end` is called in the thread after the last line.
    """

    def __init__(
        self,
        write: Write,
        lines_max: int = QUEUE_LINES_MAX,
        *,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self._write = write
        self._end = end
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=lines_max)
        self._thread: threading.Thread | None = None
        self._refused_count = 0  # by the queue, counted by whoever offers
        self._failed_count = 0  # by the system, counted by the thread

    @property
    def lost_count(self) -> int:
        """How many lines nobody will read."""
        return self._refused_count + self._failed_count

    def start(self) -> None:
        """Start the thread: early, as a system that is short of room has none for it later."""
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no room for a thread: lines wait, and the next one tries again
            return
        self._thread = thread

    def offer(self, data: bytes) -> None:
        """Have a line written some time, if there is room; returns at once."""
        if self._thread is None:
            self.start()
        try:
            self._lines.put_nowait(data)
        except queue.Full:
            self._refused_count += 1

    def close(self, patience_s: float = CLOSE_S) -> None:
        """Let what is left be written, for as long as this; then leave it."""
        if self._thread is None:
            return
        try:
            self._lines.put(None, timeout=patience_s)
        except queue.Full:
            return
        self._thread.join(patience_s)
        if not self._thread.is_alive():
            self._thread = None

    def _run(self) -> None:
        while (data := self._lines.get()) is not None:
            try:
                self._write(data)
            except OSError:  # the reader is gone, the disk is full: the next line may fare better
                self._failed_count += 1
        self._end()


def to_descriptor(descriptor: int) -> Write:
    """Return what writes to a file, pipe or terminal, past every buffer and lock of Python's."""

    def write(data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:  # somebody else who has it wants it so
                poll = select.poll()
                poll.register(descriptor, select.POLLOUT)
                poll.poll()

    return write


class JournalSender:
    """Sends to journald, a datagram a line.  Raises OSError when it cannot be reached."""

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def write(self, data: bytes) -> None:
        """Send one line; blocks while journald does."""
        try:
            self._socket.send(data)
        except ConnectionError:  # journald was restarted: its socket is another
            self._socket.connect(self._path)
            self._socket.send(data)

    def close(self) -> None:
        """Send no more."""
        self._socket.close()


def is_journal(journal_stream: str, descriptor: int) -> bool:
    """Does the descriptor lead to journald, as JOURNAL_STREAM (device:inode) says?"""
    device, _, inode = journal_stream.partition(":")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))

"""A crowd's connections: sockets on one epoll, and one wheel of timers for all of them.

Timers are as exact as a bucket is wide, which is what lets ten thousand of them cost nothing.
"""

import errno
import os
import select
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable

from _load.lean.sources import Sources

BUCKET_S = 0.02
EVENTS_MAX = 512
READ_BYTES = 65_536

_unpack_prefix = struct.Struct("<II").unpack_from
_PREFIX_BYTES = 8

# Told the connection, a frame's header and its payload.
Take = Callable[["RawConnection", bytes, bytes], None]
# Told why, and how long the server asked to wait.
Lost = Callable[[str, int | None], None]


class Crowd:
    """What all connections of a process share."""

    def __init__(self, server: tuple[str, int], source: str) -> None:
        self.server = server
        self.sources = Sources(source)
        self.epoll = select.epoll()
        self.by_descriptor: dict[int, RawConnection] = {}
        self.told: Counter[str] = Counter()
        self.stall_max_s = 0.0  # the longest that one turn took
        self._buckets: dict[int, list[Callable[[], object]]] = {}
        self._bucket = int(time.monotonic() / BUCKET_S)

    def later(self, delay_s: float, act: Callable[[], object]) -> None:
        """Call `act` then, or up to a bucket later."""
        at = int((time.monotonic() + delay_s) / BUCKET_S) + 1
        self._buckets.setdefault(max(at, self._bucket + 1), []).append(act)

    def turn(self) -> None:
        """Wait for a bucket's time at most, and serve what is there."""
        events = self.epoll.poll(BUCKET_S, EVENTS_MAX)
        began_s = time.monotonic()
        for descriptor, mask in events:
            connection = self.by_descriptor.get(descriptor)
            if connection is not None:
                connection.wake(mask)
        now = int(time.monotonic() / BUCKET_S)
        while self._bucket < now:
            self._bucket += 1
            for act in self._buckets.pop(self._bucket, ()):
                act()
        self.stall_max_s = max(self.stall_max_s, time.monotonic() - began_s)

    def serve(self, answer: Callable[[str], str]) -> None:
        """Obey standard input until it ends."""
        os.set_blocking(sys.stdin.fileno(), False)
        heard = b""
        self.epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        while True:
            self.turn()
            try:
                data = os.read(sys.stdin.fileno(), 4096)
            except BlockingIOError:
                continue
            if not data:
                os._exit(0)  # thousands of farewells would take longer than all of the bench
            *lines, heard = (heard + data).split(b"\n")
            for line in lines:
                print(answer(line.decode()), flush=True)


class RawConnection:
    """One socket; what cannot be sent at once waits for room."""

    __slots__ = (
        "_crowd",
        "_heard",
        "_is_waiting",
        "_lost",
        "_out",
        "_patience",
        "_sock",
        "_take",
        "is_connected",
    )

    def __init__(self, crowd: Crowd, hello: bytes, take: Take, lost: Lost) -> None:
        self.is_connected = False
        self._patience: tuple[float, Callable[[], object]] | None = None
        self._is_waiting = True  # for room to send
        self._crowd = crowd
        self._take = take
        self._lost = lost
        self._heard = b""
        self._out = hello
        sock = self._sock = crowd.sources.next_socket()
        crowd.by_descriptor[sock.fileno()] = self
        crowd.epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        failed = sock.connect_ex(crowd.server)
        if failed not in (0, errno.EINPROGRESS):
            crowd.later(0, lambda: self.lose(errno.errorcode[failed]))

    def limit(self, dial_s: float, answer_s: float, give_up: Callable[[], object]) -> None:
        """Lose it unless it stands by then; call `give_up` so long after it stood."""
        self._patience = (answer_s, give_up)
        self._crowd.later(dial_s, self._give_up_dialling)

    def _give_up_dialling(self) -> None:
        if not self.is_connected:
            self.lose("dial")

    def send(self, data: bytes) -> None:
        """Send it, or what does not fit later."""
        if self._sock.fileno() < 0:
            return
        if self._out or not self.is_connected:
            self._out += data
            return
        self._out = data
        self._push()

    def close(self) -> None:
        """End it; nobody is told."""
        descriptor = self._sock.fileno()
        if descriptor >= 0:
            del self._crowd.by_descriptor[descriptor]
            self._sock.close()

    def lose(self, why: str, asked_ms: int | None = None) -> None:
        """End it, unless it has ended, and tell."""
        if self._sock.fileno() >= 0:
            self.close()
            self._lost(why, asked_ms)

    def wake(self, mask: int) -> None:
        """Serve what epoll says."""
        if mask & (select.EPOLLERR | select.EPOLLHUP) and not self.is_connected:
            self.lose("refused")
            return
        if mask & select.EPOLLOUT:
            self.is_connected = True
            patience, self._patience = self._patience, None
            if patience is not None:
                self._crowd.later(*patience)
            self._push()
        if mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self._read()

    def _push(self) -> None:
        if self._sock.fileno() < 0:
            return
        try:
            self._out = self._out[self._sock.send(self._out) :] if self._out else b""
        except BlockingIOError:
            pass
        except OSError as error:
            self.lose(error.strerror or str(error))
            return
        if bool(self._out) is not self._is_waiting:
            self._is_waiting = bool(self._out)
            wanted = select.EPOLLIN | (select.EPOLLOUT if self._out else 0)
            self._crowd.epoll.modify(self._sock.fileno(), wanted)

    def _read(self) -> None:
        if self._sock.fileno() < 0:
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.lose(error.strerror or str(error))
            return
        if not data:
            self.lose("closed")
            return
        data = self._heard + data
        at, end = 0, len(data)
        while end - at >= _PREFIX_BYTES:
            length, header_bytes = _unpack_prefix(data, at)
            if end - at < 4 + length:
                break
            header_at = at + _PREFIX_BYTES
            at += 4 + length
            header_end = header_at + header_bytes
            self._take(self, data[header_at:header_end], data[header_end:at])
            if self._sock.fileno() < 0:
                return
        self._heard = data[at:]

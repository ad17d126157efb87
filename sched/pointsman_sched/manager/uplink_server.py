"""The manager's end of the unix sockets to its workers: facts come up, hints and orders go down.

One link per worker index; a worker that dials again replaces its older link.  Only processes of
this user are heard.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

from pointsman_sched.core.events import WorkerGone, WorkerSaid
from pointsman_shm.uplink import FromWorker, UplinkMessage, WorkerHello
from pointsman_wire.framing import (
    FrameDecoder,
    FrameError,
    HeaderDecoder,
    MessageError,
    encode_frame,
)
from pointsman_wire.sockets.unix_sockets import (
    NO_DESCRIPTORS,
    close_at,
    is_same_user,
    listen_at,
    rest_without_descriptors,
)

UNSENT_BYTES_MAX = 1024 * 1024


class _Link(asyncio.Protocol):
    """One worker's connection; `index` is -1 until it said hello."""

    def __init__(self, server: "UplinkServer") -> None:
        self.index = -1
        self._server = server
        self._frames = FrameDecoder()
        self._decoder: HeaderDecoder[UplinkMessage] = HeaderDecoder(FromWorker)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for header, _ in self._frames.feed(data):
                self._server.heard(self, self._decoder.decode(header))
        except (FrameError, MessageError):  # not one of our workers, or one of another build
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.lost(self)

    def tell(self, frame: bytes) -> None:
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self.close()  # it does not read: it finds the version word, and dials again
            return
        self._transport.write(frame)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class UplinkServer:
    """Listens at `path`; `post` gets WorkerSaid and WorkerGone."""

    def __init__(self, path: Path, worker_count: int, post: Callable[[object], None]) -> None:
        self._path = path
        self._worker_count = worker_count
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._links: dict[int, _Link] = {}
        self._open: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = listen_at(path)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def tell(self, worker_index: int, message: UplinkMessage) -> None:
        """Send to one worker; nothing when it is away."""
        link = self._links.get(worker_index)
        if link is not None:
            link.tell(encode_frame(message))

    def tell_all(self, message: UplinkMessage) -> None:
        """Send to every worker that is there."""
        frame = encode_frame(message)
        for link in [*self._links.values()]:
            link.tell(frame)

    async def close(self) -> None:
        """Stop listening and hang up."""
        self._loop.remove_reader(self._listener.fileno())
        close_at(self._listener, self._path)
        for link in [*self._open]:
            link.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def heard(self, link: _Link, message: UplinkMessage) -> None:
        """A worker said something; first of all who it is."""
        if isinstance(message, WorkerHello):
            if not 0 <= message.worker_index < self._worker_count:
                link.close()
                return
            former = self._links.get(message.worker_index)
            link.index = message.worker_index
            self._links[link.index] = link
            if former is not None and former is not link:
                former.close()
        if self._links.get(link.index) is link:
            self._post(WorkerSaid(link.index, message))
        else:
            link.close()

    def lost(self, link: _Link) -> None:
        """A link is gone."""
        self._open.discard(link)
        if self._links.get(link.index) is link:
            del self._links[link.index]
            self._post(WorkerGone(link.index))

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:  # it went away again, or descriptors are short
            if error.errno in NO_DESCRIPTORS:
                rest_without_descriptors(self._loop, self._listener, self._accept)
            return
        if not is_same_user(sock) or len(self._open) > 2 * self._worker_count:
            sock.close()
            return
        task = self._loop.create_task(self._attach(sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attach(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        link = _Link(self)
        self._open.add(link)
        try:
            await self._loop.connect_accepted_socket(lambda: link, sock)
        except OSError:  # it broke before it stood
            self._open.discard(link)
            sock.close()

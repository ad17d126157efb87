"""The worker's end of its unix socket to the manager: facts up, orders and hints down.

A manager that is away is no reason to stop: the worker dials again for ever, with full jitter,
and says who it is on each new connection.  What it tells meanwhile is dropped; these are facts
that the manager finds out by itself, or that the worker meets again.
"""

import asyncio
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

from pointsman_shm.uplink import FromManager, UplinkMessage, WorkerHello
from pointsman_wire.framing import (
    FrameDecoder,
    FrameError,
    HeaderDecoder,
    MessageError,
    encode_frame,
)
from pointsman_wire.sockets.unix_sockets import is_same_user

RETRY_FIRST_S = 0.05
RETRY_MAX_S = 1.0
UNSENT_BYTES_MAX = 1024 * 1024


class _Link(asyncio.Protocol):
    """One connection to the manager."""

    def __init__(self, hello: WorkerHello, heard: Callable[[UplinkMessage], None]) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hello = hello
        self._heard = heard
        self._frames = FrameDecoder()
        self._decoder: HeaderDecoder[UplinkMessage] = HeaderDecoder(FromManager)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not is_same_user(cast(socket.socket, transport.get_extra_info("socket"))):
            self._transport.abort()
            return
        self._transport.write(encode_frame(self._hello))

    def data_received(self, data: bytes) -> None:
        try:
            for header, _ in self._frames.feed(data):
                self._heard(self._decoder.decode(header))
        except (FrameError, MessageError):  # not our manager, or one of another build
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def tell(self, message: UplinkMessage) -> bool:
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            return False
        self._transport.write(encode_frame(message))
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Uplink:
    """Keeps one connection to the manager at `path`; `heard` gets what it says."""

    def __init__(
        self, path: Path, hello: WorkerHello, heard: Callable[[UplinkMessage], None]
    ) -> None:
        self._path = path
        self._hello = hello
        self._heard = heard
        self._link: _Link | None = None
        self._loop = asyncio.get_running_loop()
        self._dialling = self._loop.create_task(self._dial_for_ever())

    @property
    def is_up(self) -> bool:
        """Does a connection stand?"""
        return self._link is not None

    def tell(self, message: UplinkMessage) -> bool:
        """Send a fact; False when it was dropped because the manager is away or does not read."""
        return self._link is not None and self._link.tell(message)

    async def close(self) -> None:
        """Hang up and dial no more."""
        self._dialling.cancel()
        await asyncio.gather(self._dialling, return_exceptions=True)

    async def _dial_for_ever(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            try:
                _, link = await self._loop.create_unix_connection(
                    lambda: _Link(self._hello, self._heard), str(self._path)
                )
            except OSError:  # the manager is away
                await asyncio.sleep(random.uniform(0, pause_s))
                pause_s = min(2 * pause_s, RETRY_MAX_S)
                continue
            self._link = link
            stood_since_s = self._loop.time()
            try:
                await link.lost
            finally:
                self._link = None
                link.close()
            if self._loop.time() - stood_since_s > RETRY_MAX_S:
                pause_s = RETRY_FIRST_S
            await asyncio.sleep(random.uniform(0, pause_s))
            pause_s = min(2 * pause_s, RETRY_MAX_S)

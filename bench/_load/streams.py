"""One connection of a load generator or of the floor, batched as the product batches.

All complete frames of a read are told together, and what is queued leaves in one write.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.limits import FRAME_BYTES_MAX
from pointsman_wire.messages import Message
from pointsman_wire.session_messages import ClientHeartbeat

Frames = list[tuple[Message, bytes]]
Take = Callable[["FrameStream", Frames], None]

HEARTBEAT_S = 10.0
PATIENCE_S = 30.0


class FrameStream(asyncio.Protocol):
    """Tells `take` what each read brought; what was put is written by `flush`, or at its end."""

    def __init__(self, union: Any, take: Take, hello: bytes = b"") -> None:
        self._decode = HeaderDecoder[Message](union).decode
        self._feed = FrameDecoder(FRAME_BYTES_MAX).feed
        self._take = take
        self._out = bytearray(hello)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send small writes at once, and the first of them now."""
        self._transport = cast(asyncio.Transport, transport)
        sock = cast(socket.socket, transport.get_extra_info("socket"))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Decode every frame that is complete now."""
        decode = self._decode
        frames = [(decode(header), payload) for header, payload in self._feed(data)]
        if frames:
            self._take(self, frames)

    def connection_lost(self, exc: Exception | None) -> None:
        """Write no more: the other end is over, and with it the bench."""
        self._transport = None

    def put(self, message: Message, payload: bytes = b"") -> None:
        """Queue one frame."""
        self._out += encode_frame(message, payload)

    def flush(self) -> None:
        """Write what is queued."""
        out, self._out = self._out, bytearray()
        if out and self._transport is not None:
            self._transport.write(out)


async def dial(address: str, stream: FrameStream) -> None:
    """Connect a stream to HOST:PORT."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: stream, host, int(port))


def beat(streams: Sequence[FrameStream], interval_s: float = HEARTBEAT_S) -> None:
    """Say on all of these that their client lives, now and from now on; they may change."""
    for stream in streams:
        stream.put(ClientHeartbeat())
        stream.flush()
    asyncio.get_running_loop().call_later(interval_s, beat, streams, interval_s)


async def until(
    changed: asyncio.Event, is_so: Callable[[], bool], patience_s: float = PATIENCE_S
) -> None:
    """Wait until what was read has made it so; who reads sets the event.  Raises TimeoutError."""
    async with asyncio.timeout(patience_s):
        while not is_so():
            changed.clear()
            await changed.wait()

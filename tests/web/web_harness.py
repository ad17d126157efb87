"""A doorway and a driver behind a real port, for clients that speak WebSocket."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from shells.socket_harness import driving

from pointsman_wire.session_messages import ToWorker
from pointsman_wire.sockets.bounds import ConnectionLimits, DriverSettings
from pointsman_wire.sockets.reading import MessageReader
from pointsman_wire.sockets.web.origins import WebSettings
from pointsman_wire.sockets.web.web_connection import web_factory
from pointsman_workers.shell.doorway import Doorway, DoorwayLimits, DoorwayOwners

PROTOCOL = "pointsman.v1"
REQUEST = (
    b"GET /session?id=s-1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_MASK = b"\x11\x22\x33\x44"


class Place:
    """Where to dial, and who was let through."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.given: list[int] = []  # owners elsewhere, each once per connection
        self.doorway: Doorway  # set before anybody sees this

    def url(self, target: str = "/session") -> str:
        return f"http://127.0.0.1:{self.port}{target}"


@dataclass(frozen=True, kw_only=True)
class Hall:
    """How the port is set up; it is worker 0's of so many."""

    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    allowed_origins: tuple[str, ...] = ()
    ping_s: float = 20.0
    workers: int = 1
    has_console: bool = False
    guest_s: float = 5.0


@asynccontextmanager
async def web_place(core: Any, **shape: Any) -> AsyncIterator[Place]:
    """Run `core` behind a port; `shape` are fields of Hall."""
    hall = Hall(**shape)
    web = web_factory(
        WebSettings(MessageReader(ToWorker, msgspec.json), hall.allowed_origins, hall.ping_s)
    )
    settings = DriverSettings(limits=hall.limits, web=web)
    async with driving(core, settings=settings) as driver:
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
            place = Place(listener.getsockname()[1])

            def give(owner: int, sock: Any, _: int, __: object) -> bool:
                place.given.append(owner)
                sock.close()
                return True

            owners = DoorwayOwners(
                worker_index=0,
                worker_count=hall.workers,
                adopt=driver.adopt,
                give=give,
                connection_count=lambda: driver.connection_count,
                has_console=hall.has_console,
            )
            doorway = place.doorway = Doorway(
                listener,
                owners,
                strangers=driver.strangers,
                limits=DoorwayLimits(guest_s=hall.guest_s),
            )
            try:
                yield place
            finally:
                doorway.close()


@asynccontextmanager
async def browser(
    url: str, *, origin: str | None = None, protocols: tuple[str, ...] = (PROTOCOL,)
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket by a library that is not ours."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, origin=origin, protocols=protocols, autoping=True) as opened,
    ):
        yield opened


def binary(message: dict[str, Any], payload: bytes) -> bytes:
    """A binary frame as docs/protocol.md has it, made without our code."""
    header = json.dumps(message).encode()
    return struct.pack("<I", len(header)) + header + payload


def unpacked(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The opposite."""
    (length,) = struct.unpack_from("<I", data)
    return json.loads(data[4 : 4 + length]), data[4 + length :]


async def hear(opened: aiohttp.ClientWebSocketResponse) -> tuple[dict[str, Any], bytes]:
    """The next message and its payload."""
    frame = await opened.receive(timeout=10)
    if frame.type is aiohttp.WSMsgType.TEXT:
        return json.loads(frame.data), b""
    assert frame.type is aiohttp.WSMsgType.BINARY, frame
    return unpacked(frame.data)


def frame(opcode: int, data: bytes, *, is_last: bool = True) -> bytes:
    """A short masked frame, as RFC 6455 draws it."""
    assert len(data) < 126
    masked = bytes(byte ^ _MASK[at % 4] for at, byte in enumerate(data))
    return bytes([opcode | (0x80 if is_last else 0), 0x80 | len(data)]) + _MASK + masked


def large_frame(opcode: int, data: bytes, *, is_last: bool = True) -> bytes:
    """A masked frame of any length, under a mask of zeros: what it holds stands there as it is."""
    first = bytes([opcode | (0x80 if is_last else 0)])
    size = len(data)
    if size < 126:
        return first + bytes([0x80 | size]) + bytes(4) + data
    if size < 65_536:
        return first + b"\xfe" + struct.pack("!H", size) + bytes(4) + data
    return first + b"\xff" + struct.pack("!Q", size) + bytes(4) + data


class RawSocket:
    """A WebSocket without a library, for what no library would send."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def read(self) -> bytes:
        """What comes until the other side has closed."""
        data = b""
        while piece := await asyncio.wait_for(self._loop.sock_recv(self._sock, 4096), 10):
            data += piece
        return data


@asynccontextmanager
async def raw_socket(port: int) -> AsyncIterator[RawSocket]:
    """Upgrade by hand; what the server answers to that is read already."""
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setblocking(False)
        await loop.sock_sendall(sock, REQUEST)
        answer = await asyncio.wait_for(loop.sock_recv(sock, 4096), 10)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        yield RawSocket(sock)

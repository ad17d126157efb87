"""One session over a WebSocket, as cheap as a client can be: no library, and masks of zero.

A mask of zero is one that RFC 6455 allows, and it changes nothing: what is sent is what was made.
The server reads it like any other.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

import msgspec

TEXT, BINARY, PING, PONG = 1, 2, 9, 10
_FIN = 0x80
_MASKED = 0x80
_NO_MASK = bytes(4)
_REQUEST = (
    "GET /session?id={0} HTTP/1.1\r\nHost: {1}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: pointsman.v1\r\n\r\n"
)


class Told(msgspec.Struct, frozen=True):
    """The fields that the bench looks at, of whatever the server says."""

    type: str
    event: str = "INPUT_STARTED"
    utterance_id: str = ""
    request_id: str = ""
    number: int = 0


_decode = msgspec.json.Decoder(Told).decode


def web_frame(opcode: int, data: bytes) -> bytes:
    """Return a whole frame of a client."""
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", _FIN | opcode, _MASKED | size)
    elif size < 65_536:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | 127, size)
    return head + _NO_MASK + data


def message_frame(header: bytes, payload: bytes = b"") -> bytes:
    """Return the frame of a message: JSON, with the payload behind it where there is one."""
    if not payload:
        return web_frame(TEXT, header)
    return web_frame(BINARY, struct.pack("<I", len(header)) + header + payload)


class RawWebSession(asyncio.Protocol):
    """Asks for a WebSocket and a session, answers pings, and tells what comes."""

    def __init__(
        self,
        session_id: str,
        take: Callable[["RawWebSession", Told], None],
        lost: Callable[["RawWebSession"], None],
    ) -> None:
        self.session_id = session_id
        self.stands = asyncio.get_running_loop().create_future()
        self._take = take
        self._lost = lost
        self._backlog = b""
        self._is_web = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket; small writes leave at once."""
        self._transport = cast(asyncio.Transport, transport)
        sock = cast(socket.socket, transport.get_extra_info("socket"))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = "{}:{}".format(*transport.get_extra_info("peername"))
        self._transport.write(_REQUEST.format(self.session_id, host).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell, whether the session stood or not."""
        self._transport = None
        if self.stands.done():
            self._lost(self)
        else:
            self.stands.set_exception(ConnectionRefusedError("ended before its session stood"))

    def data_received(self, data: bytes) -> None:
        """Take the answer to the request, then every frame that is whole."""
        self._backlog += data
        if not self._is_web and not self._upgrade():
            return
        at = 0
        while (found := frame_at(self._backlog, at)) is not None:
            opcode, begin, end = found
            self._frame(opcode, self._backlog[begin:end])
            at = end
        self._backlog = self._backlog[at:]

    def put(self, header: bytes, payload: bytes = b"") -> None:
        """Send a message, unless the connection was ended."""
        if self._transport is not None:
            self._transport.write(message_frame(header, payload))

    def stop_reading(self) -> None:
        """Leave what comes to the kernel, from now on."""
        if self._transport is not None:
            self._transport.pause_reading()

    def _upgrade(self) -> bool:
        head, end, rest = self._backlog.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 101 "):
            assert self._transport is not None
            self._transport.close()
            return False
        self._backlog, self._is_web = rest, True
        init = {
            "type": "session_init",
            "session_id": self.session_id,
            "src_lang": "en",
            "tgt_lang": "es",
        }
        self.put(msgspec.json.encode(init))
        return True

    def _frame(self, opcode: int, data: bytes) -> None:
        if opcode == PING and self._transport is not None:
            self._transport.write(web_frame(PONG, data))
        elif opcode in (TEXT, BINARY):
            if opcode == BINARY:
                (size,) = struct.unpack_from("<I", data)
                data = data[4 : 4 + size]
            told = _decode(data)
            if told.type == "session_init_ack":
                self.stands.set_result(None)
            else:
                self._take(self, told)


def frame_at(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return (opcode, begin, end) of a server's frame, which has no mask; None: not whole."""
    if len(data) < at + 2:
        return None
    size, begin = data[at + 1], at + 2
    if size >= 126:
        form = "!H" if size == 126 else "!Q"
        begin += struct.calcsize(form)
        if len(data) < begin:
            return None
        (size,) = struct.unpack_from(form, data, at + 2)
    end = begin + size
    return (data[at] & 0xF, begin, end) if len(data) >= end else None

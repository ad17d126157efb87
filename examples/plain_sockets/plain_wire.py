"""Pointsman's frames and msgpack headers in plain Python: all that a client or node needs.

Written from docs/protocol.md alone, with the standard library only.
"""

import random
import socket
import struct
import zlib
from typing import Any

SESSION, CONTROL, LANE = 1, 3, 4
FRAME_BYTES_MAX = 2 * 1024 * 1024

NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
NUMBERS |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
# Code -> (kind of value, format of its length).
SIZED = {0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I")}
SIZED |= {0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I")}
SIZED |= {0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I")}
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def pack(value: Any) -> bytes:
    """Return the msgpack form; long forms throughout, as any form will do."""
    match value:
        case None | bool():
            return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
        case int():
            return struct.pack(">Bq", 0xD3, value)
        case float():
            return struct.pack(">Bd", 0xCB, value)
        case str():
            return struct.pack(">BI", 0xDB, len(value.encode())) + value.encode()
        case bytes():
            return struct.pack(">BI", 0xC6, len(value)) + value
        case list() | tuple():
            return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))
        case dict():
            pairs = b"".join(pack(key) + pack(item) for key, item in value.items())
            return struct.pack(">BI", 0xDF, len(value)) + pairs
    raise TypeError(f"{type(value).__name__} cannot travel")


def unpack(data: bytes) -> Any:
    """Return the value of one msgpack form."""
    return _read(data, 0)[0]


def _read(data: bytes, at: int) -> tuple[Any, int]:
    """Return the value that starts at an offset, and the offset behind it."""
    code, at = data[at], at + 1
    if code < 0x80 or code >= 0xE0:
        return (code if code < 0x80 else code - 0x100), at
    if code < 0xC0:
        kind, low = ("map", 0x80) if code < 0x90 else ("list", 0x90)
        kind, low = ("text", 0xA0) if code >= 0xA0 else (kind, low)
        return _read_sized(kind, code - low, data, at)
    if code in CONSTANTS:
        return CONSTANTS[code], at
    if code in NUMBERS:
        form = NUMBERS[code]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    kind, form = SIZED[code]
    (size,) = struct.unpack_from(form, data, at)
    return _read_sized(kind, size, data, at + struct.calcsize(form))


def _read_sized(kind: str, size: int, data: bytes, at: int) -> tuple[Any, int]:
    if kind in ("text", "bytes"):
        raw = data[at : at + size]
        return (raw.decode() if kind == "text" else raw), at + size
    items = []
    for _ in range(size * 2 if kind == "map" else size):
        item, at = _read(data, at)
        items.append(item)
    if kind == "list":
        return items, at
    return dict(zip(items[::2], items[1::2], strict=True)), at


class Refused(Exception):
    """The server answered with an error; `told` is its error_info."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(f"{told['code']}: {told['message']} {told.get('hint', '')}")
        self.told = told


class Connection:
    """One connection: frames out, frames in, blocking."""

    def __init__(self, address: str, role: int, key: int | None = None) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        any_flag = 1 if key is None else 0
        self.socket.sendall(struct.pack("<4sBBHII", b"\xabPMN", 1, role, any_flag, key or 0, 0))

    def send(self, type_name: str, payload: bytes = b"", **fields: Any) -> None:
        """Send one frame."""
        header = pack({"type": type_name, **fields})
        words = struct.pack("<II", 4 + len(header) + len(payload), len(header))
        self.socket.sendall(words + header + payload)

    def receive(self, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """Return the next frame; TimeoutError keeps what has come of it so far."""
        self.socket.settimeout(timeout_s)
        while (frame := self._whole_frame()) is None:
            data = self.socket.recv(65_536)
            if not data:
                raise ConnectionError("the server ended the connection")
            self.buffer += data
        return frame

    def _whole_frame(self) -> tuple[dict[str, Any], bytes] | None:
        if len(self.buffer) < 8:
            return None
        length, header_bytes = struct.unpack_from("<II", self.buffer)
        if length + 4 > FRAME_BYTES_MAX or header_bytes > length - 4:
            raise ConnectionError("the stream of frames is broken")
        if len(self.buffer) < length + 4:
            return None
        header, payload = (
            self.buffer[8 : 8 + header_bytes],
            self.buffer[8 + header_bytes : 4 + length],
        )
        self.buffer = self.buffer[4 + length :]
        return unpack(header), payload

    def close(self) -> None:
        """End the connection, also while another thread waits in receive()."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was faster
        self.socket.close()


def session_key(session_id: str) -> int:
    """Return the key of a session's preamble."""
    return zlib.crc32(session_id.encode())


def wait_s(first_s: float, cap_s: float, failures: int) -> float:
    """Return how long to wait before dialling again: full jitter."""
    return random.uniform(0, min(cap_s, first_s * 2 ** min(failures, 16)))

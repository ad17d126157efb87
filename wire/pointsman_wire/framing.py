"""Frames: how messages and their payloads lie on a byte stream.

      offset  size  field
    +-------+-----+----------------------------------------------------+
    |     0 |   4 | length: bytes that follow this word                |
    |     4 |   4 | header length                                      |
    |     8 |   h | header: one msgpack map with a `type` (a Message)  |
    |   8+h |   p | payload: raw bytes, never decoded on the way       |
    +-------+-----+----------------------------------------------------+

Both words are little-endian.  A length is judged before anything is allocated for it.  Frames
that lie whole in one read are cut from it; a frame larger than its first read is gathered in
one buffer of exactly its size, so a megabyte arriving in pieces is copied once.
"""

import struct
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from pointsman_wire.limits import FRAME_BYTES_MAX, HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX
from pointsman_wire.messages import Message

PREFIX_BYTES = 8
LENGTH_BYTES = 4

_PREFIX = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode

M = TypeVar("M", bound=Message)


class FrameError(Exception):
    """The byte stream is broken: nothing after this can be trusted; close the connection."""


class FrameTooLarge(FrameError):
    """A length is above its bound."""


class MessageError(Exception):
    """One frame's header is not a message we know; the stream itself is intact.

    `name` is the message's type when it could be read, else "".
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"message {name or '(no type)'}: {reason}")
        self.name = name
        self.reason = reason


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """Stands in a decoded batch for a frame whose header was no message we know."""

    name: str
    reason: str


def encode_frame(message: Message, payload: bytes = b"") -> bytes:
    """Return one whole frame.  Raises FrameTooLarge when payload or header is above its bound."""
    header = _encode(message)
    header_bytes = len(header)
    payload_bytes = len(payload)
    if payload_bytes > PAYLOAD_BYTES_MAX or header_bytes > HEADER_BYTES_MAX - PREFIX_BYTES:
        raise FrameTooLarge(
            f"payload of {payload_bytes} bytes (at most {PAYLOAD_BYTES_MAX}), "
            f"header of {header_bytes} bytes (at most {HEADER_BYTES_MAX - PREFIX_BYTES})"
        )
    prefix = _PREFIX.pack(LENGTH_BYTES + header_bytes + payload_bytes, header_bytes)
    return b"".join((prefix, header, payload)) if payload_bytes else prefix + header


class _TypeOnly(msgspec.Struct):
    type: str = ""


_decode_type = msgspec.msgpack.Decoder(_TypeOnly).decode


class HeaderDecoder(Generic[M]):
    """Turns header bytes into one of the messages of a union."""

    def __init__(self, union: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(union).decode

    def decode(self, header: bytes) -> M:
        """Return the message.  Raises MessageError with the type's name and what is wrong."""
        try:
            return self._decode(header)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            reason = str(error) or type(error).__name__
        try:
            name = _decode_type(header).type
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            name = ""
        raise MessageError(name[:64], reason)


class FrameDecoder:
    """Cuts a byte stream into (header, payload) pairs; knows no messages and does no I/O.

    `frame_bytes_max` is the bound on a frame's length; before a peer is known it is the
    handshake's bound and is raised with `frame_bytes_max = ...` later.
    """

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._rest = b""  # what is left of earlier reads: less than one prefix or one frame
        self._large = bytearray()  # the gathering buffer of a frame larger than a read
        self._filled = 0  # bytes of _large that have arrived; 0 while no frame is gathered

    @property
    def is_mid_frame(self) -> bool:
        """Has a frame begun that is not complete?  Its arrival must have a deadline."""
        return bool(self._rest) or self._filled > 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take what was read and yield every frame that is now complete, as bytes.

        Raises FrameTooLarge or FrameError; the connection is then of no more use.
        """
        if self._filled:
            data = self._gather(data)
            if self._filled < len(self._large):
                return
            whole = bytes(self._large)
            self._large, self._filled = bytearray(), 0
            yield self._split(whole)
        if self._rest:
            data = self._rest + data
            self._rest = b""
        yield from self._cut(data)

    def _cut(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        offset = 0
        end = len(data)
        while end - offset >= PREFIX_BYTES:
            length, header_bytes = _PREFIX.unpack_from(data, offset)
            self._check(length, header_bytes)
            after = offset + LENGTH_BYTES + length
            if after > end:
                self._large = bytearray(LENGTH_BYTES + length)
                self._filled = end - offset
                self._large[: self._filled] = memoryview(data)[offset:]
                return
            payload_at = offset + PREFIX_BYTES + header_bytes
            yield data[offset + PREFIX_BYTES : payload_at], data[payload_at:after]
            offset = after
        self._rest = data[offset:]

    def _gather(self, data: bytes) -> bytes:
        """Move bytes into the gathering buffer; return those that belong to the next frame."""
        missing = len(self._large) - self._filled
        taken = data[:missing]
        self._large[self._filled : self._filled + len(taken)] = taken
        self._filled += len(taken)
        return data[missing:]

    def _split(self, frame: bytes) -> tuple[bytes, bytes]:
        (header_bytes,) = struct.unpack_from("<I", frame, LENGTH_BYTES)
        payload_at = PREFIX_BYTES + header_bytes
        return frame[PREFIX_BYTES:payload_at], frame[payload_at:]

    def _check(self, length: int, header_bytes: int) -> None:
        if LENGTH_BYTES + length > self.frame_bytes_max:
            raise FrameTooLarge(
                f"a frame of {LENGTH_BYTES + length} bytes was announced, "
                f"at most {self.frame_bytes_max} are taken here"
            )
        if header_bytes > length - LENGTH_BYTES:
            raise FrameError(
                f"a header of {header_bytes} bytes cannot lie in a frame of length {length}"
            )
        if length - LENGTH_BYTES - header_bytes > PAYLOAD_BYTES_MAX:
            raise FrameTooLarge(
                f"a payload of {length - LENGTH_BYTES - header_bytes} bytes was announced, "
                f"at most {PAYLOAD_BYTES_MAX} are taken"
            )

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
one buffer of exactly its size, so a megabyte arriving in pieces is copied into that buffer and
out of it, however many pieces there were.
"""

import struct
from collections.abc import Iterator
from typing import Annotated, Any, Generic, TypeVar, get_args

import msgspec

from pointsman_wire.limits import (
    FRAME_BYTES_MAX,
    HEADER_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    REQUEST_ID_LENGTH_MAX,
)

PREFIX_BYTES = 8
LENGTH_BYTES = 4

_PREFIX = struct.Struct("<II")
# A full header and a full payload make exactly the largest frame.
_HEADER_BYTES_MAX = HEADER_BYTES_MAX - PREFIX_BYTES
_encode = msgspec.msgpack.Encoder().encode

# What a peer sent may stand in a reason, and a reason in an answer and a log.
REASON_LENGTH_MAX = 256
NAME_LENGTH_MAX = 64

M = TypeVar("M", bound=msgspec.Struct)


class FrameError(Exception):
    """The byte stream is broken: nothing after this can be trusted; close the connection."""


class FrameTooLarge(FrameError):
    """A length is above its bound."""


class MessageError(Exception):
    """One frame's header is not a message we know; the stream itself is intact.

    `name` is the message's type when it could be read, else "".
    """

    def __init__(self, unread: "Unreadable") -> None:
        super().__init__(f"message {unread.name or '(no type)'}: {unread.reason}")
        self.unread = unread
        self.name = unread.name
        self.reason = unread.reason


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """Stands in a decoded batch for a frame whose header was no message we know."""

    name: str
    reason: str
    # Of what a client asked for, where they could be read: it waits for an answer under them.
    session_number: int = 0
    request_id: str = ""
    ref: int = 0

    @property
    def words(self) -> str:
        """What is wrong, for its sender."""
        return f"message {self.name or '(no type)'} cannot be read: {self.reason}"


def encode_frame(message: msgspec.Struct, payload: bytes = b"") -> bytes:
    """Return one whole frame.  Raises FrameTooLarge when payload or header is above its bound."""
    header = _encode(message)
    header_bytes = len(header)
    payload_bytes = len(payload)
    if payload_bytes > PAYLOAD_BYTES_MAX or header_bytes > _HEADER_BYTES_MAX:
        raise FrameTooLarge(
            f"payload of {payload_bytes} bytes (at most {PAYLOAD_BYTES_MAX}), "
            f"header of {header_bytes} bytes (at most {_HEADER_BYTES_MAX})"
        )
    prefix = _PREFIX.pack(LENGTH_BYTES + header_bytes + payload_bytes, header_bytes)
    return b"".join((prefix, header, payload)) if payload_bytes else prefix + header


class _TypeOnly(msgspec.Struct):
    type: str = ""


class _Asked(msgspec.Struct):
    session_number: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    request_id: Annotated[str, msgspec.Meta(max_length=REQUEST_ID_LENGTH_MAX)] = ""
    utterance_id: Annotated[str, msgspec.Meta(max_length=REQUEST_ID_LENGTH_MAX)] = ""
    ref: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0


# What decoding raises for bytes that are no message; deep nesting ends in RecursionError, well
# before the stack does.
UNDECODABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class HeaderDecoder(Generic[M]):
    """Turns header bytes into one of the messages of a union.

    `codec` is the module of msgspec for the encoding: msgpack, or json as browsers send it.
    """

    def __init__(self, union: Any, codec: Any = msgspec.msgpack) -> None:
        self._decode = codec.Decoder(union).decode
        self._decode_type = codec.Decoder(_TypeOnly).decode
        self._decode_asked = codec.Decoder(_Asked).decode
        members = get_args(union) or (union,)
        self._names = [str(member.__struct_config__.tag) for member in members]

    def decode(self, header: bytes) -> M:
        """Return the message.  Raises MessageError with the type's name and what is wrong."""
        try:
            return self._decode(header)  # type: ignore[no-any-return]
        except UNDECODABLE as error:
            reason = str(error) or type(error).__name__
            raise MessageError(self.unread(header, reason)) from None

    def unread(self, header: bytes, reason: str) -> Unreadable:
        """Return what stands for a header that is not taken."""
        try:
            name = self._decode_type(header).type
        except UNDECODABLE:
            name = ""
        if name and name not in self._names:
            reason = f"is not known here; known are {', '.join(self._names)}"
        try:
            asked = self._decode_asked(header)
        except UNDECODABLE:
            asked = _Asked()
        return Unreadable(
            name[:NAME_LENGTH_MAX],
            reason[:REASON_LENGTH_MAX],
            session_number=asked.session_number,
            request_id=asked.request_id or asked.utterance_id,
            ref=asked.ref,
        )


class FrameDecoder:
    """Cuts a byte stream into (header, payload) pairs; knows no messages and does no I/O.

    `frame_bytes_max` is the bound on a frame's length; before a peer is known it is the
    handshake's bound and is raised with `frame_bytes_max = ...` later.
    """

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._rest = b""  # less than one prefix, left over from earlier reads
        self._large = bytearray()  # the gathering buffer of a frame larger than a read
        self._filled = 0  # bytes of _large that have arrived; 0 while no frame is gathered

    @property
    def is_mid_frame(self) -> bool:
        """Has a frame begun that is not complete?  Its arrival must have a deadline."""
        return bool(self._rest) or self._filled > 0

    @property
    def missing(self) -> int:
        """Bytes that complete the begun frame, or first its prefix; 0 between frames.

        Feeding at most so many yields that frame alone, and leaves what follows to the caller.
        """
        if self._filled:
            return len(self._large) - self._filled
        return PREFIX_BYTES - len(self._rest) if self._rest else 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take what was read and yield every frame that is now complete, as bytes.

        A generator: walk it to its end before the next feed, or frames are lost.  The bound may
        be raised between two frames of one read.  Raises FrameTooLarge or FrameError, after the
        good frames that came before; the connection is then of no more use.
        """
        offset = 0
        if self._filled:
            offset = self._gather(data)
            if self._filled < len(self._large):
                return
            large, self._large, self._filled = self._large, bytearray(), 0
            yield _split(large)
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        end = len(data)
        while end - offset >= PREFIX_BYTES:
            length, header_bytes = _PREFIX.unpack_from(data, offset)
            after = offset + LENGTH_BYTES + length
            payload_at = offset + PREFIX_BYTES + header_bytes
            if not self._is_fine(length, header_bytes):
                raise self._fault(length, header_bytes)
            if after > end:
                self._large = bytearray(LENGTH_BYTES + length)
                self._filled = end - offset
                self._large[: self._filled] = memoryview(data)[offset:]
                return
            yield data[offset + PREFIX_BYTES : payload_at], data[payload_at:after]
            offset = after
        self._rest = data[offset:]

    def _gather(self, data: bytes) -> int:
        """Move bytes into the gathering buffer; return how many were taken."""
        taken = min(len(self._large) - self._filled, len(data))
        self._large[self._filled : self._filled + taken] = memoryview(data)[:taken]
        self._filled += taken
        return taken

    def _is_fine(self, length: int, header_bytes: int) -> bool:
        return (
            LENGTH_BYTES + length <= self.frame_bytes_max
            and header_bytes <= _HEADER_BYTES_MAX
            and 0 <= length - LENGTH_BYTES - header_bytes <= PAYLOAD_BYTES_MAX
        )

    def _fault(self, length: int, header_bytes: int) -> FrameError:
        if LENGTH_BYTES + length > self.frame_bytes_max:
            return FrameTooLarge(
                f"a frame of {LENGTH_BYTES + length} bytes was announced, "
                f"at most {self.frame_bytes_max} are taken here"
            )
        if header_bytes > length - LENGTH_BYTES:
            return FrameError(
                f"a header of {header_bytes} bytes cannot lie in a frame of length {length}"
            )
        return FrameTooLarge(
            f"a header of {header_bytes} bytes (at most {_HEADER_BYTES_MAX}) and a payload of "
            f"{length - LENGTH_BYTES - header_bytes} bytes (at most {PAYLOAD_BYTES_MAX}) "
            "were announced"
        )


def _split(frame: bytearray) -> tuple[bytes, bytes]:
    _, header_bytes = _PREFIX.unpack_from(frame)
    payload_at = PREFIX_BYTES + header_bytes
    view = memoryview(frame)
    return bytes(view[PREFIX_BYTES:payload_at]), bytes(view[payload_at:])

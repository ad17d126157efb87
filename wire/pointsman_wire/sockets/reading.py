"""Decodes the headers that one role receives; what is no message becomes an Unreadable."""

import struct
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from pointsman_wire.framing import (
    LENGTH_BYTES,
    PREFIX_BYTES,
    UNDECODABLE,
    FrameError,
    HeaderDecoder,
    MessageError,
    Unreadable,
)
from pointsman_wire.limits import HEADER_TAKEN_BYTES_MAX
from pointsman_wire.messages import Message
from pointsman_wire.sockets.bounds import ConnectionLimits

_pack_prefix = struct.Struct("<II").pack


# How a read begins that is exactly one frame without a payload, by its size; 8 bytes are none yet.
LONE_BYTES_MAX = 512
LONE_PREFIXES = (
    *[b"\xff" * PREFIX_BYTES] * (PREFIX_BYTES + 1),
    *(
        _pack_prefix(size - LENGTH_BYTES, size - PREFIX_BYTES)
        for size in range(PREFIX_BYTES + 1, LONE_BYTES_MAX + 1)
    ),
)


def lone_message(
    data: bytes, decode: Callable[[bytes], Message], length_max: int
) -> Message | None:
    """Return the message of a read that begins as its size in LONE_PREFIXES says; None for none.

    What is too long or no message is left to who cuts frames out of a stream.
    """
    if len(data) - LENGTH_BYTES > length_max:
        return None
    try:
        return decode(data[PREFIX_BYTES:])
    except UNDECODABLE:
        return None


class HeaderReader(Protocol):
    """Decodes headers: `decode` raises what UNDECODABLE names, `read` never does."""

    decode: Callable[[bytes], Message]

    def read(self, header: bytes) -> Message | Unreadable: ...


class PatientReader:
    """Reads what may be no message: many such in a short time are no stream of frames."""

    def __init__(
        self, reader: HeaderReader, limits: ConnectionLimits, clock: Callable[[], float]
    ) -> None:
        self._reader = reader
        self._limits = limits
        self._clock = clock
        self._unreadable = 0.0  # what the peer sent that was no message, less what time forgave
        self._forgiven_at = 0.0

    def read(self, header: bytes) -> Message | Unreadable:
        """Return the message, or what stands for none.  Raises FrameError for one too many."""
        message = self._reader.read(header)
        if isinstance(message, Unreadable) and self._is_lost(self._clock()):
            raise FrameError(f"{self._limits.unreadable_max} frames in a row were no messages")
        return message

    def _is_lost(self, now_s: float) -> bool:
        """One more has come: is that too many in too short a time?"""
        forgiven = (now_s - self._forgiven_at) * self._limits.unreadable_forgiven_a_second
        self._unreadable = max(0.0, self._unreadable - forgiven) + 1
        self._forgiven_at = now_s
        return self._unreadable > self._limits.unreadable_max


class MessageReader:
    """Decodes headers of one union; `decode` is msgspec's own, for loops that run per frame.

    `codec` is as HeaderDecoder has it.
    """

    def __init__(
        self, union: Any, codec: Any = msgspec.msgpack, bytes_max: int = HEADER_TAKEN_BYTES_MAX
    ) -> None:
        self.decode: Callable[[bytes], Message] = codec.Decoder(union).decode
        self._bytes_max = bytes_max
        self._careful: HeaderDecoder[Message] = HeaderDecoder(union, codec)

    def read(self, header: bytes) -> Message | Unreadable:
        """Return the message, or what stands for one that is not of the union."""
        if len(header) > self._bytes_max:
            reason = f"a header of {len(header)} bytes, at most {self._bytes_max} are taken"
            return self._careful.unread(header, reason)
        try:
            return self._careful.decode(header)
        except MessageError as error:
            return error.unread

"""Messages as WebSocket frames: JSON, with the payload behind it where there is one.

      a text frame                      a binary frame
    +---------------------------+     +---+---------------------------+----------------+
    | {"type": "...", ...}      |     | h | {"type": "...", ...}      | payload, bytes |
    +---------------------------+     +---+---------------------------+----------------+
                                       u32, little-endian: bytes of the JSON

The fields and their names are those of the binary protocol; bytes inside JSON are base64.
"""

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from pointsman_wire.framing import (
    NAME_LENGTH_MAX,
    REASON_LENGTH_MAX,
    FrameError,
    MessageError,
    Unreadable,
)
from pointsman_wire.messages import Message
from pointsman_wire.sockets.reading import HEADER_TAKEN_BYTES_MAX, UNDECODABLE

if TYPE_CHECKING:
    from websockets.typing import Subprotocol

SUBPROTOCOL = cast("Subprotocol", "pointsman.v1")

_LENGTH = struct.Struct("<I")
_encode = msgspec.json.Encoder().encode


class _TypeOnly(msgspec.Struct):
    type: str = ""


_decode_type = msgspec.json.Decoder(_TypeOnly).decode


def choose_subprotocol(_: object, offered: "Sequence[Subprotocol]") -> "Subprotocol | None":
    """Speak ours to whoever offers it, and to whoever offers nothing."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def encode_web_message(message: Message, payload: bytes) -> tuple[bool, bytes]:
    """Return (is it a text frame, what it holds)."""
    header = _encode(message)
    if not payload:
        return True, header
    return False, b"".join((_LENGTH.pack(len(header)), header, payload))


def split_binary(data: bytes) -> tuple[bytes, bytes]:
    """Return header and payload of a binary frame.  Raises FrameError when it is none."""
    if len(data) < _LENGTH.size:
        raise FrameError("a binary frame begins with the length of its JSON, as 4 bytes")
    (length,) = _LENGTH.unpack_from(data)
    end = _LENGTH.size + length
    if end > len(data):
        raise FrameError(f"{length} bytes of JSON do not fit in a frame of {len(data)}")
    return data[_LENGTH.size : end], data[end:]


class JsonReader:
    """Decodes the JSON of one union of messages; what is no message becomes an Unreadable."""

    def __init__(self, union: Any) -> None:
        self.decode: Callable[[bytes], Message] = msgspec.json.Decoder(union).decode
        names = (str(member.__struct_config__.tag) for member in union.__args__)
        self._names = frozenset(names)

    def read(self, header: bytes) -> Message | Unreadable:
        """Return the message, or what stands for one that is not of the union."""
        if len(header) > HEADER_TAKEN_BYTES_MAX:
            reason = f"JSON of {len(header)} bytes, at most {HEADER_TAKEN_BYTES_MAX} are taken"
            return Unreadable("", reason)
        try:
            return self.decode(header)
        except UNDECODABLE as error:
            found = self._fault(header, error)
            return Unreadable(found.name, found.reason)

    def _fault(self, header: bytes, error: Exception) -> MessageError:
        try:
            name = _decode_type(header).type
        except UNDECODABLE:
            name = ""
        if name and name not in self._names:
            reason = f"is not known here; known are {', '.join(sorted(self._names))}"
        else:
            reason = str(error) or type(error).__name__
        return MessageError(name[:NAME_LENGTH_MAX], reason[:REASON_LENGTH_MAX])

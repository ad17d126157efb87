"""Messages as WebSocket frames: JSON, with the payload behind it where there is one.

      a text frame                      a binary frame
    +---------------------------+     +---+---------------------------+----------------+
    | {"type": "...", ...}      |     | h | {"type": "...", ...}      | payload, bytes |
    +---------------------------+     +---+---------------------------+----------------+
                                       u32, little-endian: bytes of the JSON

The fields and their names are those of the binary protocol; bytes inside JSON are base64.
"""

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import msgspec

from pointsman_wire.framing import FrameError
from pointsman_wire.messages import Message

if TYPE_CHECKING:
    from websockets.typing import Subprotocol

SUBPROTOCOL = cast("Subprotocol", "pointsman.v1")

_LENGTH = struct.Struct("<I")
_encode = msgspec.json.Encoder().encode


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

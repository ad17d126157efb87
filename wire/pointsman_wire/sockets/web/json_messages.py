"""Messages as WebSocket frames: JSON, with the payload behind it where there is one.

      a text frame                      a binary frame
    +---------------------------+     +---+---------------------------+----------------+
    | {"type": "...", ...}      |     | h | {"type": "...", ...}      | payload, bytes |
    +---------------------------+     +---+---------------------------+----------------+
                                       u32, little-endian: bytes of the JSON

The fields and their names are those of the binary protocol; bytes inside JSON are base64.

JSON is longer than msgpack: a quotation mark is two bytes there, a control character six.  So what
fits a frame of the binary protocol may be too long here.
"""

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import msgspec
from msgspec.structs import replace

from pointsman_wire.errors import Code, Fault
from pointsman_wire.framing import FrameError
from pointsman_wire.limits import FRAME_BYTES_MAX, HEADER_TAKEN_BYTES_MAX
from pointsman_wire.messages import Message, error_info
from pointsman_wire.session_messages import Partial, Result

if TYPE_CHECKING:
    from websockets.typing import Subprotocol

SUBPROTOCOL = cast("Subprotocol", "pointsman.v1")

# Of what a client sends, before the session's number is in it.
JSON_BYTES_MAX = HEADER_TAKEN_BYTES_MAX - 504
_HINT = "Let the handler put what is large into the payload, or connect without ws://."

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


def encode_what_fits(message: Message, payload: bytes) -> tuple[bool, bytes] | None:
    """Do as encode_web_message, for a peer that takes no more than a frame's bytes.

    A result that has more is told as a failure that says so, and a piece of one not at all: whoever
    was sent it would hang up, come back, and be sent it again.
    """
    is_text, data = encode_web_message(message, payload)
    if len(data) <= FRAME_BYTES_MAX or type(message) not in (Result, Partial):
        return is_text, data
    if type(message) is not Result:
        return None
    words = f"the result has {len(data)} bytes, its meta as JSON, at most {FRAME_BYTES_MAX}"
    error = error_info(Code.INVALID_MESSAGE, f"{words} travel over WebSocket")
    error = replace(error, fault=Fault.NODE.value, hint=_HINT)
    told = replace(message, status="failed", content_type="", meta=None, error=error)
    return encode_web_message(told, b"")


def json_bytes(message: object) -> int:
    """Return how many bytes of JSON a message has beside its payload."""
    return len(_encode(message))


def split_binary(data: bytes) -> tuple[bytes, bytes]:
    """Return header and payload of a binary frame.  Raises FrameError when it is none."""
    if len(data) < _LENGTH.size:
        raise FrameError("a binary frame begins with the length of its JSON, as 4 bytes")
    (length,) = _LENGTH.unpack_from(data)
    end = _LENGTH.size + length
    if end > len(data):
        raise FrameError(f"{length} bytes of JSON do not fit in a frame of {len(data)}")
    return data[_LENGTH.size : end], data[end:]

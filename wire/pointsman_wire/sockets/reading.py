"""Decodes the headers that one role receives; what is no message becomes an Unreadable."""

from collections.abc import Callable
from typing import Any

import msgspec

from pointsman_wire.framing import HeaderDecoder, MessageError, Unreadable
from pointsman_wire.messages import Message

# A relayed header grows by what is added to it, so less is taken in than may be sent on.
HEADER_TAKEN_BYTES_MAX = 896 * 1024
UNDECODABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class MessageReader:
    """Decodes headers of one union; `decode` is msgspec's own, for loops that run per frame."""

    def __init__(self, union: Any) -> None:
        self.decode: Callable[[bytes], Message] = msgspec.msgpack.Decoder(union).decode
        self._careful: HeaderDecoder[Message] = HeaderDecoder(union)

    def read(self, header: bytes) -> Message | Unreadable:
        """Return the message, or what stands for one that is not of the union."""
        if len(header) > HEADER_TAKEN_BYTES_MAX:
            reason = f"a header of {len(header)} bytes, at most {HEADER_TAKEN_BYTES_MAX} are taken"
            return Unreadable("", reason)
        try:
            return self._careful.decode(header)
        except MessageError as error:
            return Unreadable(error.name, error.reason)

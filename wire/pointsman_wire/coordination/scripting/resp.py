"""What Redis reads and writes (RESP), packed and read by hiredis, in C."""

from typing import Any, cast

import hiredis

from pointsman_wire.coordination.errors import refusal

Command = tuple[str | int | float | bytes, ...]


class Garbled(Exception):
    """What came is not what Redis writes."""


def pack(words: Command) -> bytes:
    """A command as it is sent."""
    packed: bytes = hiredis.pack_command(cast(Any, words))
    return packed


class Incoming:
    """Replies out of bytes that come in pieces; refusals are values like others."""

    def __init__(self) -> None:
        # Any: hiredis' types expect refusals to be exceptions.
        self._reader = hiredis.Reader(replyError=cast(Any, refusal))
        self.feed = self._reader.feed
        self.has_more = self._reader.has_data

    def take(self, count: int, into: list[object]) -> bool:
        """Append replies until there are so many; False when not enough have come.

        Raises Garbled.
        """
        gets = self._reader.gets
        try:
            while len(into) < count:
                reply = gets()
                if reply is False:
                    return False
                into.append(reply)
        except hiredis.HiredisError as error:
            raise Garbled(str(error)) from error
        return True

"""Peers that do not read what they are sent: who they are, and what a driver does about them."""

from collections.abc import Iterable
from heapq import nlargest
from typing import Protocol


class Unread(Protocol):
    """A connection, as far as this matters."""

    @property
    def unread_bytes(self) -> int: ...

    def abort(self, reason: str) -> None: ...


def close_slowest(connections: Iterable[Unread], count: int) -> None:
    """Hang up on those that keep most unread, at most so many."""
    slow = [connection for connection in connections if connection.unread_bytes]
    for connection in nlargest(count, slow, key=lambda connection: connection.unread_bytes):
        connection.abort("slow consumer, while this process is short of room")

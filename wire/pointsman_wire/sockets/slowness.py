"""Peers that do not read what they are sent: who they are, and what a driver does about them."""

from collections.abc import Callable, Iterable
from heapq import nlargest
from typing import Protocol

from pointsman_wire.link import Accepted, Congested, Connection, Dialled, Relieved
from pointsman_wire.preamble import Role
from pointsman_wire.sockets.bounds import ConnectionLimits

_CLIENTS = (Role.SESSION, Role.TRUNK)


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


class Congestion:
    """Tells the core when much waits on a connection, and when all of it has left."""

    def __init__(
        self, number: Connection, limits: ConnectionLimits, post: Callable[[object], None]
    ) -> None:
        self._number = number
        self._bytes_max = limits.congested_bytes
        self._frames_max = limits.congested_frames
        self._post = post
        self._is_told = False

    def look(self, unread_bytes: int, frames: int) -> None:
        """The kernel takes no more, and so much waits here."""
        if not self._is_told and (unread_bytes > self._bytes_max or frames > self._frames_max):
            self._is_told = True
            self._post(Congested(self._number))

    def relieve(self) -> None:
        """The kernel has taken everything."""
        if self._is_told:
            self._is_told = False
            self._post(Relieved(self._number))


def congestion_of(
    opening: Accepted | Dialled, limits: ConnectionLimits, post: Callable[[object], None]
) -> Congestion | None:
    """Watch the connection of a client, where the limits have marks for it."""
    is_client = isinstance(opening, Accepted) and opening.preamble.role in _CLIENTS
    return (
        Congestion(opening.connection, limits, post)
        if is_client and limits.congested_bytes
        else None
    )

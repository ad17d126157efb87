"""What a connection asks of who owns it."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pointsman_wire.sockets.connections import FrameConnection


class ConnectionHost(Protocol):
    """Who owns connections: told of events and of their end."""

    def post(self, event: object) -> None: ...

    def watch(self, connection: "FrameConnection") -> None: ...

    def known(self, connection: "FrameConnection") -> None: ...

    def closed(self, connection: "FrameConnection") -> None: ...

    def gone(self, connection: "FrameConnection") -> None: ...

    def rest(self, connection: "FrameConnection") -> None: ...

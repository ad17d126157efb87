"""What a connection asks of who owns it, its states, and the watch over its deadlines."""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pointsman_wire.sockets.connections import FrameConnection


class State(Enum):
    """Of a connection; connections.py says what leads from one to another."""

    OPENING = 0
    OPEN = 1
    ENDING = 2
    GONE = 3


class ConnectionHost(Protocol):
    """Who owns connections: told of events and of their end."""

    def post(self, event: object) -> None: ...

    def watch(self, connection: "FrameConnection") -> None: ...

    def known(self, connection: "FrameConnection") -> None: ...

    def closed(self, connection: "FrameConnection") -> None: ...

    def gone(self, connection: "FrameConnection") -> None: ...

    def rest(self, connection: "FrameConnection") -> None: ...


class Watch:
    """Looks at the deadlines of connections that have some, with one timer for all of them.

    When this process did not run for longer than `late_tolerance_s`, deadlines move by as much.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, period_s: float, late_tolerance_s: float
    ) -> None:
        self._loop = loop
        self._period_s = period_s
        self._late_tolerance_s = late_tolerance_s
        self._watched: set[FrameConnection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: "FrameConnection") -> None:
        """Look at it until it has no deadline any more."""
        self._watched.add(connection)
        if self._timer is None:
            self._arm()

    def discard(self, connection: "FrameConnection") -> None:
        """It is gone."""
        self._watched.discard(connection)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        due_at_s = self._loop.time() + self._period_s
        self._timer = self._loop.call_later(self._period_s, self._look, due_at_s)

    def _look(self, due_at_s: float) -> None:
        now_s = self._loop.time()
        late_s = now_s - due_at_s
        if late_s <= self._late_tolerance_s:
            late_s = 0.0
        for connection in [*self._watched]:
            if not connection.is_waiting(now_s, late_s):
                self._watched.discard(connection)
        self._timer = None
        if self._watched:
            self._arm()

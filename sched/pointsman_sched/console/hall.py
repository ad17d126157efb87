"""Serves HTTP on connections that a worker has accepted and handed over.

uvicorn's protocol speaks HTTP; this gives it sockets instead of a port, bounds their number, and
hangs up on those that do not finish a request in time, which uvicorn leaves to proxies.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pointsman_wire.preamble import Preamble
from pointsman_wire.sockets.bounds import Strangers

HEADER_BYTES_MAX = 16 * 1024
KEEP_ALIVE_S = 15
CLOSE_S = 2.0
# Who reads slowly has this much under way, and not what the system would buffer for it.
SEND_BYTES = 64 * 1024
STALL_S = 20.0
SHARE_OF_AN_ADDRESS = 8  # an eighth of the connections; those of this host have no such bound


_IS_WHOLE = frozenset({h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR})


def _nobody_asks() -> None:
    """Nobody asks when it ends."""


class _Visitor(H11Protocol):
    """One connection; each request must be there, its body too, `request_s` after its first byte.

    uvicorn forgets its own limit, that of an idle connection, with every byte that comes.  The
    connection is cut when it takes nothing of an answer for `stall_s`.
    """

    request_s = 10.0
    stall_s = STALL_S
    left: Callable[[], None] = staticmethod(_nobody_asks)
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._expect()  # nothing has come: who says nothing is not kept either

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        state = self.conn.their_state
        if state in _IS_WHOLE or (state is h11.IDLE and not self.conn.trailing_data[0]):
            self._relax()
        elif self._deadline is None:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)
        self.left()

    def pause_writing(self) -> None:
        self._stalled = self.loop.call_later(self.stall_s, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
        super().resume_writing()

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(self.request_s, self._give_up)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.transport is not None:
            self.transport.close()


class Hall:
    """Takes connections until it is closed; `app` is an ASGI application.

    One address has a share of them, so that nobody keeps all others out by holding many.
    """

    def __init__(self, app: Any, *, connections_max: int, request_s: float) -> None:
        self._config = uvicorn.Config(
            app,
            http=_Visitor,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # what a stranger says wrongly is his trouble, and no line of ours
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._config.load()
        self._state = ServerState()
        self._connections_max = connections_max
        self._places = Strangers(
            total_max=connections_max,
            per_address_max=max(1, connections_max // SHARE_OF_AN_ADDRESS),
        )
        self._request_s = request_s
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.refused_count = 0

    @property
    def connection_count(self) -> int:
        """Connections that are open or about to be."""
        return len(self._state.connections) + len(self._arriving)

    def adopt(self, sock: socket.socket, _: Preamble, address: str, __: int) -> None:
        """Serve an accepted connection whose request nobody has read yet."""
        if not self._places.admit(address):
            self.refused_count += 1
            sock.close()
            return
        self.serve(sock, {}, partial(self._places.leave, address))

    def serve(
        self, sock: socket.socket, state: dict[str, Any], left: Callable[[], None] = _nobody_asks
    ) -> None:
        """Serve a connection; its requests have `state` as request.state, `left` hears its end."""
        if self._is_closed or self.connection_count >= self._connections_max:
            self.refused_count += 1
            sock.close()
            left()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        task = self._loop.create_task(self._serve(sock, state, left))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def close(self) -> None:
        """Let running answers finish for a moment, then hang up."""
        self._is_closed = True
        for connection in [*self._state.connections]:
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait([*self._state.tasks], timeout=CLOSE_S)
        for task in [*self._state.tasks]:
            task.cancel()
        for connection in [*self._state.connections]:
            if connection.transport is not None:
                connection.transport.close()

    async def _serve(
        self, sock: socket.socket, state: dict[str, Any], left: Callable[[], None]
    ) -> None:
        def visitor() -> _Visitor:
            made = _Visitor(self._config, self._state, state, self._loop)
            made.request_s, made.left = self._request_s, left
            return made

        try:
            await self._loop.connect_accepted_socket(visitor, sock)
        except OSError:  # it left
            sock.close()
            left()

"""A WebSocket that was dialled: the request is sent, its answer judged, and then it is a stream.

            upgrade answered with 101                close frame, or end()
(opening) ---------------------------> (told as Dialled) --------------------> ENDING
    \\--anything else, or nothing in time--> told as DialFailed, closed
"""

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
from websockets.client import ClientProtocol
from websockets.http11 import Response
from websockets.protocol import Event, State
from websockets.uri import parse_uri

from pointsman_wire.limits import FRAME_BYTES_MAX
from pointsman_wire.link import DialFailed, Dialled
from pointsman_wire.sockets.bounds import ConnectionLimits
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_wire.sockets.hosting import ConnectionHost
from pointsman_wire.sockets.reading import MessageReader
from pointsman_wire.sockets.web.json_messages import SUBPROTOCOL
from pointsman_wire.sockets.web.origins import WebSettings
from pointsman_wire.sockets.web.request_line import SESSION_PATH
from pointsman_wire.sockets.web.web_stream import WebStream

_BODY_LENGTH_MAX = 200  # of an answer that is quoted

_silent = logging.getLogger("pointsman.websocket.client")
_silent.setLevel(logging.CRITICAL)


class WebDialled(WebStream):
    """A stream of messages over a WebSocket, from the request that asks for it on."""

    def __init__(
        self,
        host: ConnectionHost,
        opening: Dialled,
        limits: ConnectionLimits,
        settings: WebSettings,
        uri: str,
    ) -> None:
        protocol = ClientProtocol(
            parse_uri(uri),
            subprotocols=[SUBPROTOCOL],
            max_size=limits.frame_bytes_max,
            logger=_silent,
        )
        super().__init__(host, opening, limits, settings, protocol)
        self._client = protocol
        self._purpose = opening.purpose

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the core, once, and let go."""
        if self._protocol.state is State.CONNECTING:
            self._fail(str(exc) if exc else "the server ended the connection")
        super().connection_lost(exc)

    def refuse(self, reason: str, *, retryable: bool = False) -> None:
        """End a connection that is no WebSocket, or say what is wrong with the stream."""
        if self._protocol.state is State.CONNECTING:
            self._fail(f"no answer within {self._limits.frame_arrival_s:g} s")
        else:
            super().refuse(reason, retryable=retryable)

    # ---- inside

    def _announce(self) -> None:
        """It is connected: ask for a WebSocket, and wait so long for the answer."""
        self._client.send_request(self._client.connect())
        self._write_protocol()
        self._await_frame()

    def _opened(self, event: Event) -> None:
        assert isinstance(event, Response)
        if self._protocol.state is not State.OPEN:
            body = bytes(event.body or b"").decode(errors="replace")
            words = " ".join(body[:_BODY_LENGTH_MAX].split())
            self._fail(f"HTTP {event.status_code} {event.reason_phrase}: {words}")
            return
        self._stand()

    def _opening_failed(self) -> None:
        self._fail(str(self._client.handshake_exc or "its answer is too long"))

    def _fail(self, reason: str) -> None:
        """Tell the core of a dial that came to nothing, instead of a connection that ended."""
        if self._is_told:
            return
        self._is_told = True
        self._host.closed(self)
        words = f"no WebSocket at {self._client.uri.host}:{self._client.uri.port}: {reason}"
        self._host.post(DialFailed(self._purpose, words))
        self.abort(words)


def web_dialling(
    base: str, union: Any, session_id: Callable[[], str]
) -> Callable[[ConnectionHost, Any, ConnectionLimits], FrameConnection]:
    """Return what makes the connections of a client; `base` is like "ws://127.0.0.1:7400".

    `session_id` is asked at each dial: the server finds the session's worker by it.
    """
    settings = WebSettings(MessageReader(union, msgspec.json, FRAME_BYTES_MAX))

    def make(host: ConnectionHost, opening: Any, limits: ConnectionLimits) -> FrameConnection:
        wanted = session_id()
        query = f"?id={quote(wanted, safe='')}" if wanted else ""
        return WebDialled(host, opening, limits, settings, f"{base}{SESSION_PATH}{query}")

    return make

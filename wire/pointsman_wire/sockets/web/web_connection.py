"""A WebSocket that was accepted: its request is judged, answered, and then it is a stream.

            upgrade answered                    close frame, or end()
(opening) ------------------> (told as Accepted) ----------------------> ENDING
    \\--no upgrade, or not from there--> answered in HTTP, closed
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from websockets.http11 import Request
from websockets.protocol import Event, State
from websockets.server import ServerProtocol

from pointsman_wire.link import Accepted
from pointsman_wire.sockets.bounds import ConnectionLimits, is_loopback
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_wire.sockets.hosting import ConnectionHost
from pointsman_wire.sockets.web.json_messages import SUBPROTOCOL, choose_subprotocol
from pointsman_wire.sockets.web.origins import WebSettings, is_origin_allowed
from pointsman_wire.sockets.web.request_line import Wanted, read_request_line
from pointsman_wire.sockets.web.web_stream import WebStream

# With these a proxy tells for whom it speaks.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_PROXIED = (
    "a proxy on this host sends others here as if they were of this host, who need no token; "
    "let them come directly"
)

# Its words about every handshake are of no use to an operator; ours are counted and told.
_silent = logging.getLogger("pointsman.websocket")
_silent.setLevel(logging.CRITICAL)


class WebConnection(WebStream):
    """A stream of messages over a WebSocket, from its request on."""

    def __init__(
        self,
        host: ConnectionHost,
        opening: Accepted,
        limits: ConnectionLimits,
        settings: WebSettings,
    ) -> None:
        protocol = ServerProtocol(
            subprotocols=[SUBPROTOCOL],
            select_subprotocol=choose_subprotocol,
            max_size=limits.first_frame_bytes_max,
            logger=_silent,
        )
        super().__init__(host, opening, limits, settings, protocol)
        self._server = protocol
        self._is_plain = opening.preamble.secured is None
        self._is_local = self._is_plain and is_loopback(opening.peer)

    def refuse(self, reason: str, *, retryable: bool = False) -> None:
        """Say what is wrong, in the words that the peer understands so far, and end."""
        if self._protocol.state is State.CONNECTING:
            self._answer_http(HTTPStatus.REQUEST_TIMEOUT, reason)
        else:
            super().refuse(reason, retryable=retryable)

    # ---- inside

    def _opened(self, event: Event) -> None:
        """Answer the request: from now on it is a WebSocket, or it ends."""
        assert isinstance(event, Request)
        refusal = self._fault_of(event)
        if refusal is not None:
            self._answer_http(*refusal)
            return
        response = self._server.accept(event)
        self._server.send_response(response)
        self._write_protocol()
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            FrameConnection.end(self, f"no WebSocket: {response.reason_phrase}")
            return
        self._stand()

    def _fault_of(self, request: Request) -> tuple[HTTPStatus, str] | None:
        headers = request.headers
        origins, hosts = headers.get_all("Origin"), headers.get_all("Host")
        if len(origins) > 1 or len(hosts) > 1:
            return HTTPStatus.BAD_REQUEST, "Origin and Host may be said once"
        line = read_request_line(
            b"GET %b HTTP/1.1\n" % request.path.encode("ascii", "surrogateescape")
        )
        if line.wanted is not Wanted.SESSION:
            return HTTPStatus.NOT_FOUND, line.fault or "sessions are at /session"
        if self._is_local and any(name in headers for name in _FORWARDED):
            return HTTPStatus.FORBIDDEN, _PROXIED
        origin, host = (*origins, None)[0], (*hosts, None)[0]
        settings = self._settings
        is_allowed = is_origin_allowed(
            origin,
            host,
            settings.allowed_origins,
            is_plain=self._is_plain,
            hosts=settings.allowed_hosts,
        )
        if not is_allowed:
            words = (
                f"pages of {origin} may not open sessions here; list the origin in "
                "web.allowed_origins if they shall, or the name of this service in "
                "web.allowed_hosts"
            )
            return HTTPStatus.FORBIDDEN, words
        return None

    def _opening_failed(self) -> None:
        if self._opening_bytes > self._limits.first_frame_bytes_max:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._answer_http(status, "too many headers")
        else:
            words = self._server.handshake_exc or "no request"
            self._answer_http(HTTPStatus.BAD_REQUEST, f"this is no request of a WebSocket: {words}")

    def _answer_http(self, status: HTTPStatus, words: str) -> None:
        """Refuse the upgrade in HTTP, which is all that the peer understands so far.

        Not through the protocol layer, which may have given up on the request already.
        """
        told = words.encode(errors="backslashreplace").decode()  # it may quote what is no text
        self.out += self._server.reject(status, f"{told}\n").serialize()
        self.end(told)


def web_factory(
    settings: WebSettings,
) -> Callable[[ConnectionHost, Any, ConnectionLimits], FrameConnection]:
    """Return what makes the connections of a driver that lets browsers in."""
    return lambda host, opening, limits: WebConnection(host, opening, limits, settings)

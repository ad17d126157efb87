"""One WebSocket: what its frames hold are the messages of a session, told as any connection's.

The protocol layer is the sans-I/O part of `websockets`; this is its socket.  Everything else is
the frame connection's: deadlines, shares of a turn, slow consumers, lingering.

                upgrade answered                    close frame, or end()
    (opening) ------------------> (told as Accepted) ----------------------> ENDING
        \\--no upgrade, or not from there--> answered in HTTP, closed

A message may come in several WebSocket frames; its bound is that of a frame of the binary
protocol, and its deadline too, counted from its first byte.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from websockets.frames import Frame as WebFrame
from websockets.frames import Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from pointsman_wire.framing import FrameError
from pointsman_wire.link import Accepted, Frame, Received
from pointsman_wire.messages import Message
from pointsman_wire.sockets.bounds import ConnectionLimits
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_wire.sockets.hosting import ConnectionHost
from pointsman_wire.sockets.web.json_messages import JsonReader, encode_web_message, split_binary
from pointsman_wire.sockets.web.origins import is_origin_allowed
from pointsman_wire.sockets.web.request_line import Wanted, read_request_line

SUBPROTOCOL = Subprotocol("pointsman.v1")
# A proxy between forgets connections on which nothing moves for a minute or so.
PING_S = 20.0

_NEVER = float("inf")
_GOING_AWAY = 1001
_POLICY_VIOLATION = 1008
_REASON_BYTES_MAX = 120  # of a close frame, by RFC 6455

# Its words about every handshake are of no use to an operator; ours are counted and told.
_silent = logging.getLogger("pointsman.websocket")
_silent.setLevel(logging.CRITICAL)


class WebSettings(msgspec.Struct, frozen=True):
    """What is particular to WebSockets: who may come, and how they are read."""

    reader: JsonReader
    allowed_origins: tuple[str, ...] = ()
    ping_s: float = PING_S


class WebConnection(FrameConnection):
    """A stream of messages over a WebSocket, from its request on."""

    is_web = True

    def __init__(
        self,
        host: ConnectionHost,
        opening: Accepted,
        limits: ConnectionLimits,
        settings: WebSettings,
    ) -> None:
        super().__init__(host, opening, settings.reader, limits)
        self._settings = settings
        self._protocol = ServerProtocol(
            subprotocols=[SUBPROTOCOL],
            select_subprotocol=_choose,
            max_size=limits.first_frame_bytes_max,
            logger=_silent,
        )
        self._request_bytes = 0
        self._pieces: list[bytes] = []  # of a message whose last frame has not come
        self._is_text = False  # is that one text?
        self._pending: list[Frame] = []  # decoded, and too many for this turn
        self._close_code = _GOING_AWAY
        self._ping: asyncio.TimerHandle | None = None
        self._is_ponged = True

    # ---- what asyncio calls

    def data_received(self, data: bytes) -> None:
        """Take what came; tell every message that is whole."""
        transport = self.transport
        if transport is None:
            return
        if self._protocol.state is State.CONNECTING:
            self._request_bytes += len(data)
            if self._request_bytes > self._limits.first_frame_bytes_max:
                self._answer_http(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers")
                return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._upgrade(event)
            else:
                assert isinstance(event, WebFrame)
                self._take(event)
            if self.transport is None:
                return
        self._tell()
        self._watch_arrival()
        self._write_protocol()
        if self._protocol.close_expected():
            self._finish_closing()

    def eof_received(self) -> None:
        """Note a peer that left without a close frame."""
        if self.transport is not None and self._protocol.state is State.OPEN:
            self.reason = self.reason or "the peer left without closing the WebSocket"

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the core, once, and let go."""
        if self._ping is not None:
            self._ping.cancel()
        super().connection_lost(exc)

    # ---- what the host calls

    def put(self, message: Message, payload: bytes) -> None:
        """Queue one message; the host flushes."""
        if self._protocol.state is not State.OPEN:
            return
        is_text, data = encode_web_message(message, payload)
        if is_text:
            self._protocol.send_text(data)
        else:
            self._protocol.send_binary(data)
        self._queue_protocol()

    def read_on(self) -> None:
        """The core has stepped: go on with what was read, then with the socket."""
        self._told_frames = 0
        self._tell()
        transport = self.transport
        if not self._pending and transport is not None and not transport.is_closing():
            transport.resume_reading()

    def refuse(self, reason: str, *, retryable: bool = False) -> None:
        """Say in an error message what is wrong with the stream, and end the connection."""
        self._close_code = _POLICY_VIOLATION
        super().refuse(reason, retryable=retryable)

    def end(self, reason: str) -> None:
        """Send what is queued and a close frame, then end."""
        if self.transport is None:
            return
        if self._protocol.state is State.OPEN:
            words = reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
            self._protocol.send_close(self._close_code, words)
        self._queue_protocol()
        super().end(reason)

    # ---- inside

    def _announce(self) -> None:
        """Nothing yet: the core is told once the upgrade was answered."""

    def _upgrade(self, request: Request) -> None:
        """Answer the request: from now on it is a WebSocket, or it ends."""
        line = read_request_line(f"GET {request.path} HTTP/1.1\n".encode())
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if line.wanted is not Wanted.SESSION:
            self._answer_http(HTTPStatus.NOT_FOUND, line.fault or "sessions are at /session")
            return
        if not is_origin_allowed(origin, host, self._settings.allowed_origins):
            words = (
                f"pages of {origin} may not open sessions here; list the origin in "
                "web.allowed_origins if they shall"
            )
            self._answer_http(HTTPStatus.FORBIDDEN, words)
            return
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self._write_protocol()
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            super().end(f"no WebSocket: {response.reason_phrase}")
            return
        self._host.post(self._opening)
        self._ping = self._loop.call_later(self._settings.ping_s, self._beat)

    def _answer_http(self, status: HTTPStatus, words: str) -> None:
        """Refuse the upgrade in HTTP, which is all that the peer understands so far."""
        response: Response = self._protocol.reject(status, f"{words}\n")
        self._protocol.send_response(response)
        self._write_protocol()
        super().end(words)

    def _take(self, frame: WebFrame) -> None:
        """A frame of the WebSocket: a message, a piece of one, or a sign of life."""
        if frame.opcode is Opcode.PONG:
            self._is_ponged = True
            return
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return  # pings and closes are answered by the protocol
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        if not frame.fin:
            self._pieces.append(bytes(frame.data))
            return
        data = b"".join((*self._pieces, frame.data)) if self._pieces else bytes(frame.data)
        self._pieces = []
        self._message(data)

    def _message(self, data: bytes) -> None:
        try:
            header, payload = (data, b"") if self._is_text else split_binary(data)
            message = self._read(header)
        except FrameError as error:
            self._tell()
            self.refuse(str(error))
            return
        self._pending.append((message, payload))
        if self._is_stranger and isinstance(message, Message):
            self._become_known()
            self._protocol.max_message_size = self._limits.frame_bytes_max

    def _tell(self) -> None:
        """Tell the core as many messages as this turn may still have from here."""
        share = max(0, self._limits.frames_a_turn_max - self._told_frames)
        frames, self._pending = self._pending[:share], self._pending[share:]
        if frames:
            self._told_frames += len(frames)
            self._host.post(Received(self.number, frames))
        transport = self.transport
        if self._pending and transport is not None:
            transport.pause_reading()
            self._host.rest(self)

    def _watch_arrival(self) -> None:
        """A message that has begun must arrive; a stranger has its own deadline."""
        if self._is_stranger or self.transport is None:
            return
        if not self._pieces and not self._protocol.reader.buffer:
            self._read_at = _NEVER
        elif self._read_at == _NEVER:
            self._await_frame()

    def _queue_protocol(self) -> None:
        for data in self._protocol.data_to_send():
            self.out += data
            self.out_frames += bool(data)

    def _write_protocol(self) -> None:
        """Write what the protocol answers by itself: pongs, the upgrade, closes."""
        self._queue_protocol()
        if self.out and not self.is_queued:
            self.flush()

    def _finish_closing(self) -> None:
        """The peer has closed, or has broken the protocol: the close frame was written."""
        close = self._protocol.close_rcvd or self._protocol.close_sent
        words = f"the WebSocket was closed: {close}" if close else "the WebSocket was closed"
        super().end(words)

    def _beat(self) -> None:
        """Ping; a peer that has not answered the last one is gone."""
        self._ping = None
        if self.transport is None:
            return
        if not self._is_ponged:
            self.abort(f"no answer to a ping for {self._settings.ping_s:g} s")
            return
        self._is_ponged = False
        self._protocol.send_ping(b"")
        self._write_protocol()
        self._ping = self._loop.call_later(self._settings.ping_s, self._beat)


def _choose(_: ServerProtocol, offered: Any) -> Subprotocol | None:
    """Speak ours to whoever offers it, and to whoever offers nothing."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def web_factory(
    settings: WebSettings,
) -> Callable[[ConnectionHost, Accepted, ConnectionLimits], FrameConnection]:
    """Return what makes the connections of a driver that lets browsers in."""
    return lambda host, opening, limits: WebConnection(host, opening, limits, settings)

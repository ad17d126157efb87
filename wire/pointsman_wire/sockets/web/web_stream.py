"""The frames of an open WebSocket, either side's: messages out of them, messages into them.

The protocol layer is the sans-I/O part of `websockets`; this is its socket.  Everything else is
the frame connection's: deadlines, shares of a turn, slow consumers, lingering.

Reading a WebSocket frame costs ten times what one of the binary protocol does, and six bytes make
one (an empty ping).  So what was read is fed in small slices until a turn's share of frames is
taken; the rest waits.  How much of a frame has come is counted here: the protocol layer does not
say, and a header alone, or a piece of nothing, must meet its deadline too.

A message may come in several WebSocket frames; its bound is that of a frame of the binary
protocol, and its deadline too, counted from its first byte.
"""

import asyncio

from websockets.client import ClientProtocol
from websockets.frames import Frame as WebFrame
from websockets.frames import Opcode
from websockets.protocol import Event, Side, State
from websockets.server import ServerProtocol

from pointsman_wire.framing import FrameError
from pointsman_wire.link import Accepted, Dialled, Frame, Received
from pointsman_wire.messages import Message
from pointsman_wire.sockets.bounds import ConnectionLimits
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_wire.sockets.hosting import ConnectionHost
from pointsman_wire.sockets.web.json_messages import encode_what_fits, split_binary
from pointsman_wire.sockets.web.origins import WebSettings

PIECES_MAX = 4_096  # of one message

_NEVER = float("inf")
_SLICE_BYTES = 2_048
_FRAMES_A_TURN_MAX = 256
# An answer may lie unread when a ping is found unanswered: this process may have been stopped.
_DOUBT_S = 5.0
_GOING_AWAY = 1001
_POLICY_VIOLATION = 1008
_REASON_BYTES_MAX = 120  # of a close frame, by RFC 6455
_MASK_BYTES = 4


class WebStream(FrameConnection):
    """A stream of messages over a WebSocket; how it opens is a subclass's."""

    is_web = True

    def __init__(
        self,
        host: ConnectionHost,
        opening: Accepted | Dialled,
        limits: ConnectionLimits,
        settings: WebSettings,
        protocol: ServerProtocol | ClientProtocol,
    ) -> None:
        super().__init__(host, opening, settings.reader, limits)
        self._settings = settings
        self._protocol = protocol
        self._mask_bytes = _MASK_BYTES if protocol.side is Side.SERVER else 0
        self._opening_bytes = 0  # of request or response
        self._amid_bytes = 0  # of a frame that is not whole: so many have come
        self._taken_frames = 0  # since it rested last, of any kind
        self._is_resting = False
        # A message whose last frame has not come.
        self._partial: bytes | bytearray = b""
        self._pieces = 0  # of it
        self._is_text = False  # is it text?
        self._pending: list[Frame] = []  # decoded, and too many for this turn
        self._close_code = _GOING_AWAY
        self._ping: asyncio.TimerHandle | None = None
        self._is_answered = True  # has anything come since the last ping?
        self._is_doubted = False

    # ---- what asyncio calls

    def data_received(self, data: bytes) -> None:
        """Take what came; tell every message that is whole."""
        if self.transport is None:
            return
        self._backlog = self._backlog + data if self._backlog else data
        if not self._is_resting:
            self._read_on()

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
        fitting = encode_what_fits(message, payload)
        if fitting is None:
            return
        is_text, data = fitting
        if is_text:
            self._protocol.send_text(data)
        else:
            self._protocol.send_binary(data)
        self._queue_protocol()

    def read_on(self) -> None:
        """The core has stepped: go on with what was read, then with the socket."""
        self._is_resting = False
        self._told_frames = self._taken_frames = 0
        self._share_bytes = self._limits.bytes_a_turn_max
        if self.transport is None:  # it is ending: only the peer's end is waited for
            self._backlog, self._pending = b"", []
        else:
            self._read_on()
        transport = self._transport
        assert transport is not None
        if not self._is_resting and not transport.is_closing():
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

    # ---- for those who open it

    def _opened(self, event: Event) -> None:
        """The other side's part of the opening has come."""
        raise NotImplementedError

    def _opening_failed(self) -> None:
        """What came is no opening of a WebSocket."""
        raise NotImplementedError

    def _stand(self) -> None:
        """It is a WebSocket now: tell the core, keep it alive."""
        self._host.post(self._opening)
        self._ping = self._loop.call_later(self._settings.ping_s, self._beat)

    def _announce(self) -> None:
        """Nothing yet: the core is told once it is a WebSocket."""

    # ---- reading

    def _read_on(self) -> None:
        """Feed what lies here, slice by slice, until the turn's share is taken."""
        data = self._backlog
        at = 0
        while at < len(data) and self._taken_frames < _FRAMES_A_TURN_MAX:
            piece = data[at : self._end_of_slice(data, at)]
            at += len(piece)
            self._take_in(piece)
            if self.transport is None:
                self._backlog = b""
                return
        self._backlog = data[at:]
        self._share_bytes -= at
        told_frames = self._told_frames
        self._tell()
        is_share = self._share_bytes < 0 and self._told_frames > told_frames
        self._watch_arrival()
        self._write_protocol()
        if self._backlog or self._pending or is_share:
            self._rest_a_turn()
        elif self._protocol.close_expected():
            self._finish_closing()

    def _end_of_slice(self, data: bytes, at: int) -> int:
        """An opening is read line by line, so that what follows it is not taken for a part."""
        if self._protocol.state is State.CONNECTING:
            return data.find(b"\n", at) + 1 or len(data)
        return at + _SLICE_BYTES

    def _take_in(self, piece: bytes) -> None:
        protocol = self._protocol
        if protocol.state is State.CONNECTING:
            self._opening_bytes += len(piece)
            if self._opening_bytes > self._limits.first_frame_bytes_max:
                self._opening_failed()
                return
        else:
            self._amid_bytes += len(piece)
        protocol.receive_data(piece)
        for event in protocol.events_received():
            if isinstance(event, WebFrame):
                self._taken_frames += 1
                self._amid_bytes -= len(event.data) + self._mask_bytes + _head_bytes(event)
                self._is_answered = True
                self._take(event)
            else:
                self._opened(event)
            if self.transport is None:
                return
        if protocol.state is State.CONNECTING and protocol.close_expected():
            self._opening_failed()

    def _take(self, frame: WebFrame) -> None:
        """A frame of the WebSocket: a message, a piece of one, or a sign of life."""
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return  # pings and closes are answered by the protocol
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
            if frame.fin:
                self._message(bytes(frame.data))
                return
            self._partial = bytearray()
        self._partial += frame.data
        self._pieces += 1
        if frame.fin:
            data, self._partial, self._pieces = bytes(self._partial), b"", 0
            self._message(data)
        elif self._pieces >= PIECES_MAX:
            self._tell()
            self.refuse(f"a message comes in at most {PIECES_MAX} pieces")

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

    def _rest_a_turn(self) -> None:
        transport = self.transport
        if transport is not None and not self._is_resting:
            self._is_resting = True
            transport.pause_reading()
            self._host.rest(self)

    def _watch_arrival(self) -> None:
        """A message that has begun must arrive; a stranger has its own deadline."""
        if self._is_stranger or self.transport is None:
            return
        if self._protocol.state is State.CONNECTING:
            return
        if not self._pieces and not self._amid_bytes:
            self._read_at = _NEVER
        elif self._read_at == _NEVER:
            self._await_frame()

    # ---- writing

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
        """Ping; a peer from which nothing has come since the last one is gone."""
        self._ping = None
        if self.transport is None or self._protocol.state is not State.OPEN:
            return
        ping_s = self._settings.ping_s
        if self._is_answered:
            self._is_answered = self._is_doubted = False
            self._protocol.send_ping(b"")
            self._write_protocol()
        elif self._is_doubted:
            self.abort(f"no answer to a ping for {ping_s:g} s")
            return
        else:
            self._is_doubted = True
            ping_s = min(ping_s, _DOUBT_S)
        self._ping = self._loop.call_later(ping_s, self._beat)


def _head_bytes(frame: WebFrame) -> int:
    """How many bytes stand before mask and data, where the length is written as it must be."""
    size = len(frame.data)
    return 2 if size < 126 else 4 if size < 65_536 else 10

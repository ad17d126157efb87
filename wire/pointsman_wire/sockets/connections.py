"""One connection of frames: bytes become batches of messages, queued frames become one write.

All complete frames of a read are decoded in one loop and told as one Received.  What a peer may
make this process hold is bounded before it is known (first frame: size and time), while a frame
arrives (size, and an absolute deadline from its first byte) and while it does not read (bytes,
frames and time without progress).  Deadlines cost nothing on the hot path: a connection that has
one is looked at a few times within it by the one timer of Watch.

A turn takes a bounded number of frames from one connection; the rest waits, read or in the kernel,
until the core has stepped.  So a peer that sends as fast as it can delays others by one such share.

                connection_made                  end(): flush, say EOF
    (opening) ------------------> OPEN ------------------------------> ENDING
                                    |                                    |
                                    | connection_lost, abort()           | EOF of the peer, or
                                    v                                    | linger_s passed
                                  GONE <---------------------------------+

An ending connection reads on and drops what comes: closing a socket with unread bytes resets it,
and the reset would destroy the error frame that the peer has yet to read.
"""

import asyncio
import struct
from collections.abc import Callable
from itertools import repeat
from time import monotonic_ns
from typing import cast

from msgspec.structs import replace

from pointsman_wire.errors import Code
from pointsman_wire.framing import (
    LENGTH_BYTES,
    PREFIX_BYTES,
    UNDECODABLE,
    FrameDecoder,
    FrameError,
    Unreadable,
    encode_frame,
)
from pointsman_wire.link import Accepted, Closed, Connection, Dialled, Frame, Received
from pointsman_wire.messages import Error, Message, error_info
from pointsman_wire.sockets.bounds import ConnectionLimits
from pointsman_wire.sockets.hosting import ConnectionHost, State
from pointsman_wire.sockets.reading import (
    LONE_BYTES_MAX,
    LONE_PREFIXES,
    HeaderReader,
    PatientReader,
    lone_message,
)
from pointsman_wire.sockets.slowness import congestion_of
from pointsman_wire.sockets.tcp import set_tcp_options

# Frames above this take the decoder's way, where every length is checked.
_SMALL_FRAME_BYTES_MAX = 256 * 1024

_unpack_prefix: Callable[[bytes, int], tuple[int, int]] = struct.Struct("<II").unpack_from
_NEVER = float("inf")
_OPEN = State.OPEN  # for every read and write: to find it on its enum costs a call


class FrameConnection(asyncio.Protocol):
    """A stream of frames; `opening` is told once it stands, `hello` is sent first.

    The host appends frames to `out` and counts them in `out_frames`, then calls flush().  What is
    `is_web` has an encoding of its own: there the host calls put().
    """

    is_web = False
    # So many fields in a dict are looked for by name, each time that one is read.
    __slots__ = (
        *("number", "out", "out_frames", "is_queued", "reason", "came_at_ns", "_host", "_opening"),
        *("_read", "_decode", "_decoder", "_limits", "_hello", "_transport", "_state", "_loop"),
        *("_is_stranger", "_is_careful", "_is_paused", "_is_told", "_congestion", "_share_max"),
        *("_small_max", "_told_frames", "_share_bytes", "_backlog", "_unsent_bytes"),
        *("_read_at", "_write_at", "_end_at"),
    )

    def __init__(
        self,
        host: ConnectionHost,
        opening: Accepted | Dialled,
        reader: HeaderReader,
        limits: ConnectionLimits,
        *,
        hello: bytes = b"",
    ) -> None:
        self.number: Connection = opening.connection
        self.out = bytearray()
        self.out_frames = 0
        self.is_queued = False  # set while the host holds it for the flush of this turn
        self.reason = ""  # why it ended, once it did
        self.came_at_ns = 0  # when it was accepted, which may be long before it came here
        self._host, self._opening, self._limits, self._hello = host, opening, limits, hello
        self._transport: asyncio.Transport | None = None
        self._state = State.OPENING
        self._loop = asyncio.get_running_loop()
        self._decode = reader.decode
        self._read = PatientReader(reader, limits, self._loop.time).read
        self._is_stranger = self._is_careful = isinstance(opening, Accepted)  # or amid a frame
        self._congestion = congestion_of(opening, limits, host.post)
        self._decoder = FrameDecoder(limits.frame_bytes_max)
        self._small_max = min(limits.frame_bytes_max, _SMALL_FRAME_BYTES_MAX) - LENGTH_BYTES
        # Set while the kernel takes no more, and once the core knows that it is closed.
        self._is_paused = self._is_told = False
        self._share_max, self._told_frames = limits.frames_a_turn_max, 0  # since it rested last
        # Bytes until it rests, and then those that were read and are not decoded yet.
        self._share_bytes, self._backlog = limits.bytes_a_turn_max, b""
        self._unsent_bytes = 0  # while paused: what the transport held at the last look
        self._read_at = self._write_at = self._end_at = _NEVER  # deadlines in the loop's seconds

    # ---- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the socket up, say hello, tell the core."""
        self._transport = cast(asyncio.Transport, transport)
        self._state = State.OPEN
        set_tcp_options(transport.get_extra_info("socket"))
        # With no room above what the kernel takes, "paused" is exactly "the peer does not read".
        # Not 0: asyncio's TLS transport pauses at the limit, and would with nothing to send.
        self._transport.set_write_buffer_limits(high=1)
        if self._hello:
            self._transport.write(self._hello)
        opening = self._opening
        if isinstance(opening, Accepted):
            self._decoder.frame_bytes_max = self._limits.first_bytes_max(opening.preamble.role)
            # What came while this process did not run gets a moment all the same.
            first_frame_s = self._limits.first_frame_s
            left_s = first_frame_s - (monotonic_ns() - self.came_at_ns) / 1e9
            self._read_at = self._loop.time() + max(left_s, first_frame_s / 10)
            self._host.watch(self)
        self._announce()

    def data_received(self, data: bytes) -> None:
        """Decode every frame that is now complete and tell them together."""
        if self._state is not _OPEN:
            return
        if self._backlog:
            data, self._backlog = self._backlog + data, b""
        offset, end, share = 0, len(data), self._share_max - self._told_frames
        decode, small_max = self._decode, self._small_max
        # Most that peers say by themselves is one frame without a payload: told by one comparison.
        if end <= LONE_BYTES_MAX and data.startswith(LONE_PREFIXES[end]):
            alone = None if self._is_careful or share < 2 else lone_message(data, decode, small_max)
            if alone is not None:
                self._told_frames += 1
                self._host.post(Received(self.number, [(alone, b"")]))
                return
        self._share_bytes -= end
        frames: list[Frame] = []
        broken: FrameError | None = None
        try:
            if self._is_careful:
                offset = self._feed(data, frames)
                share -= len(frames)
            for _ in repeat(None, share):
                if end - offset < PREFIX_BYTES:
                    break
                length, header_bytes = _unpack_prefix(data, offset)
                header_at, after = offset + PREFIX_BYTES, offset + LENGTH_BYTES + length
                payload_at = header_at + header_bytes
                if after > end or payload_at > after or length > small_max:
                    break
                try:
                    message: Message | Unreadable = decode(data[header_at:payload_at])
                except UNDECODABLE:
                    message = self._read(data[header_at:payload_at])
                frames.append((message, data[payload_at:after]))
                offset = after
            else:  # that was its share of this turn
                self._rest(data[offset:])
                offset = end
            if offset < end:
                self._begin(data[offset:], frames)
        except FrameError as error:
            broken = error
        if frames:
            self._told_frames += len(frames)
            self._host.post(Received(self.number, frames))
            if self._share_bytes < 0:
                self._rest(b"")
        if broken is not None:
            self.refuse(str(broken))

    def eof_received(self) -> None:
        """Note a peer that left amid a frame; the transport closes itself."""
        if self._state is State.OPEN and self._decoder.is_mid_frame:
            self.reason = "the peer ended the connection in the middle of a frame"

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the core, once, and let go."""
        self.reason = self.reason or (str(exc) if exc else "the peer ended the connection")
        self._tell_closed()
        self._state = State.GONE
        self._host.gone(self)

    def pause_writing(self) -> None:
        """The kernel's buffer is full: from now on the peer has stall_s to read something."""
        self._is_paused = True
        assert self._transport is not None
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._write_at = self._loop.time() + self._limits.stall_s
        self._host.watch(self)
        if self._congestion is not None:
            self._congestion.look(self.unread_bytes, self.out_frames)

    def resume_writing(self) -> None:
        """All that was written has left: what was queued meanwhile follows."""
        self._is_paused = False
        self._write_at = _NEVER
        if self._state is State.ENDING:
            self._end_at = self._loop.time() + self._limits.linger_s
        elif self.out:
            self.flush()
        if self._congestion is not None and not self._is_paused:
            self._congestion.relieve()

    # ---- what the host calls

    @property
    def has_stood(self) -> bool:
        """Was its opening told?"""
        return self._state is not State.OPENING

    @property
    def unread_bytes(self) -> int:
        """What waits here for a peer that does not read; 0 while the kernel takes everything."""
        if not self._is_paused or self._transport is None:
            return 0
        return len(self.out) + self._transport.get_write_buffer_size()

    def flush(self) -> None:
        """Write what is queued, or end the connection when too much is."""
        if self._state is not _OPEN:
            return
        assert self._transport is not None
        if not self._is_paused:
            out, self.out = self.out, bytearray()  # the transport keeps what it could not send
            self.out_frames = 0
            self._transport.write(out)
            return
        limits = self._limits
        if len(self.out) > limits.queue_bytes_max or self.out_frames > limits.queue_frames_max:
            self.abort(
                f"slow consumer: {len(self.out)} bytes in {self.out_frames} frames wait for it, at "
                f"most {limits.queue_bytes_max} bytes in {limits.queue_frames_max} frames may"
            )
        elif self._congestion is not None:
            self._congestion.look(self.unread_bytes, self.out_frames)

    @property
    def transport(self) -> asyncio.Transport | None:
        """Where bytes go while the connection stands open, None at other times."""
        return self._transport if self._state is State.OPEN else None

    def put(self, message: Message, payload: bytes) -> None:
        """Queue one frame; the host flushes."""
        self.out += encode_frame(message, payload)
        self.out_frames += 1

    def read_on(self) -> None:
        """The core has stepped: go on with what was read, then with the socket."""
        self._told_frames = 0
        if self._backlog:
            self.data_received(b"")
        assert self._transport is not None
        if not self._backlog and not self._transport.is_closing():
            self._transport.resume_reading()

    def refuse(self, reason: str, *, retryable: bool = False) -> None:
        """Say in an error frame what is wrong with the byte stream, and end the connection."""
        if self._state is State.OPEN:
            info = replace(error_info(Code.INVALID_MESSAGE, reason), retryable=retryable)
            self.put(Error(info), b"")
            self.end(reason)

    def end(self, reason: str) -> None:
        """Send what is queued, then end; the core is told now, the peer has linger_s to follow."""
        transport = self.transport
        if transport is None:
            return
        self.reason, self._state = reason, State.ENDING
        self._read_at, self._backlog = _NEVER, b""
        if not transport.is_closing():  # it may rest: from now on what comes is dropped
            transport.resume_reading()
        if self.out:
            transport.write(self.out)
            self.out = bytearray()
        if self._is_paused:  # lingering begins when all is sent; until then it must progress
            self._unsent_bytes = transport.get_write_buffer_size()
        else:
            self._end_at = self._loop.time() + self._limits.linger_s
        self._host.watch(self)
        self._tell_closed()
        if transport.is_closing():  # asyncio's TLS, closed twice, forgets what abort() would abort
            return
        try:
            (transport.write_eof if transport.can_write_eof() else transport.close)()
        except OSError:  # the peer has reset it, and the loop has not heard of it yet
            transport.abort()

    def abort(self, reason: str) -> None:
        """End at once; what was not sent is lost."""
        if self._state is State.GONE:
            return
        self.reason = self.reason or reason
        self._tell_closed()
        if self._state is not State.OPENING:
            self._state = State.ENDING
        if self._transport is not None:
            self._transport.abort()

    def is_waiting(self, now_s: float, late_s: float) -> bool:
        """Act on deadlines that have passed; False when there are none to watch any more.

        late_s is for how long this process did not run: deadlines move by it first.
        """
        if late_s:
            self._read_at += late_s
            self._write_at += late_s
            self._end_at += late_s
        if self._end_at <= now_s:
            self.abort(self.reason)
        elif self._read_at <= now_s:
            self._is_overdue()
        elif self._write_at < _NEVER:
            self._watch_progress(now_s)
        if self._state is State.GONE:
            return False
        return min(self._read_at, self._write_at, self._end_at) < _NEVER

    # ---- inside

    def _announce(self) -> None:
        """The connection stands: tell the core."""
        self._host.post(self._opening)

    def _rest(self, backlog: bytes) -> None:
        """A turn has taken its share from here: read on when the core has stepped."""
        assert self._transport is not None
        self._backlog, self._share_bytes = backlog, self._limits.bytes_a_turn_max
        self._transport.pause_reading()
        self._host.rest(self)

    def _feed(self, data: bytes, frames: list[Frame]) -> int:
        """Take bytes on the decoder's way; return how many, the rest may go the fast way."""
        decoder, end, offset = self._decoder, len(data), 0
        while offset < end and (self._is_stranger or decoder.missing):
            piece = data[offset : offset + (decoder.missing or PREFIX_BYTES)]
            offset += len(piece)
            for header, payload in decoder.feed(piece):
                message = self._read(header)
                frames.append((message, payload))
                if self._is_stranger and not isinstance(message, Unreadable):
                    self._become_known()
        if not self._is_stranger and not decoder.missing:
            self._is_careful = False
            self._read_at = _NEVER
        return offset

    def _begin(self, data: bytes, frames: list[Frame]) -> None:
        """Give the decoder what starts with no small whole frame."""
        for header, payload in self._decoder.feed(data):
            frames.append((self._read(header), payload))
        if self._decoder.is_mid_frame:
            self._is_careful = True
            self._await_frame()

    def _await_frame(self) -> None:
        self._read_at = self._loop.time() + self._limits.frame_arrival_s
        self._host.watch(self)

    def _become_known(self) -> None:
        self._is_stranger, self._read_at = False, _NEVER
        self._decoder.frame_bytes_max = self._limits.frame_bytes_max
        self._host.known(self)

    def _is_overdue(self) -> None:
        words = f"a frame did not arrive whole within {self._limits.frame_arrival_s:g} s"
        if self._is_stranger:
            # Its machine may have been busy, or asleep: it is to come back.
            words = f"no first message came within {self._limits.first_frame_s:g} s"
        self.refuse(words, retryable=True)

    def _watch_progress(self, now_s: float) -> None:
        assert self._transport is not None
        unsent_bytes = self._transport.get_write_buffer_size()
        if unsent_bytes < self._unsent_bytes:
            self._unsent_bytes = unsent_bytes
            self._write_at = now_s + self._limits.stall_s
        elif self._write_at <= now_s:
            self.abort(f"slow consumer: nothing was read for {self._limits.stall_s:g} s")

    def _tell_closed(self) -> None:
        if self._state in (State.OPEN, State.ENDING) and not self._is_told:
            self._is_told = True
            self._host.closed(self)
            self._host.post(Closed(self.number, self.reason))

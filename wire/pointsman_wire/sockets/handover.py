"""Hands accepted connections, unread, to the process that owns them.  Linux only.

    accepting process                       owner
    -----------------                       -----
    Offer(id, socket)   --[id, came at, origin + descriptor]-->   sends [id] back, then adopts
    closes its copy     <------------[id]--------------

The channel is a SOCK_SEQPACKET unix socket; both ends check the user of the other.  The sender
keeps its copy of the descriptor until the owner has acknowledged it, so:

Rule 1.  A closed channel proves that nobody will adopt what was not acknowledged: it is sent
again, to the owner's successor at the same path.
Rule 2.  An owner that is silent for too long may be stopped and adopt later.  Closing our copy
would leave the peer hanging on the other one; shutdown() ends the connection for both.
Rule 3.  The owner acknowledges before it reads the first byte: what is sent again is unread.
"""

import array
import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns

import msgspec

from pointsman_wire.preamble import (
    PREAMBLE_BYTES,
    Preamble,
    PreambleError,
    Role,
    Secured,
    decode_preamble,
)
from pointsman_wire.sockets.unix_sockets import (
    NO_DESCRIPTORS,
    close_at,
    is_same_user,
    listen_at,
    rest_without_descriptors,
)
from pointsman_wire.sockets.web.request_line import is_http

assert sys.platform == "linux"

_ID = struct.Struct("<Q")
_OFFER = struct.Struct("<QQ")  # id, and when it was accepted, on the monotonic clock of this host
_ORIGIN_BYTES_MAX = 2_048
_PACKETS_PER_TURN_MAX = 64
_RETRY_S = 0.02


# Told the socket, its preamble (unread), the address without the port, when it was accepted.
Adopt = Callable[[socket.socket, Preamble, str, int], None]


class HandoverLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be on its way to one owner, and for how long."""

    outstanding_max: int = 64  # sent and not acknowledged
    offers_max: int = 512  # the same, and those that wait behind them
    silence_s: float = 2.0


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Whence a connection comes whose TLS the accepting process ends: its socket does not tell."""

    address: str
    secured: Secured


_encode_origin = msgspec.msgpack.Encoder().encode
_decode_origin = msgspec.msgpack.Decoder(Origin).decode


class Offer(msgspec.Struct, eq=False):
    """A connection on its way: our copy of it, and until when its owner may be silent."""

    sock: socket.socket
    came_at_ns: int
    until_s: float
    origin: bytes = b""
    is_sent: bool = False


def hang_up(sock: socket.socket) -> None:
    """End a connection for every process that holds a copy of it, and close ours."""
    with contextlib.closing(sock):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # the peer was faster
            return


class HandoverSender:
    """The way to one owner; offers are kept in order and outlive the channel.

    `ended` is told the outcome of each offer: True adopted, False given up.
    """

    def __init__(
        self,
        path: Path,
        *,
        ended: Callable[[bool], None],
        limits: HandoverLimits | None = None,
    ) -> None:
        self._path = path
        self._ended = ended
        self._limits = limits or HandoverLimits()
        self._loop = asyncio.get_running_loop()
        self._channel: socket.socket | None = None
        self._offers: dict[int, Offer] = {}  # oldest first
        self._last_id = 0
        self._retry: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None

    @property
    def offer_count(self) -> int:
        """Connections that are not adopted yet."""
        return len(self._offers)

    def give(self, sock: socket.socket, came_at_ns: int = 0, origin: Origin | None = None) -> bool:
        """Take over the socket and get it to its owner; False (untouched) when too many wait.

        `came_at_ns` is when it was accepted, on the monotonic clock; 0: now.  `origin` is whence
        it comes, where that is not the other end of the socket.
        """
        if len(self._offers) >= self._limits.offers_max:
            return False
        self._last_id += 1
        until_s = self._loop.time() + self._limits.silence_s
        told = b"" if origin is None else _encode_origin(origin)
        self._offers[self._last_id] = Offer(sock, came_at_ns or monotonic_ns(), until_s, told)
        if self._silence is None:
            self._silence = self._loop.call_at(until_s, self._check_silence)
        self._push()
        return True

    def close(self) -> None:
        """Hang up on everything that was not adopted."""
        for timer in (self._retry, self._silence):
            if timer is not None:
                timer.cancel()
        self._lose_channel()
        for offer in self._offers.values():
            hang_up(offer.sock)
        self._offers.clear()

    def _push(self) -> None:
        """Send what may be sent; try again soon when the owner cannot take it."""
        if self._channel is None and not self._connect():
            self._push_soon()
            return
        assert self._channel is not None
        sent_count = sum(offer.is_sent for offer in self._offers.values())
        for number, offer in self._offers.items():
            if sent_count >= self._limits.outstanding_max:
                return
            if offer.is_sent:
                continue
            try:
                packet = _OFFER.pack(number, offer.came_at_ns) + offer.origin
                socket.send_fds(self._channel, [packet], [offer.sock.fileno()])
            except OSError as error:
                if not isinstance(error, BlockingIOError):
                    self._lose_channel()
                self._push_soon()
                return
            offer.is_sent = True
            sent_count += 1

    def _push_soon(self) -> None:
        if self._retry is None and self._offers:
            self._retry = self._loop.call_later(_RETRY_S, self._push_again)

    def _push_again(self) -> None:
        self._retry = None
        if self._offers:
            self._push()

    def _connect(self) -> bool:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.setblocking(False)
        try:
            channel.connect(str(self._path))
            if not is_same_user(channel):
                raise PermissionError(f"{self._path} is served by another user")
        except OSError:  # nobody is there yet, or its backlog is full
            channel.close()
            return False
        self._channel = channel
        self._loop.add_reader(channel.fileno(), self._read)
        return True

    def _lose_channel(self) -> None:
        if self._channel is None:
            return
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        self._channel = None
        for offer in self._offers.values():
            offer.is_sent = False

    def _read(self) -> None:
        """Take acknowledgements; a closed channel sends everything again."""
        for _ in range(_PACKETS_PER_TURN_MAX):
            if self._channel is None:
                break
            try:
                packet = self._channel.recv(_ID.size)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if len(packet) != _ID.size:
                self._lose_channel()
                break
            offer = self._offers.pop(_ID.unpack(packet)[0], None)
            if offer is not None:
                offer.sock.close()
                self._ended(True)
        if self._offers:
            self._push()

    def _check_silence(self) -> None:
        """Give up offers whose owner was silent, after hearing what it may have said."""
        self._silence = None
        self._read()
        now_s = self._loop.time()
        for number, offer in [*self._offers.items()]:
            if offer.until_s > now_s:
                self._silence = self._loop.call_at(offer.until_s, self._check_silence)
                return
            del self._offers[number]
            hang_up(offer.sock)
            self._ended(False)


class HandoverReceiver:
    """Listens at the owner's path; `adopt` gets each connection with its preamble still unread."""

    def __init__(self, path: Path, adopt: Adopt) -> None:
        self._path = path
        self._adopt = adopt
        self._loop = asyncio.get_running_loop()
        self._listener = listen_at(path, socket.SOCK_SEQPACKET)
        self._channels: dict[int, socket.socket] = {}
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening; what senders still have on the way goes to the successor."""
        self._loop.remove_reader(self._listener.fileno())
        close_at(self._listener, self._path)
        for number in [*self._channels]:
            self._drop(number)

    def _accept(self) -> None:
        try:
            channel, _ = self._listener.accept()
        except OSError as error:  # it went away again, or descriptors are short
            if error.errno in NO_DESCRIPTORS:
                rest_without_descriptors(self._loop, self._listener, self._accept)
            return
        if not is_same_user(channel):
            channel.close()
            return
        channel.setblocking(False)
        number = channel.fileno()
        self._channels[number] = channel
        self._loop.add_reader(number, self._receive, number)

    def _drop(self, number: int) -> None:
        self._loop.remove_reader(number)
        self._channels.pop(number).close()

    def _receive(self, number: int) -> None:
        channel = self._channels[number]
        for _ in range(_PACKETS_PER_TURN_MAX):
            try:
                packet, descriptors = _receive_packet(channel)
            except BlockingIOError:
                return
            except OSError:
                packet, descriptors = b"", []
            socks = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            if len(packet) < _OFFER.size:
                self._drop(number)
                return
            # Without a descriptor (this process has no room for one) nothing is acknowledged.
            for sock in socks:
                self._take(channel, packet, sock)

    def _take(self, channel: socket.socket, packet: bytes, sock: socket.socket) -> None:
        number, came_at_ns = _OFFER.unpack_from(packet)
        try:
            channel.send(_ID.pack(number))
        except OSError:  # the sender keeps it, and hears nothing: it is sent again or given up
            sock.close()
            return
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            preamble = read_opening(sock.recv(PREAMBLE_BYTES, socket.MSG_PEEK))
            peer = address_of(sock)
            if told := packet[_OFFER.size :]:
                origin = _decode_origin(told)
                peer, preamble = origin.address, preamble._replace(secured=origin.secured)
        except (OSError, PreambleError, msgspec.DecodeError):  # it broke on its way
            hang_up(sock)
            return
        self._adopt(sock, preamble, peer, came_at_ns)


def read_opening(data: bytes) -> Preamble:
    """Return what the first 16 bytes say; for an HTTP request, a session of any id.

    Raises PreambleError.
    """
    if is_http(data):
        return Preamble(Role.SESSION, None, is_web=True)
    return decode_preamble(data)


def _receive_packet(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Like socket.recv_fds, which forgets to pass the flag on: no child inherits what came."""
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(descriptors.itemsize)
    packet, told, _, _ = channel.recvmsg(
        _OFFER.size + _ORIGIN_BYTES_MAX, space, socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in told:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return packet, descriptors.tolist()


def address_of(sock: socket.socket) -> str:
    """Return the peer's address without its port, "" for a unix socket.

    Raises OSError when the connection is gone.
    """
    name = sock.getpeername()
    return str(name[0]) if isinstance(name, tuple) else ""

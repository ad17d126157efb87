"""The public port: accepts, looks at the first bytes without taking them, finds the owner.

    accepted --> guest --16 bytes are there--> this worker's driver, or handed to another process
                   |  |  \\--HTTP--> by its request line: the session's worker, or the console
                   |  \\--neither--> told so (parting), closed once it has left
                   \\--5 s--> closed

A guest costs nothing while it is silent: SO_RCVLOWAT makes the kernel wake us only when all 16
bytes are there or the peer has left.  Guests are bounded in number and by address, accepting by
rate and by descriptors: what is too much is turned away early, while there is room to do so.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic_ns

import msgspec

from pointsman_wire.preamble import (
    PREAMBLE_BYTES,
    Preamble,
    PreambleError,
    Role,
    decode_preamble,
)
from pointsman_wire.shards import shard_of
from pointsman_wire.sockets.bounds import Strangers
from pointsman_wire.sockets.handover import Adopt, Origin, hang_up
from pointsman_wire.sockets.unix_sockets import NO_DESCRIPTORS
from pointsman_wire.sockets.web.request_line import (
    REQUEST_LINE_BYTES_MAX,
    Wanted,
    read_request_line,
)
from pointsman_workers.shell.entrance.departures import has_left
from pointsman_workers.shell.greetings import (
    NO_CONSOLE,
    Greeting,
    http_answer,
    overloaded,
    overloaded_http,
    read_greeting,
    refusal,
)

MANAGER = -1
CONSOLE = -2
ACCEPTS_PER_S_MAX = 500

_CLIENT_ROLES = frozenset({Role.SESSION, Role.TRUNK})
_DISCARD_BYTES = 64 * 1024
_SURPRISES_MAX = 3
_PIECES_MAX = 64  # of a request line
_DISCARDS_MAX = 32


class DoorwayLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much the doorway takes upon itself."""

    guest_s: float = 5.0
    parting_s: float = 1.0
    accepts_per_turn_max: int = 64
    accepts_per_s_max: int = ACCEPTS_PER_S_MAX
    pause_s: float = 0.1
    connections_max: int = 10_000


class DoorwayOwners(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes what the doorway has looked at.

    `adopt` is this worker's own; `give` hands a socket to another worker, MANAGER or CONSOLE and
    may refuse; both are told when it was accepted, on the monotonic clock, and `give` whence, where
    the socket does not tell.  `connection_count` is how many connections this process has besides
    guests.
    """

    worker_index: int
    worker_count: int
    adopt: Adopt
    give: Callable[[int, socket.socket, int, Origin | None], bool]
    connection_count: Callable[[], int]
    has_console: bool = False


class Guest(msgspec.Struct, eq=False):
    """A connection that nobody owns yet, or one that was refused and may read why."""

    sock: socket.socket
    address: str
    came_at_ns: int
    until_s: float
    is_parting: bool = False
    surprises: int = 0  # wakes that led to no owner
    surprises_max: int = _SURPRISES_MAX
    wanted_bytes: int = PREAMBLE_BYTES  # with less there is nothing to decide
    origin: Origin | None = None  # of one whose TLS ends in this process


class Doorway:
    """Accepts from the shared listening socket until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        owners: DoorwayOwners,
        *,
        strangers: Strangers,
        limits: DoorwayLimits | None = None,
    ) -> None:
        self._listener = listener
        self._owners = owners
        self._strangers = strangers
        self._limits = limits or DoorwayLimits()
        self._loop = asyncio.get_running_loop()
        self._guests: dict[int, Guest] = {}  # by descriptor
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._allowance = float(self._limits.accepts_per_s_max)
        self._counted_at_s = self._loop.time()
        # Given up for a moment when there is no other, to accept and turn away.
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.refused_count = 0
        self.is_refusing_clients = False  # overloaded: nodes are let in, sessions are not
        listener.setblocking(False)
        self._loop.add_reader(listener.fileno(), self._accept)

    @property
    def guest_count(self) -> int:
        """Connections that were accepted and have no owner."""
        return len(self._guests)

    def close(self) -> None:
        """Accept no more; guests are hung up on.  The listening socket stays open."""
        for timer in (self._timer, self._pause):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._listener.fileno())
        for guest in [*self._guests.values()]:
            self._dismiss(guest)
        os.close(self._spare)

    # ---- accepting

    def _accept(self) -> None:
        for _ in range(min(self._limits.accepts_per_turn_max, self._room_for_now())):
            try:
                sock, name = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    self._turn_one_away()
                    self._rest()
                    return
                continue  # the peer was gone before it was accepted
            if self._allowance < self._limits.accepts_per_s_max / 2 and has_left(sock):
                sock.close()  # its peer gave up waiting: those who still wait come sooner
                self.refused_count += 1
                continue
            self._allowance -= 1
            address = str(name[0]) if isinstance(name, tuple) else ""
            self._welcome(sock, address)

    def _room_for_now(self) -> int:
        now_s = self._loop.time()
        per_s = self._limits.accepts_per_s_max
        earned = (now_s - self._counted_at_s) * per_s
        self._allowance = min(float(per_s), self._allowance + earned)
        self._counted_at_s = now_s
        if self._allowance < 1:
            self._rest()
        return int(self._allowance)

    def _rest(self) -> None:
        """Leave the listening socket alone for a moment; other workers may accept meanwhile."""
        if self._pause is None:
            self._loop.remove_reader(self._listener.fileno())
            self._pause = self._loop.call_later(self._limits.pause_s, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _turn_one_away(self) -> None:
        """Accept with the spare descriptor and close, so that the peer does not hang."""
        os.close(self._spare)
        try:
            sock, _ = self._listener.accept()
            sock.close()
            self.refused_count += 1
        except OSError:  # the peer left, or another process took the descriptor
            pass
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def let_in(self, sock: socket.socket, origin: Origin) -> None:
        """Take a connection whose TLS this process ends; `sock` is what is said in it, plain."""
        self._welcome(sock, origin.address, origin)

    def _welcome(self, sock: socket.socket, address: str, origin: Origin | None = None) -> None:
        held = self._owners.connection_count() + len(self._guests)
        if held >= self._limits.connections_max or not self._strangers.admit(address):
            sock.close()
            self.refused_count += 1
            return
        sock.setblocking(False)
        guest = Guest(sock, address, monotonic_ns(), self._loop.time() + self._limits.guest_s)
        if origin is not None:
            # A local socket wakes for every piece, however much is waited for.
            guest.origin, guest.surprises_max = origin, _PIECES_MAX
        self._guests[sock.fileno()] = guest
        if self._look(guest):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, guest.wanted_bytes)
            self._loop.add_reader(sock.fileno(), self._wake, guest)
            self._watch()

    # ---- guests

    def _wake(self, guest: Guest) -> None:
        guest.surprises += 1
        if guest.is_parting:
            self._discard(guest)
            return
        if not self._look(guest):
            return
        if guest.surprises >= guest.surprises_max:
            self._dismiss(guest)  # it said less than was wanted and will say no more
        else:
            guest.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, guest.wanted_bytes)

    def _look(self, guest: Guest) -> bool:
        """Judge what has come so far; True when that is too little."""
        try:
            data = guest.sock.recv(PREAMBLE_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self._dismiss(guest)
            return False
        greeting = read_greeting(data)
        if greeting is Greeting.PREAMBLE:
            self._find_owner(guest, data)
        elif greeting is Greeting.HTTP:
            return self._find_web_owner(guest)
        elif greeting is Greeting.FOREIGN:
            self._part(guest, refusal("this port speaks Pointsman's binary protocol"))
        return greeting is Greeting.INCOMPLETE

    def _find_owner(self, guest: Guest, data: bytes) -> None:
        try:
            preamble = decode_preamble(data)
        except PreambleError as error:
            self._part(guest, refusal(str(error)))
            return
        if self.is_refusing_clients and preamble.role in _CLIENT_ROLES:
            self.refused_count += 1
            self._part(guest, overloaded())
            return
        owner = self._owner_of(preamble)
        if owner is None:
            count = self._owners.worker_count
            words = f"worker {preamble.key} was dialled, of {count} that are counted from 0"
            self._part(guest, refusal(f"{words}: register or open the session again"))
            return
        self._pass_on(guest, owner, preamble)

    def _find_web_owner(self, guest: Guest) -> bool:
        """Read the request line, still without taking it; True when it is not all there."""
        try:
            data = guest.sock.recv(REQUEST_LINE_BYTES_MAX, socket.MSG_PEEK)
        except OSError:  # it was reset since its first bytes were looked at
            self._dismiss(guest)
            return False
        line = read_request_line(data)
        if line.wanted is Wanted.INCOMPLETE:
            guest.surprises_max = _PIECES_MAX
            guest.wanted_bytes = line.length + 1
            return True
        owners = self._owners
        owner = owners.worker_index
        if line.wanted is Wanted.NOTHING:
            self._part(guest, http_answer(HTTPStatus.BAD_REQUEST, f"{line.fault}\n"))
        elif line.wanted is Wanted.CONSOLE and not owners.has_console:
            self._part(guest, NO_CONSOLE)
        elif line.wanted is Wanted.SESSION and self.is_refusing_clients:
            self.refused_count += 1
            self._part(guest, overloaded_http())
        else:
            if line.wanted is Wanted.CONSOLE:
                owner = CONSOLE
            elif line.session_id:
                owner = shard_of(line.session_id, owners.worker_count)
            self._pass_on(guest, owner, Preamble(Role.SESSION, None, is_web=True))
        return False

    def _pass_on(self, guest: Guest, owner: int, preamble: Preamble) -> None:
        self._let_go(guest)
        guest.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        if guest.origin is not None:
            preamble = preamble._replace(secured=guest.origin.secured)
        if owner == self._owners.worker_index:
            self._owners.adopt(guest.sock, preamble, guest.address, guest.came_at_ns)
        elif not self._owners.give(owner, guest.sock, guest.came_at_ns, guest.origin):
            hang_up(guest.sock)
            self.refused_count += 1

    def _owner_of(self, preamble: Preamble) -> int | None:
        owners = self._owners
        if preamble.role is Role.CONTROL:
            return MANAGER
        if preamble.key is None:
            return owners.worker_index
        if preamble.role is Role.SESSION:
            return preamble.key % owners.worker_count
        return preamble.key if preamble.key < owners.worker_count else None

    def _let_go(self, guest: Guest) -> None:
        """Forget the guest; its socket stays open."""
        if self._guests.pop(guest.sock.fileno(), None) is not None:
            self._loop.remove_reader(guest.sock.fileno())
            self._strangers.leave(guest.address)

    def _dismiss(self, guest: Guest) -> None:
        self._let_go(guest)
        guest.sock.close()

    def _part(self, guest: Guest, words: bytes) -> None:
        """Say why, and close once the peer has left: closing sooner would destroy the words."""
        sock = guest.sock
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            sock.send(words)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._dismiss(guest)
            return
        guest.is_parting = True
        guest.until_s = self._loop.time() + self._limits.parting_s
        self._loop.add_reader(sock.fileno(), self._wake, guest)
        self._watch()

    def _discard(self, guest: Guest) -> None:
        try:
            data = guest.sock.recv(_DISCARD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or guest.surprises >= _DISCARDS_MAX:
            self._dismiss(guest)

    def _watch(self) -> None:
        if self._timer is None:
            shortest_s = min(self._limits.guest_s, self._limits.parting_s)
            self._timer = self._loop.call_later(shortest_s / 4, self._check_guests)

    def _check_guests(self) -> None:
        """Close guests whose time is over, unless what they wait for lies there already."""
        self._timer = None
        now_s = self._loop.time()
        for guest in [*self._guests.values()]:
            if guest.until_s <= now_s and (guest.is_parting or self._look(guest)):
                self._dismiss(guest)
        if self._guests:
            self._watch()

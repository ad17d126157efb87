"""The one thin loop around every core: facts in, one step a turn, wishes out.

Whatever happens in one turn of the event loop is gathered in an inbox and handed to the core in
one step (a crowd's in several); what it sends on a connection is encoded and written at once.

Time: exactly one timer is armed, for the core's next deadline; it is armed anew only when the
deadline came nearer or the timer fired.  When this process did not run for a while (a stopped
process, a suspended machine), its timers are due before the answers that lie in its sockets were
read; so a turn that finds the timer overdue lets the loop drain the sockets once, and tells the
core by how much it was late before anything else.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from time import monotonic_ns
from typing import Any

import msgspec

from pointsman_wire.framing import LENGTH_BYTES, PREFIX_BYTES
from pointsman_wire.limits import HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX
from pointsman_wire.link import (
    Accepted,
    Close,
    Connection,
    Core,
    Dial,
    DialFailed,
    Dialled,
    LoopWasLate,
    Send,
    Waited,
)
from pointsman_wire.preamble import PREAMBLE_BYTES, Preamble, Role, encode_preamble
from pointsman_wire.sockets.bounds import DriverSettings, Strangers
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_wire.sockets.hosting import Watch
from pointsman_wire.sockets.reading import MessageReader
from pointsman_wire.sockets.tcp import AddressError, split_address, why_no_connection

_encode_into = msgspec.msgpack.Encoder().encode_into
_pack_prefix_into = struct.Struct("<II").pack_into
_SURELY_FINE = min(HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX) - PREFIX_BYTES  # as a frame's length
_NS = 1_000_000_000
_NEVER_NS = 1 << 63


class Driver:
    """Runs one core on one event loop.

    `unions` gives, for each role this process speaks, the union of messages that it receives.
    Commands that are not of link.py go to `execute`, in order.  `broken` is a future that gets
    the exception of a step that raised: await it, a core with a bug must not run on.
    """

    def __init__(
        self,
        core: Core,
        *,
        unions: Mapping[Role, Any],
        execute: Callable[[Any], None],
        settings: DriverSettings | None = None,
        strangers: Strangers | None = None,
    ) -> None:
        self.settings = settings or DriverSettings()
        self.strangers = strangers or Strangers()
        self.observe_turn: Callable[[int], None] | None = None  # told a step's nanoseconds
        self.observe_wait: Callable[[int], None] | None = None  # how long it was due, see post()
        self.may_wait: Callable[[object], bool] | None = None  # for a turn that others bring
        self.refused_count = 0  # connections that were too many
        self._core = core
        self._loop = asyncio.get_running_loop()
        self.broken: asyncio.Future[None] = self._loop.create_future()
        self._execute = execute
        taken_max = self.settings.header_bytes_max
        self._readers = {
            role: MessageReader(union, bytes_max=taken_max) for role, union in unions.items()
        }
        self._inbox: list[Any] = []
        self._told_at_ns = 0  # when the first of them came that may not wait, 0 before
        self._is_scheduled = False  # a turn will come by itself
        self._is_over = False
        self._numbers = count(1)
        self._connections: dict[Connection, FrameConnection] = {}  # those the core may send on
        self.alive: set[FrameConnection] = set()  # also those that are ending
        self._left = asyncio.Event()  # set whenever one of those is gone
        self._resting: list[FrameConnection] = []  # those that told their share of this turn
        self._strange: dict[FrameConnection, str] = {}  # unknown yet -> address
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns = _NEVER_NS  # when the timer is due, or was when it has just fired
        self._deadline_ns = _NEVER_NS  # what the core said last
        limits, tolerance_s = self.settings.limits, self.settings.late_tolerance_ns / _NS
        self._watch = Watch(self._loop, limits.watch_period_s(), tolerance_s)

    # ---- for the shell

    @property
    def connection_count(self) -> int:
        """Connections that exist, ending ones included."""
        return len(self.alive)

    def start(self) -> None:
        """Give the core its first step, in which it names its first deadline."""
        self._schedule()

    def post(self, event: object) -> None:
        """Tell the core something in the coming turn; only what may not wait makes that one due."""
        if not self._told_at_ns:
            if not self._is_scheduled:
                may_wait, waiting_max = self.may_wait, self.settings.waiting_max
                if may_wait is not None and len(self._inbox) < waiting_max and may_wait(event):
                    self._inbox.append(Waited(monotonic_ns(), event))
                    return
                self._schedule()
            self._told_at_ns = monotonic_ns()
        self._inbox.append(event)

    def adopt(
        self, sock: socket.socket, preamble: Preamble, peer: str = "", came_at_ns: int = 0
    ) -> None:
        """Take over an accepted connection whose preamble has arrived but was not read.

        `peer` is the address without the port, `came_at_ns` when it was accepted, on the
        monotonic clock (0: now).  Closed when the role is not spoken here, or there are too many.
        """
        sock.setblocking(False)
        reader = self._readers.get(preamble.role)
        flags = socket.MSG_PEEK if preamble.is_web else 0
        try:
            is_open = sock.recv(PREAMBLE_BYTES, flags) != b""
        except OSError:  # it was reset meanwhile, or the preamble is not there after all
            is_open = False
        is_full = len(self.alive) >= self.settings.connections_max
        self.refused_count += is_full
        is_spoken = (self.settings.web if preamble.is_web else reader) is not None
        if self._is_over or is_full or not is_spoken or not is_open:
            sock.close()
            return
        if not self.strangers.admit(peer):
            self.refused_count += 1
            sock.close()
            return
        opening = Accepted(Connection(next(self._numbers)), preamble, peer)
        connection = self._connection(opening, preamble)
        connection.came_at_ns = came_at_ns or monotonic_ns()
        self._strange[connection] = peer
        self.alive.add(connection)
        self._keep(self._loop.create_task(self._attach(sock, connection)))

    def _connection(self, opening: Accepted | Dialled, preamble: Preamble) -> FrameConnection:
        limits, web = self.settings.limits, self.settings.web
        is_dialled = isinstance(opening, Dialled)
        if web is not None and (is_dialled or preamble.is_web):
            return web(self, opening, limits)
        hello = encode_preamble(preamble.role, preamble.key) if is_dialled else b""
        reader = self._readers[preamble.role]
        return FrameConnection(self, opening, reader, limits, hello=hello)

    async def end(self, timeout_s: float = 5.0) -> None:
        """End every connection, flushing what was sent, and step no more."""
        self._is_over = True
        self._disarm()
        for task in (tasks := [*self._tasks]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in [*self.alive]:
            connection.end("this process ends")
        try:
            await self._wait_for_leaving(timeout_s)
        finally:  # also when who waits is cancelled: the loop may end next
            for connection in [*self.alive]:
                connection.abort("this process ends")
        await self._wait_for_leaving(1.0)
        self._watch.close()

    # ---- for connections

    def watch(self, connection: FrameConnection) -> None:
        """Look at the connection's deadlines until it has none."""
        self._watch.add(connection)

    def known(self, connection: FrameConnection) -> None:
        """Its first message came: it is no stranger any more."""
        address = self._strange.pop(connection, None)
        if address is not None:
            self.strangers.leave(address)

    def closed(self, connection: FrameConnection) -> None:
        """Nothing more may be sent on it."""
        self._connections.pop(connection.number, None)

    def gone(self, connection: FrameConnection) -> None:
        """The socket is closed, or never stood."""
        self.closed(connection)
        self.known(connection)
        self.alive.discard(connection)
        self._watch.discard(connection)
        self._left.set()

    def rest(self, connection: FrameConnection) -> None:
        """It has told so much that it reads on after the core's next step only."""
        self._resting.append(connection)
        self._schedule()

    # ---- the turn

    def _schedule(self) -> None:
        if not (self._is_over or self._is_scheduled):
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        now_ns = monotonic_ns()
        late_ns = now_ns - self._timer_at_ns
        if late_ns > self.settings.late_tolerance_ns:
            self._disarm()
            # Two turns of the loop hold one whole look at the sockets, in asyncio as in uvloop.
            self._loop.call_soon(self._loop.call_soon, self._late_turn, late_ns)
            return
        self._is_scheduled = False
        if self._timer is None:  # it has fired
            self._timer_at_ns = _NEVER_NS
        self._step(now_ns)

    def _late_turn(self, late_ns: int) -> None:
        self._is_scheduled = False
        self._inbox.insert(0, LoopWasLate(late_ns))
        self._step(monotonic_ns())

    def _step(self, now_ns: int) -> None:
        if self._is_over:
            return
        core, events, told_at_ns = self._core, self._inbox, self._told_at_ns
        self._inbox, self._told_at_ns = [], 0
        later: list[Any] = []  # what a crowd brought above the share of one step
        try:
            while True:
                if len(events) > (share := self.settings.step_events_max):
                    events, later = events[:share], events[share:]
                self._carry_out(core.step(now_ns, events))
                ended_ns = monotonic_ns()
                if self.observe_turn is not None:
                    self.observe_turn(ended_ns - now_ns)
                if not later:
                    break
                events, later, now_ns = later, [], ended_ns
            deadline_ns = core.next_deadline_ns()
        except BaseException as error:
            self._is_over = True
            if not self.broken.done():
                self.broken.set_exception(error)
            raise
        if deadline_ns is None:
            deadline_ns = _NEVER_NS
        self._deadline_ns = deadline_ns
        if deadline_ns < self._timer_at_ns:
            self._arm(deadline_ns)
        if self._resting:
            self._read_on()
        if told_at_ns and self.observe_wait is not None:
            self.observe_wait(ended_ns - told_at_ns)

    def _read_on(self) -> None:
        resting, self._resting = self._resting, []
        for connection in resting:
            connection.read_on()

    def _carry_out(self, commands: Sequence[Any]) -> None:
        connection_of = self._connections.get
        queued: list[FrameConnection] = []
        for command in commands:
            if type(command) is not Send:
                self._carry_out_rare(command)
                continue
            connection = connection_of(command.connection)
            if connection is None:  # it ended; the core hears of it in the coming turn
                continue
            if not connection.is_queued:
                connection.is_queued = True
                queued.append(connection)
            if connection.is_web:
                connection.put(command.message, command.payload)
                continue
            out = connection.out
            at = len(out)
            _encode_into(command.message, out, at + PREFIX_BYTES)
            payload_at = len(out)
            out += command.payload
            length = len(out) - at - LENGTH_BYTES
            _pack_prefix_into(out, at, length, payload_at - at - PREFIX_BYTES)
            connection.out_frames += 1
            if length > _SURELY_FINE and (  # hardly ever
                len(command.payload) > PAYLOAD_BYTES_MAX
                or payload_at - at > HEADER_BYTES_MAX  # the 8 bytes before it included
            ):
                del out[at:]
                connection.end(f"a frame of {length} bytes is too large to be sent")
        self._flush(queued)

    def _flush(self, queued: Sequence[FrameConnection]) -> None:
        for connection in queued:
            connection.is_queued = False
            connection.flush()

    def _carry_out_rare(self, command: Any) -> None:
        kind = type(command)
        if kind is Close:
            connection = self._connections.get(command.connection)
            if connection is not None:
                connection.end(command.reason)
        elif kind is Dial:
            self._keep(self._loop.create_task(self._dial(command)))
        else:
            self._execute(command)

    # ---- timers

    def _arm(self, deadline_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now_ns = monotonic_ns()
        self._timer_at_ns = max(deadline_ns, now_ns)
        # Loops count whole milliseconds: half a one more, so that it does not fire early.
        delay_s = (self._timer_at_ns - now_ns + 500_000) / _NS
        self._timer = self._loop.call_later(delay_s, self._fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_at_ns = _NEVER_NS

    def _fire(self) -> None:
        self._timer = None  # its time stays, for the turn to see how late it is
        if self._is_scheduled or self._is_over:
            return
        now_ns = monotonic_ns()
        late_ns = now_ns - self._timer_at_ns
        if now_ns < self._deadline_ns and late_ns < self.settings.late_tolerance_ns:
            self._disarm()  # the deadline moved away since the timer was armed
            if self._deadline_ns < _NEVER_NS:
                self._arm(self._deadline_ns)
            return
        self._is_scheduled = True
        self._turn()

    # ---- sockets

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait_for_leaving(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while self.alive:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            return

    async def _attach(self, sock: socket.socket, connection: FrameConnection) -> None:
        self._connections[connection.number] = connection
        try:
            await self._loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:  # it broke before it stood
            sock.close()
        finally:
            if not connection.has_stood:
                self.gone(connection)

    async def _dial(self, dial: Dial) -> None:
        opening = Dialled(Connection(next(self._numbers)), dial.purpose)
        connection = self._connection(opening, dial.preamble)
        address = dial.address or self.settings.server_address
        self._connections[connection.number] = connection
        self.alive.add(connection)
        reason = ""
        try:
            host, port = split_address(address)
            async with asyncio.timeout(self.settings.dial_s):
                tls = self.settings.tls
                await self._loop.create_connection(lambda: connection, host, port, ssl=tls)
        except (OSError, TimeoutError, AddressError) as error:
            reason = why_no_connection(error, self.settings.dial_s)
        finally:
            if not connection.has_stood:
                self.gone(connection)
        if reason and not connection.has_stood:
            self.post(DialFailed(dial.purpose, f"cannot connect to {address}: {reason}"))
        elif reason:
            connection.abort(reason)

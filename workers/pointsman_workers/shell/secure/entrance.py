"""The TLS port: accepts as many as may, shakes hands, and lets what is said in by the doorway.

    accepted --> handshake --> who is it? --> relay: its plain end is a guest of the doorway
       |            \\--not in time, no TLS 1.3, a certificate that is not ours--> closed, counted
       \\--no handshake may begin now--> stays in the queue of the kernel

From the doorway on nothing differs from the plaintext port: preamble or HTTP, then the owner.  An
owner in another process gets the plain end; the relay goes on here, and ends with this worker.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import cast

import msgspec

from pointsman_wire.preamble import Secured
from pointsman_wire.secure.grants import read_bounds
from pointsman_wire.secure.pins import PinError, key_digest_of
from pointsman_wire.sockets.bounds import Strangers
from pointsman_wire.sockets.handover import Origin
from pointsman_wire.sockets.tcp import set_tcp_options
from pointsman_wire.sockets.unix_sockets import NO_DESCRIPTORS
from pointsman_workers.shell.entrance.departures import has_left
from pointsman_workers.shell.secure.allowance import HandshakeAllowance
from pointsman_workers.shell.secure.relay import RelaySide

ACCEPTS_PER_TURN_MAX = 16
REST_S = 0.02
# Of the handshakes under way so many may be one address's: else it keeps all others out by
# beginning some and never ending them.
SHARE_OF_AN_ADDRESS = 8


class EntranceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What handshakes and relays may cost this process."""

    handshake_s: float = 5.0
    handshakes_per_s_max: int = 200
    handshakes_max: int = 256
    relays_max: int = 4_096


class EntranceHooks(msgspec.Struct, frozen=True):
    """`let_in` gets each plain end; `ended` is told of each handshake: did it come to its end?"""

    let_in: Callable[[socket.socket, Origin], None]
    ended: Callable[[bool], None]


class Entrance:
    """Accepts from the shared TLS socket until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        hooks: EntranceHooks,
        limits: EntranceLimits,
    ) -> None:
        self._listener = listener
        self._context = context
        self._hooks = hooks
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._allowance = HandshakeAllowance(
            per_s_max=limits.handshakes_per_s_max,
            under_way_max=limits.handshakes_max,
            now_s=self._loop.time(),
        )
        self._shaking = Strangers(
            total_max=limits.handshakes_max,
            per_address_max=max(1, limits.handshakes_max // SHARE_OF_AN_ADDRESS),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._sides: set[RelaySide] = set()
        self._rest: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._loop.add_reader(listener.fileno(), self._accept)

    @property
    def connection_count(self) -> int:
        """Descriptors that are held here: handshakes under way, and both sides of each relay."""
        return self._allowance.under_way + len(self._sides)

    def stop_accepting(self) -> None:
        """Take no new connections; what stands goes on."""
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._listener.fileno())

    async def close(self) -> None:
        """End every connection, and the listening socket of this process."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for side in [*self._sides]:
            side.abort()
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN_MAX):
            is_full = len(self._sides) >= 2 * self._limits.relays_max
            if is_full or not self._allowance.take(self._loop.time()):
                self._pause()
                return
            try:
                sock, name = self._listener.accept()
            except OSError as error:
                self._allowance.was_not_needed()
                if error.errno in NO_DESCRIPTORS:
                    self._pause()
                return  # nobody waits any more, or the peer was gone
            address = str(name[0])
            if has_left(sock):
                self._allowance.was_not_needed()
                sock.close()
                continue
            if not self._shaking.admit(address):
                self._allowance.was_not_needed()
                sock.close()
                continue
            task = self._loop.create_task(self._serve(sock, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _pause(self) -> None:
        """Leave the socket alone for a moment; other workers may accept meanwhile."""
        self._loop.remove_reader(self._listener.fileno())
        self._rest = self._loop.call_later(REST_S, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    async def _serve(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        outer = RelaySide(lambda: self._sides.discard(outer))
        is_done = False
        try:
            set_tcp_options(sock)
            await self._loop.connect_accepted_socket(
                lambda: outer,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_s,
            )
            is_done = True
        except (OSError, TimeoutError):  # no TLS, not in time, or no certificate of ours
            sock.close()
        finally:
            self._allowance.give_back()
            self._shaking.leave(address)
            self._hooks.ended(is_done)
        if is_done and outer.transport is not None:
            self._sides.add(outer)
            await self._connect(outer, address)

    async def _connect(self, outer: RelaySide, address: str) -> None:
        secured = secured_of(outer.tls)
        if secured is None:
            outer.abort()
            return
        inner = RelaySide(lambda: self._sides.discard(inner))
        try:
            here, there = socket.socketpair()
        except OSError:  # no descriptors are left
            outer.abort()
            return
        for end in (here, there):
            end.setblocking(False)
        is_connected = False
        try:
            await self._loop.connect_accepted_socket(lambda: inner, here)
            is_connected = True
        except OSError:  # no descriptors are left
            return
        finally:
            if not is_connected:  # so too when this process ends
                here.close()
                there.close()
                outer.abort()
        self._sides.add(inner)
        inner.meet(outer)
        outer.meet(inner)
        self._hooks.let_in(there, Origin(address, secured))


def secured_of(tls: ssl.SSLObject | None) -> Secured | None:
    """Return what the handshake has proven; None for a certificate that nobody understands.

    The handshake has checked that our authority signed it and that it is in force.
    """
    if tls is None:
        return None
    shown = tls.getpeercert(binary_form=True)
    if not shown:
        return Secured()
    told = tls.getpeercert() or {}
    subject: dict[str, str] = {}
    for part in told.get("subject", ()):
        subject.update(part)  # type: ignore[arg-type]
    try:
        others = cast("tuple[tuple[str, str], ...]", told.get("subjectAltName", ()))
        bounds = [uri for kind, uri in others if kind == "URI"]
        tenant, labels = read_bounds(bounds[0]) if bounds else ("", ())
        return Secured(
            name=subject["commonName"],
            pool=subject.get("organizationalUnitName", ""),
            key_digest=key_digest_of(shown),
            begins_at_s=int(ssl.cert_time_to_seconds(str(told["notBefore"]))),
            ends_at_s=int(ssl.cert_time_to_seconds(str(told["notAfter"]))),
            tenant=tenant,
            labels=labels,
        )
    except (KeyError, PinError, ValueError):
        return None

"""What peers may cost a process: bounds of one connection, of all, and of those still unknown."""

import ssl
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import msgspec

from pointsman_wire.limits import (
    FRAME_ARRIVAL_TIMEOUT_S,
    FRAME_BYTES_MAX,
    HANDSHAKE_BYTES_MAX,
    HANDSHAKE_TIMEOUT_S,
    HEADER_TAKEN_BYTES_MAX,
    REGISTER_BYTES_MAX,
)
from pointsman_wire.preamble import Role

if TYPE_CHECKING:
    from pointsman_wire.sockets.connections import FrameConnection
    from pointsman_wire.sockets.hosting import ConnectionHost

STRANGERS_MAX = 256
STRANGERS_PER_ADDRESS_MAX = 8
UNREADABLE_MAX = 100


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may cost, in bytes, frames and seconds."""

    frame_bytes_max: int = FRAME_BYTES_MAX
    first_frame_bytes_max: int = HANDSHAKE_BYTES_MAX
    register_bytes_max: int = REGISTER_BYTES_MAX
    first_frame_s: float = HANDSHAKE_TIMEOUT_S
    frame_arrival_s: float = FRAME_ARRIVAL_TIMEOUT_S
    queue_bytes_max: int = 8 * 1024 * 1024
    queue_frames_max: int = 8_192
    # So much that waits for a client makes it congested, which its core is told; 0 = never.
    congested_bytes: int = 0
    congested_frames: int = 0
    stall_s: float = 5.0
    linger_s: float = 1.0
    # After so many, others have their turn; large frames take long to decode, and some loops read
    # from one socket until nothing is left.
    frames_a_turn_max: int = 1_024
    bytes_a_turn_max: int = 512 * 1024
    # So many frames that are no messages end a connection, unless they come slowly.
    unreadable_max: int = UNREADABLE_MAX
    unreadable_forgiven_a_second: int = 10

    def first_bytes_max(self, role: Role) -> int:
        """How large the first frame of a peer may be."""
        return self.register_bytes_max if role is Role.CONTROL else self.first_frame_bytes_max

    def watch_period_s(self) -> float:
        """How often deadlines are looked at, so that none is missed by more than a quarter."""
        shortest = min(self.first_frame_s, self.frame_arrival_s, self.stall_s, self.linger_s)
        return max(0.005, min(0.5, shortest / 4))


class DriverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a driver; `server_address` is dialled when a Dial names none, with TLS if given.

    `web` makes the connections of browsers, where they are let in; where one dials, all.
    """

    limits: ConnectionLimits = ConnectionLimits()
    server_address: str = ""
    tls: ssl.SSLContext | None = None
    # Who passes headers on takes less than may be sent; who is their end takes all of it.
    header_bytes_max: int = HEADER_TAKEN_BYTES_MAX
    dial_s: float = 5.0
    late_tolerance_ns: int = 250_000_000
    connections_max: int = 1_000_000  # above it none is adopted
    step_events_max: int = 1_000_000  # more that came at once are several steps
    waiting_max: int = 0  # events that wait for a turn others bring; the next one brings it
    web: "Callable[[ConnectionHost, Any, ConnectionLimits], FrameConnection] | None" = None


def is_loopback(address: str) -> bool:
    """Is it an address of this host, or no address at all (a unix socket)?"""
    return not address or address.startswith(("127.", "::ffff:127.")) or address == "::1"


def is_own_host(host: str) -> bool:
    """Does a host, as somebody wrote it, mean this machine alone?  Names but localhost do not."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def whence(address: str) -> str:
    """Return what counts as one address: of IPv6 the network, as one machine has all of it.

    A /64 is the smallest that a line or a host is given; IPv4 in IPv6 is what it stands for.
    """
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    if found.is_loopback or found.is_link_local:
        return address
    return f"{IPv6Address(int(found) >> 64 << 64)}/64"


class Strangers:
    """Counts peers that have not yet said who they are, in total and by address (see `whence`).

    They cost memory before anyone vouches for them, so the newest are turned away above the
    bounds; addresses of this host are exempt from the bound by address, not from the total.
    `admit` each once, `leave` once it is known or gone.
    """

    def __init__(
        self,
        *,
        total_max: int = STRANGERS_MAX,
        per_address_max: int = STRANGERS_PER_ADDRESS_MAX,
    ) -> None:
        self.count = 0
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._by_address: dict[str, int] = {}

    def admit(self, address: str) -> bool:
        """Count one more from this address; False when it must be turned away."""
        if self.count >= self._total_max:
            return False
        place = whence(address)
        held = self._by_address.get(place, 0)
        if held >= self._per_address_max and not is_loopback(address):
            return False
        self._by_address[place] = held + 1
        self.count += 1
        return True

    def leave(self, address: str) -> None:
        """Forget one that was admitted."""
        place = whence(address)
        left = self._by_address[place] - 1
        if left:
            self._by_address[place] = left
        else:
            del self._by_address[place]
        self.count -= 1

"""What is particular to TCP: how an address is written, and what a socket is told."""

import socket


class AddressError(ValueError):
    """A text is not host:port."""


def split_address(address: str) -> tuple[str, int]:
    """Return (host, port) of "host:port" or "[v6 host]:port".  Raises AddressError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise AddressError(f"address {address!r}: write HOST:PORT, like 127.0.0.1:7400")
    return host.removeprefix("[").removesuffix("]"), int(port)


def set_tcp_options(sock: socket.socket | None) -> None:
    """Send at once, and notice a dead peer, with what this platform has of it."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = (("IDLE", 15), ("INTVL", 5), ("CNT", 3))
    values = [(f"TCP_KEEP{name}", value) for name, value in options]
    for name, value in [*values, ("TCP_USER_TIMEOUT", 30_000)]:
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)

"""What is particular to TCP: how an address is written, and what a socket is told."""

import socket
import ssl

# How a failed handshake begins to tell that the server's key is not the one that was pinned.
OTHER_KEY = "the server has another key than the pin says"
# What OpenSSL makes of bytes that are none of TLS.
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


class AddressError(ValueError):
    """A text is not host:port."""


def split_address(address: str) -> tuple[str, int]:
    """Return (host, port) of "host:port" or "[v6 host]:port".  Raises AddressError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise AddressError(f"address {address!r}: write HOST:PORT, like 127.0.0.1:7400")
    return host.removeprefix("[").removesuffix("]"), int(port)


def join_address(host: str, port: int) -> str:
    """Return "host:port" or "[v6 host]:port", as split_address reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_text(listener: socket.socket) -> str:
    """Return where a socket listens, with the real port."""
    host, port = listener.getsockname()[:2]
    return join_address(host, port)


def why_no_connection(error: Exception, waited_s: float) -> str:
    """Return in words why a dial failed, with what to do where the system's words do not say it."""
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, ssl.SSLCertVerificationError):
        own = "" if OTHER_KEY in str(error) else "; name its key (pin) or who signed for it (ca)"
        return f"{error}{own}"
    if isinstance(error, ssl.SSLError) and error.reason in NO_TLS:
        return "it speaks no TLS: take the port that does (tls.port), or leave tls:// out"
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}: no address is known for that name"
    return str(error) or f"no answer within {waited_s:g} s"


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

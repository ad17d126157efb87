"""The addresses of this host that a process of a bench dials from, in turns.

Each has ports of its own.  Where ten thousand ports of one address are taken, the kernel looks
longer for a free one than a whole handshake takes.
"""

import itertools
import socket

SOURCES = 16
_BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT of Linux: the port is chosen by connect


class Sources:
    """Sockets that dial from PREFIX.1, PREFIX.2, and so on; PREFIX is like 127.0.1."""

    def __init__(self, prefix: str) -> None:
        self._addresses = itertools.cycle([f"{prefix}.{last + 1}" for last in range(SOURCES)])

    def next_socket(self) -> socket.socket:
        """Return a socket that does not block, sends small writes at once, and has not dialled."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((next(self._addresses), 0))
        return sock

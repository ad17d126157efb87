"""Datagrams between workers: "a slot of this class is free, and your job waits longest".

      offset  size  field
    +-------+-----+--------------------------------+
    |     0 |   2 | index of the worker that rings |
    |     2 |   4 | number of the capability class |
    +-------+-----+--------------------------------+

Little-endian.  A ring may be lost: whoever waits also looks by itself every few milliseconds.
"""

import asyncio
import socket
import struct
from collections.abc import Callable

from pointsman_shm.paths import InstancePaths
from pointsman_wire.sockets.unix_sockets import close_at, listen_at

_RING = struct.Struct("<HI")
_RINGS_PER_TURN_MAX = 64


class Bells:
    """This worker's bell, and the way to the others'; `rang` gets (worker index, class number)."""

    def __init__(
        self, paths: InstancePaths, worker_index: int, rang: Callable[[int, int], None]
    ) -> None:
        self._paths = paths
        self._index = worker_index
        self._rang = rang
        self._loop = asyncio.get_running_loop()
        self._sock = listen_at(paths.bell(worker_index), socket.SOCK_DGRAM)
        self._loop.add_reader(self._sock.fileno(), self._read)

    def ring(self, worker_index: int, class_number: int) -> bool:
        """Ring another worker; False when nobody hears."""
        try:
            self._sock.sendto(
                _RING.pack(self._index, class_number), str(self._paths.bell(worker_index))
            )
        except OSError:  # it is away, or its bell is full of rings
            return False
        return True

    def close(self) -> None:
        """Hear no more."""
        self._loop.remove_reader(self._sock.fileno())
        close_at(self._sock, self._paths.bell(self._index))

    def _read(self) -> None:
        for _ in range(_RINGS_PER_TURN_MAX):
            try:
                packet = self._sock.recv(_RING.size + 1)
            except OSError:
                return
            if len(packet) == _RING.size:
                self._rang(*_RING.unpack(packet))

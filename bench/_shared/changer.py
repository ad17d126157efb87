"""One node that changes what it can do, and how soon every worker sees that.

It says in a heartbeat that its service has another version, which gives it another capability
class: one page of nodes, and the directory, are published.  The time runs from that frame's write
until the last worker has applied a newer version of the snapshot than there was.
"""

import socket
import time

from _shared.processes import ChildTrouble
from _shared.service import WatchedService
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_wire.control_messages import Heartbeat, Register, Service, Translation
from pointsman_wire.framing import encode_frame
from pointsman_wire.preamble import Role, encode_preamble

POLL_S = 0.0002
BETWEEN_S = 0.05  # no two publishes are closer than 20 ms; this waits for nothing but its own
PATIENCE_S = 10.0


class Changer:
    """A control connection of its own; it opens no lanes, so it gets no jobs."""

    def __init__(self, watched: WatchedService, max_nodes: int) -> None:
        self._watched = watched
        catalog = watched.attach(watched.paths.catalog_segment)
        self._catalog = CatalogReader(catalog.buffer, CatalogLayout(max_nodes))
        self._count = 0
        self.lost_count = 0  # connections that the manager ended
        self._socket = self._join()

    def _join(self) -> socket.socket:
        """Register, each time as another node: this one keeps no key."""
        host, _, port = self._watched.address.rpartition(":")
        sock = socket.create_connection((host, int(port)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        register = Register(
            node_id=f"changer-{self.lost_count}",
            services=[Service(id="nmt", kind="nmt", version="0")],
            nmt=Translation(pairs=[("en", "es")]),
        )
        sock.sendall(encode_preamble(Role.CONTROL) + encode_frame(register))
        sock.recv(65_536)  # the answer; those to heartbeats are read now and then
        return sock

    def change_for(self, seconds: float) -> list[int]:
        """Change again and again; return the latencies in ns."""
        end_s = time.monotonic() + seconds
        found = []
        while time.monotonic() < end_s:
            try:
                found.append(self._change())
            except ConnectionError:
                self.lost_count += 1
                self._socket.close()
                self._socket = self._join()
            time.sleep(BETWEEN_S)
        return found

    def _change(self) -> int:
        self._count += 1
        version = str(1 + self._count % 2)
        services = [Service(id="nmt", kind="nmt", version=version)]
        frame = encode_frame(Heartbeat(cpu_percent=5.0, services=services))
        before = self._catalog.version_word()
        began_ns = time.perf_counter_ns()
        self._socket.sendall(frame)
        while self._applied() <= before:
            if time.perf_counter_ns() - began_ns > PATIENCE_S * 1e9:
                raise ChildTrouble(f"not every worker saw a change within {PATIENCE_S:g} s")
            time.sleep(POLL_S)
        took_ns = time.perf_counter_ns() - began_ns
        self._drain()
        return took_ns

    def _applied(self) -> int:
        """Return the version that the slowest worker has applied."""
        pages = self._watched.pages
        return min(pages[name].read().gauges["applied_version"] for name in self._watched.workers)

    def _drain(self) -> None:
        """Read what has been answered, so that the manager never waits for us."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(65_536):
                continue
            raise ConnectionResetError("the manager closed the connection of this node")
        except BlockingIOError:
            self._socket.setblocking(True)

    def close(self) -> None:
        """Leave."""
        self._socket.close()

"""A proxy between two ends of TCP that passes bytes on as well as its weather lets it.

It needs no rights.  What it cannot do is lose packets: an end whose peer has vanished still gets
its bytes acknowledged, by this host's kernel, until the proxy's buffers are full.  Faults that must
be seen by the kernel's own timers belong into a network namespace (namespaces.py).
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import msgspec

READ_BYTES = 64 * 1024
# Small, so that an end notices soon that nobody takes what it sends.
BUFFER_BYTES = 16 * 1024
SLICES_PER_S = 20


class Weather(msgspec.Struct):
    """What one direction does to bytes; changes take effect with the next piece."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    piece_bytes: int = 0  # segments of this size; 0: as they come
    gather_s: float = 0.0  # hold pieces for so long and send them as one
    bytes_per_s: int = 0  # 0: as fast as they come


class Direction:
    """One way through the proxy, for all its connections."""

    def __init__(self, dice: Random) -> None:
        self.weather = Weather()
        self.passed_bytes = 0
        self._dice = dice
        self._open = asyncio.Event()
        self._open.set()

    def block(self) -> None:
        """Take nothing and give nothing from now on, and tell nobody."""
        self._open.clear()

    def unblock(self) -> None:
        self._open.set()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on until the end of one side."""
        while True:
            await self._open.wait()
            data = await reader.read(READ_BYTES)
            weather = self.weather
            if weather.gather_s:
                await asyncio.sleep(weather.gather_s)
            if weather.latency_s or weather.jitter_s:
                await asyncio.sleep(weather.latency_s + self._dice.random() * weather.jitter_s)
            await self._open.wait()
            if not data:
                return
            for piece in self._pieces(data):
                writer.write(piece)
                await writer.drain()
                self.passed_bytes += len(piece)
                if weather.bytes_per_s:
                    await asyncio.sleep(len(piece) / weather.bytes_per_s)
                await self._open.wait()

    def _pieces(self, data: bytes) -> list[bytes]:
        weather = self.weather
        size = weather.piece_bytes or len(data)
        if weather.bytes_per_s:
            size = min(size, max(1, weather.bytes_per_s // SLICES_PER_S))
        return [data[at : at + size] for at in range(0, len(data), size)]


class Proxy:
    """Listens on a port of its own; `up` leads to the service, `down` comes from there."""

    def __init__(self, port: int, seed: int) -> None:
        dice = Random(seed)
        self.up = Direction(dice)
        self.down = Direction(dice)
        self.address = ""
        self.connections_seen = 0
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.is_refusing = False

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=BUFFER_BYTES)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.cut()

    def lead_to(self, port: int) -> None:
        """Connections that come from now on are joined to this port."""
        self._port = port

    def partition(self) -> None:
        """Pass nothing in either direction; connections seem to stand."""
        self.up.block()
        self.down.block()

    def heal(self) -> None:
        """Pass everything again, also what was held."""
        for direction in (self.up, self.down):
            direction.weather = Weather()
            direction.unblock()
        self.is_refusing = False

    def cut(self) -> None:
        """Reset every connection."""
        for writer in [*self._writers]:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections_seen += 1
        try:
            if not self.is_refusing:
                await self._join(reader, writer)
        except OSError:  # one side was cut
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=BUFFER_BYTES
        )
        self._writers.add(far_writer)
        for one in (writer, far_writer):
            one.transport.set_write_buffer_limits(high=BUFFER_BYTES)
            sock: socket.socket = one.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ways = [
            asyncio.create_task(self.up.pump(reader, far_writer)),
            asyncio.create_task(self.down.pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()
            self._writers.discard(far_writer)


@asynccontextmanager
async def proxy_to(port: int, *, seed: int = 7) -> AsyncIterator[Proxy]:
    """A proxy to a port of this host."""
    proxy = Proxy(port, seed)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()

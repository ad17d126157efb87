"""What the clients of all peers share: a number of requests in flight, and when each ended.

A protocol is a Link: it writes requests by their number and tells which have ended.  Everything a
read brought is answered in one write, as the client of the product does.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import cast

from _load.orders import Order, Outcome, Window

PAYLOAD = bytes(200)
PATIENCE_S = 20.0
DIALS_AT_ONCE = 50


class Link(asyncio.Protocol):
    """One connection: what is put leaves in one write; `absorb` reads whole messages."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send small writes at once, and first what was queued before."""
        self._transport = cast(asyncio.Transport, transport)
        sock = cast(socket.socket, transport.get_extra_info("socket"))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Hand on everything that is there, and keep what is not whole."""
        whole = self._rest + data if self._rest else data
        self._rest = whole[self.absorb(whole) :]
        self.flush()

    def absorb(self, data: bytes) -> int:
        """Take every whole message; return how many bytes that were."""
        raise NotImplementedError

    def flush(self) -> None:
        """Write what is queued."""
        if self.out and self._transport is not None:
            out, self.out = self.out, bytearray()
            self._transport.write(out)


class RequestLink(Link):
    """A client's connection; `ended` is told the numbers of requests whose results came."""

    def __init__(self, ended: Callable[["RequestLink", Sequence[int]], None]) -> None:
        super().__init__()
        self.ended = ended

    def request(self, number: int) -> None:
        """Queue one request with the payload."""
        raise NotImplementedError


async def dial(address: str, links: Sequence[Link]) -> None:
    """Connect every link to HOST:PORT."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()

    async def connect(link: Link) -> None:
        await loop.create_connection(lambda: link, host, int(port))

    for start in range(0, len(links), DIALS_AT_ONCE):
        await asyncio.gather(*map(connect, links[start : start + DIALS_AT_ONCE]))


class Volley:
    """Keeps a number of requests in flight over some links, one after the other."""

    def __init__(self, watched: dict[str, int], link: Callable[..., RequestLink], count: int):
        self._watched = watched
        self.links = [link(self._ended) for _ in range(count)]
        self._next_link = 0
        self._sent_ns: dict[int, int] = {}
        self._last = 0
        self._window: Window | None = None
        self._is_submitting = False
        self._is_drained = asyncio.Event()

    async def run(self, order: Order) -> Outcome:
        """Keep the depth for the ordered time; returns when all requests have ended."""
        self._is_submitting = True
        now_ns = time.perf_counter_ns()
        for _ in range(order.depth):
            self._request(now_ns)
        for link in self.links:
            link.flush()
        await asyncio.sleep(order.warm_s)
        self._window = Window(self._watched)
        await asyncio.sleep(order.run_s)
        outcome, self._window = self._window.close(), None
        self._is_submitting = False
        async with asyncio.timeout(PATIENCE_S):
            while self._sent_ns:
                self._is_drained.clear()
                await self._is_drained.wait()
        return outcome

    def _request(self, now_ns: int) -> RequestLink:
        self._last += 1
        self._next_link = (self._next_link + 1) % len(self.links)
        link = self.links[self._next_link]
        self._sent_ns[self._last] = now_ns
        link.request(self._last)
        return link

    def _ended(self, at: RequestLink, numbers: Sequence[int]) -> None:
        now_ns = time.perf_counter_ns()
        touched: dict[RequestLink, None] = {}
        for number in numbers:
            latency_ns = now_ns - self._sent_ns.pop(number)
            if self._window is not None:
                self._window.latencies_ns.append(latency_ns)
            if self._is_submitting:
                touched[self._request(now_ns)] = None
        for link in touched:
            if link is not at:  # that one is flushed by its read
                link.flush()
        if not self._sent_ns:
            self._is_drained.set()

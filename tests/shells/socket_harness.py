"""What the tests of the socket shells share: small cores, a driver on real sockets, waiting."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.lane_messages import LaneToNode, LaneToWorker
from pointsman_wire.link import Closed, Received, Send
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Preamble, Role, decode_preamble, encode_preamble
from pointsman_wire.session_messages import ClientHeartbeat, ToClient, ToWorker
from pointsman_wire.sockets.bounds import ConnectionLimits, DriverSettings, Strangers
from pointsman_wire.sockets.driver import Driver

SERVER_UNIONS = {Role.SESSION: ToWorker, Role.TRUNK: ToWorker, Role.LANE: LaneToWorker}
CLIENT_UNIONS = {Role.SESSION: ToClient, Role.TRUNK: ToClient, Role.LANE: LaneToNode}
HELLO = encode_preamble(Role.SESSION, 7)
PREAMBLE = decode_preamble(HELLO)
WAIT_S = 10.0


class NotingCore:
    """Notes every step; answers each event with what `answer` makes of it."""

    def __init__(self, answer: Callable[[Any], Sequence[Any]] = lambda event: ()) -> None:
        self.answer = answer
        self.steps: list[tuple[int, list[Any]]] = []
        self.deadline_ns: int | None = None
        self.executed: list[Any] = []
        self.execute = self.executed.append

    def step(self, now_ns: int, events: list[Any]) -> list[Any]:
        self.steps.append((now_ns, list(events)))
        if self.deadline_ns is not None and now_ns >= self.deadline_ns:
            self.deadline_ns = None
        return [command for event in events for command in self.answer(event)]

    def next_deadline_ns(self) -> int | None:
        return self.deadline_ns

    def events(self, kind: type[Any] = object) -> list[Any]:
        return [event for _, events in self.steps for event in events if isinstance(event, kind)]

    def frames(self) -> list[Any]:
        return [frame for received in self.events(Received) for frame in received.frames]

    def closings(self) -> list[str]:
        return [closed.reason for closed in self.events(Closed)]


def echo(event: Any) -> list[Any]:
    """Send every message back."""
    if not isinstance(event, Received):
        return []
    return [
        Send(event.connection, message, payload)
        for message, payload in event.frames
        if isinstance(message, Message)
    ]


async def until(condition: Callable[[], Any], what: str = "it") -> None:
    """Wait for a condition that some callback of this loop makes true."""
    for _ in range(int(WAIT_S / 0.002)):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"{what} did not happen within {WAIT_S:g} s")


@asynccontextmanager
async def driving(
    core: Any,
    *,
    limits: ConnectionLimits | None = None,
    settings: DriverSettings | None = None,
    unions: dict[Role, Any] | None = None,
    strangers: Strangers | None = None,
) -> AsyncIterator[Driver]:
    """A running driver that is ended, and whose core must not have raised."""
    settings = settings or DriverSettings(limits=limits or ConnectionLimits())
    driver = Driver(
        core,
        unions=unions or SERVER_UNIONS,
        execute=core.execute,
        settings=settings,
        strangers=strangers,
    )
    driver.start()
    await until(lambda: core.steps, "the first step")
    try:
        yield driver
    finally:
        await driver.end(0.05)
        assert not driver.broken.done(), driver.broken


def socket_pair(*, is_tcp: bool = False) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets: (ours, the peer's); both non-blocking."""
    if is_tcp:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
    else:
        ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    return ours, peer


class Peer:
    """The other end, on a plain socket."""

    def __init__(self, sock: socket.socket, union: Any = ToClient) -> None:
        self.sock = sock
        self.received = b""
        self.is_over = False
        self._frames = FrameDecoder()
        self._decoder: HeaderDecoder[Message] = HeaderDecoder(union)
        self.messages: list[tuple[Message, bytes]] = []

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self) -> bool:
        """Take what comes next; False at the end."""
        loop = asyncio.get_running_loop()
        try:
            data = await asyncio.wait_for(loop.sock_recv(self.sock, 1 << 16), WAIT_S)
        except ConnectionResetError:
            data = b""
        self.received += data
        for header, payload in self._frames.feed(data):
            self.messages.append((self._decoder.decode(header), payload))
        self.is_over = not data
        return bool(data)

    async def read_until(self, count: int) -> list[tuple[Message, bytes]]:
        while len(self.messages) < count and await self.read():
            pass
        return self.messages

    async def read_to_the_end(self) -> list[tuple[Message, bytes]]:
        while await self.read():
            pass
        return self.messages

    def close(self) -> None:
        self.sock.close()


async def accepted(
    driver: Driver, *, preamble: Preamble = PREAMBLE, is_tcp: bool = False, address: str = ""
) -> Peer:
    """Let the driver adopt one end of a new connection whose preamble was sent."""
    ours, sock = socket_pair(is_tcp=is_tcp)
    peer = Peer(sock)
    await peer.send(encode_preamble(preamble.role, preamble.key))
    driver.adopt(ours, preamble, address)
    return peer


def beat(number: int) -> bytes:
    """A small frame that says which one it is."""
    return encode_frame(ClientHeartbeat(number=number))

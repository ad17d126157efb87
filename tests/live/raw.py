"""Peers that say whatever a test wants, byte by byte, on plain connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from live.service import PATIENCE_S

from pointsman_wire.control_messages import Register, Registered, ToNode
from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.lane_messages import LaneAccepted, LaneOpen, LaneReport, LaneToNode
from pointsman_wire.messages import Error, Message
from pointsman_wire.preamble import Role, encode_preamble
from pointsman_wire.session_messages import SessionInit, SessionInitAck, ToClient

M = TypeVar("M", bound=Message)
UNIONS: dict[Role, Any] = {Role.CONTROL: ToNode, Role.LANE: LaneToNode}


class RawPeer:
    """One connection to the public port."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, union: Any
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.heard: list[tuple[Message, bytes]] = []  # and not yet taken
        self.is_over = False
        self._frames = FrameDecoder()
        self._decoder: HeaderDecoder[Message] = HeaderDecoder(union)

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def say(self, message: Message, payload: bytes = b"") -> None:
        self.writer.write(encode_frame(message, payload))

    async def read(self) -> bytes:
        """Return what comes next, b"" at the end, whoever made it."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                data = await self.reader.read(1 << 16)
        except ConnectionError:
            data = b""
        self.is_over = not data
        return data

    async def hear(
        self, kind: type[M], also: Callable[[Message], object] = lambda _: None
    ) -> tuple[M, bytes]:
        """Return the next message of a kind; what comes before it is dropped, and told `also`."""
        while True:
            while self.heard:
                message, payload = self.heard.pop(0)
                if isinstance(message, kind):
                    return message, payload
                also(message)
            assert not self.is_over, f"it was over before a {kind.__name__} came"
            for header, body in self._frames.feed(await self.read()):
                self.heard.append((self._decoder.decode(header), body))

    async def refusal(self) -> str:
        """Return code and words of the next error, after which the connection must end."""
        error, _ = await self.hear(Error)
        await self.rest()
        return f"{error.error.code}: {error.error.message}"

    async def rest(self) -> bytes:
        """Return all that comes until the server ends the connection."""
        data = b""
        while piece := await self.read():
            data += piece
        return data

    async def close(self) -> None:
        """End it, whatever state it is in."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:  # the other end was faster
            return


@asynccontextmanager
async def raw_peer(port: int, hello: bytes = b"", union: Any = ToClient) -> AsyncIterator[RawPeer]:
    """A connection on which these bytes were said first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = RawPeer(reader, writer, union)
    peer.write(hello)
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def raw_role(port: int, role: Role, key: int | None = None) -> AsyncIterator[RawPeer]:
    """A connection that said its preamble."""
    hello = encode_preamble(role, key)
    async with raw_peer(port, hello, UNIONS.get(role, ToClient)) as peer:
        yield peer


@asynccontextmanager
async def raw_session(port: int, **init: Any) -> AsyncIterator[tuple[RawPeer, SessionInitAck]]:
    """A session that stands."""
    async with raw_role(port, Role.SESSION) as peer:
        peer.say(SessionInit(**init))
        ack, _ = await peer.hear(SessionInitAck)
        yield peer, ack


@asynccontextmanager
async def raw_control(port: int, register: Register) -> AsyncIterator[tuple[RawPeer, Registered]]:
    """A registered node's control connection."""
    async with raw_role(port, Role.CONTROL) as peer:
        peer.say(register)
        registered, _ = await peer.hear(Registered)
        yield peer, registered


def lane_open(told: Registered) -> LaneOpen:
    """What a node says first on a lane."""
    return LaneOpen(
        node_id=told.node_id,
        row=told.row,
        generation=told.generation,
        epoch=told.epoch,
        ticket=told.lane_ticket,
    )


@asynccontextmanager
async def raw_lane(port: int, told: Registered, shard: int) -> AsyncIterator[tuple[RawPeer, int]]:
    """A lane that stands, and the epoch of its shard."""
    async with raw_role(port, Role.LANE, shard) as peer:
        peer.say(lane_open(told))
        accepted, _ = await peer.hear(LaneAccepted)
        peer.say(LaneReport())
        yield peer, accepted.epoch

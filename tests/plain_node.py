"""A node that only lives: registers, opens its lanes, beats; takes no jobs.  For real processes."""

import asyncio
from collections.abc import Callable

from pointsman_wire.control_messages import (
    Heartbeat,
    LanesReady,
    NodeStateChanged,
    Register,
    Registered,
    Service,
    ToNode,
)
from pointsman_wire.framing import PREFIX_BYTES, HeaderDecoder, encode_frame
from pointsman_wire.lane_messages import LaneAccepted, LaneOpen, LaneReport, LaneToNode
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Role, encode_preamble

PATIENCE_S = 10.0
_control: HeaderDecoder[Message] = HeaderDecoder(ToNode)
_lane: HeaderDecoder[Message] = HeaderDecoder(LaneToNode)


class PlainNode:
    """Comes again whenever its control connection breaks, with the key it was given."""

    def __init__(self, port: int, node_id: str) -> None:
        self.port = port
        self.node_id = node_id
        self.key = ""
        self.state = ""
        self.registrations: list[Registered] = []
        self._changed = asyncio.Event()
        self._lanes: list[asyncio.StreamWriter] = []
        self._task = asyncio.get_running_loop().create_task(self._live())

    async def reach(self, state: str) -> None:
        """Wait until the server sees this node so."""
        await self._until(lambda: self.state == state)

    async def registered(self, count: int) -> None:
        """Wait for the count-th registration."""
        await self._until(lambda: len(self.registrations) >= count)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    def _become(self, state: str) -> None:
        self.state = state
        self._changed.set()

    async def close(self) -> None:
        """Vanish without a word."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._close_lanes()

    async def _live(self) -> None:
        while True:
            try:
                await self._register_and_beat()
            except (OSError, asyncio.IncompleteReadError):
                self._become("away")
            await asyncio.sleep(0.05)

    async def _register_and_beat(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            service = Service(id="nmt", kind="nmt")
            hello = Register(node_id=self.node_id, key=self.key, services=[service])
            writer.write(encode_preamble(Role.CONTROL) + encode_frame(hello))
            answer = await read(reader, _control)
            assert isinstance(answer, Registered), answer
            self.key = answer.key or self.key
            self.registrations.append(answer)
            self._changed.set()
            await self._open_lanes(answer)
            writer.write(encode_frame(LanesReady()))
            await self._beat_and_listen(reader, writer)
        finally:
            await hang_up(writer)

    async def _beat_and_listen(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        beating = asyncio.get_running_loop().create_task(beat(writer))
        try:
            while True:
                message = await read(reader, _control)
                if isinstance(message, NodeStateChanged):
                    self._become(message.state)
        finally:
            beating.cancel()

    async def _open_lanes(self, told: Registered) -> None:
        await self._close_lanes()
        for index in range(told.worker_count):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            self._lanes.append(writer)
            opening = LaneOpen(
                node_id=told.node_id,
                row=told.row,
                generation=told.generation,
                epoch=told.epoch,
                ticket=told.lane_ticket,
            )
            writer.write(encode_preamble(Role.LANE, index) + encode_frame(opening))
            answer = await read(reader, _lane)
            assert isinstance(answer, LaneAccepted), answer
            writer.write(encode_frame(LaneReport()))

    async def _close_lanes(self) -> None:
        for lane in self._lanes:
            await hang_up(lane)
        self._lanes.clear()


async def beat(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(encode_frame(Heartbeat()))
        await asyncio.sleep(0.3)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        # Shielded: a cancelled wait would cancel what others wait for, too.
        await asyncio.shield(writer.wait_closed())
    except OSError:  # the other end was faster
        return


async def read(reader: asyncio.StreamReader, decoder: HeaderDecoder[Message]) -> Message:
    async with asyncio.timeout(PATIENCE_S):
        prefix = await reader.readexactly(PREFIX_BYTES)
        length = int.from_bytes(prefix[:4], "little")
        rest = await reader.readexactly(length - 4)
    return decoder.decode(rest[: int.from_bytes(prefix[4:], "little")])

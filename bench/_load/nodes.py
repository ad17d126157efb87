"""Nodes that speak the wire directly and answer every job with its own payload.

python -m _load.nodes ADDRESS COUNT SLOTS [SERVICE_MS]

At once, or each job after its service time.
"""

import asyncio
import sys
from collections.abc import Callable
from functools import partial

import uvloop

from _load.orders import wait_for_end
from _load.streams import Frames, FrameStream, dial
from pointsman_wire.control_messages import (
    Heartbeat,
    HeartbeatAck,
    LanesReady,
    NodeStateChanged,
    Register,
    Registered,
    Service,
    ToNode,
    Translation,
)
from pointsman_wire.lane_messages import (
    Assign,
    AssignAck,
    LaneAccepted,
    LaneOpen,
    LanePing,
    LanePong,
    LaneReport,
    LaneToNode,
    NodeResult,
)
from pointsman_wire.preamble import Role, encode_preamble

START_S = 20.0

# Takes the payload of a job, and gives that of its result to the function, now or later.
Work = Callable[[bytes, Callable[[bytes], None]], None]


class LoadNode:
    """One node: a control connection, and a lane to each worker.

    It does `work`, or if there is none echoes every job, after `service_s`.
    """

    def __init__(
        self,
        address: str,
        node_id: str,
        slots: int,
        service_s: float = 0.0,
        work: Work | None = None,
    ) -> None:
        self.is_ready = asyncio.Event()
        self.service_s = service_s
        self.work = work
        self._address = address
        self._node_id = node_id
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._control = FrameStream(ToNode, self._told, encode_preamble(Role.CONTROL))
        self._lanes_missing = 0
        self._interval_s = 1.0
        self._dialling: list[asyncio.Task[None]] = []

    async def join(self) -> None:
        """Register, open the lanes, and be Ready."""
        await dial(self._address, self._control)
        self._control.put(
            Register(
                node_id=self._node_id,
                services=[Service(id="nmt-1", kind="nmt")],
                nmt=Translation(pairs=[("en", "es")]),
                max_concurrency=self._slots,
            )
        )
        self._control.flush()
        await self.is_ready.wait()

    def _told(self, control: FrameStream, frames: Frames) -> None:
        for message, _ in frames:
            if isinstance(message, Registered):
                self._interval_s = message.heartbeat_interval_s
                self._lanes_missing = message.worker_count
                for index in range(message.worker_count):
                    lane = _Lane(self, index, message)
                    task = self._loop.create_task(dial(self._address, lane.stream))
                    self._dialling.append(task)
            elif isinstance(message, NodeStateChanged | HeartbeatAck):
                if message.state.lower() == "ready":
                    self.is_ready.set()
            else:
                raise RuntimeError(f"{self._node_id}: {message}")

    def lane_is_up(self) -> None:
        """When all are, jobs may come."""
        self._lanes_missing -= 1
        if self._lanes_missing == 0:
            self._control.put(LanesReady())
            self._beat()

    def _beat(self) -> None:
        self._control.put(Heartbeat(cpu_percent=10.0, memory_percent=10.0))
        self._control.flush()
        self._loop.call_later(self._interval_s, self._beat)


class _Lane:
    """One lane: every assignment of a read is acknowledged and answered in one write."""

    def __init__(self, node: LoadNode, index: int, registered: Registered) -> None:
        self.stream = FrameStream(LaneToNode, self._take, encode_preamble(Role.LANE, index))
        self._node = node
        self._epoch = 0
        self._last_result = 0
        self.stream.put(
            LaneOpen(
                node_id=registered.node_id,
                row=registered.row,
                generation=registered.generation,
                epoch=registered.epoch,
                ticket=registered.lane_ticket,
            )
        )

    def _take(self, stream: FrameStream, frames: Frames) -> None:
        jobs = [(message, body) for message, body in frames if type(message) is Assign]
        if jobs:
            stream.put(AssignAck(number=jobs[-1][0].number))
            if self._node.work is not None:
                for assign, payload in jobs:
                    self._node.work(payload, partial(self._give, stream, assign))
            elif self._node.service_s:
                loop = asyncio.get_running_loop()
                loop.call_later(self._node.service_s, self._answer_later, stream, jobs)
            else:
                self._answer(stream, jobs)
        if len(jobs) < len(frames):
            self._take_others(stream, frames)
        stream.flush()

    def _give(self, stream: FrameStream, assign: Assign, reply: bytes) -> None:
        self._answer_later(stream, [(assign, reply)])

    def _answer_later(self, stream: FrameStream, jobs: list[tuple[Assign, bytes]]) -> None:
        self._answer(stream, jobs)
        stream.flush()

    def _answer(self, stream: FrameStream, jobs: list[tuple[Assign, bytes]]) -> None:
        for assign, payload in jobs:
            self._last_result += 1
            result = NodeResult(
                number=self._last_result,
                job_id=assign.job_id,
                epoch=self._epoch,
                dispatch=assign.dispatch,
                duration_us=1,
            )
            stream.put(result, payload)

    def _take_others(self, stream: FrameStream, frames: Frames) -> None:
        for message, _ in frames:
            if isinstance(message, LaneAccepted):
                self._epoch = message.epoch
                stream.put(LaneReport())
                self._node.lane_is_up()
            elif isinstance(message, LanePing):
                stream.put(LanePong(number=message.number, last_read=message.last_assigned))


async def main(address: str, node_count: int, slots: int, service_ms: float) -> None:
    """Join all nodes, say so, and answer jobs until the bench ends."""
    nodes = [
        LoadNode(address, f"bench-{number}", slots, service_ms / 1e3)
        for number in range(node_count)
    ]
    async with asyncio.timeout(START_S):
        for node in nodes:
            await node.join()
    await wait_for_end()


if __name__ == "__main__":
    service_ms = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), service_ms))

"""The floor: a bare relay that sends the same frames as the product and decides nothing.

Nodes register and get lanes by rote; jobs go to the lanes in turn.  For each job the same eight
frames cross as with the product, with the same fields set: submit, job_accepted, assign,
assign_ack, node_result, node_result_ack, result, result_ack; acceptances and acknowledgements are
gathered per connection and turn, and each connection is written once a turn.  What is left out is
all that makes a dispatcher: choosing, reserving, remembering, watching, bounding, counting.
"""

import asyncio
from itertools import count
from typing import Any, cast

import uvloop

from _load.orders import say, wait_for_end
from _load.streams import FrameStream
from pointsman_wire.control_messages import (
    Heartbeat,
    HeartbeatAck,
    NodeStateChanged,
    Register,
    Registered,
    ToManager,
)
from pointsman_wire.lane_messages import (
    Assign,
    LaneAccepted,
    LaneOpen,
    LaneToWorker,
    NodeResult,
    NodeResultAck,
)
from pointsman_wire.messages import Message
from pointsman_wire.preamble import PREAMBLE_BYTES, Role, decode_preamble
from pointsman_wire.session_messages import (
    AcceptedJob,
    JobAccepted,
    Result,
    SessionInit,
    SessionInitAck,
    Submit,
    ToWorker,
)

PORT_ANY = 0
UNIONS: dict[Role, Any] = {
    Role.SESSION: ToWorker,
    Role.TRUNK: ToWorker,
    Role.CONTROL: ToManager,
    Role.LANE: LaneToWorker,
}


class Side(FrameStream):
    """One connection to the relay, with what is gathered for it in this turn."""

    def __init__(self, relay: "Relay", role: Role) -> None:
        super().__init__(UNIONS[role], relay.takers[role])
        self.accepted: list[AcceptedJob] = []
        self.last_result = 0
        self.last_assignment = 0
        self.node_id = ""


class Relay:
    """Everything that the floor remembers: lanes in turn, and who asked for each job."""

    def __init__(self) -> None:
        self.takers: dict[Role, Any] = {
            Role.SESSION: self._from_client,
            Role.TRUNK: self._from_client,
            Role.CONTROL: self._from_control,
            Role.LANE: self._from_node,
        }
        self._loop = asyncio.get_running_loop()
        self._lanes: list[Side] = []
        self._next_lane = 0
        self._asked: dict[str, tuple[Side, Submit]] = {}
        self._touched: dict[Side, None] = {}
        self._numbers = count(1)

    # ---- jobs

    def _from_client(self, side: Side, frames: list[tuple[Message, bytes]]) -> None:
        for message, payload in frames:
            if type(message) is Submit:
                self._submit(side, message, payload)
            elif type(message) is SessionInit:
                side.put(SessionInitAck(ref=message.ref, session_id="s-" + "0" * 32))
        self._touch(side)

    def _submit(self, side: Side, submit: Submit, payload: bytes) -> None:
        job_id = f"{next(self._numbers):032x}"
        self._asked[job_id] = (side, submit)
        side.accepted.append(
            AcceptedJob(
                session_number=submit.session_number,
                request_id=submit.request_id,
                job_id=job_id,
                window_s=300.0,
            )
        )
        self._next_lane = (self._next_lane + 1) % len(self._lanes)
        lane = self._lanes[self._next_lane]
        lane.last_assignment += 1
        lane.put(
            Assign(
                number=lane.last_assignment,
                job_id=job_id,
                dispatch=lane.last_assignment,
                services=submit.services,
                src_lang="en",
                tgt_lang="es",
                session_id="s-" + "0" * 32,
                request_id=submit.request_id,
                timeout_ms=30_000,
            ),
            payload,
        )
        self._touch(lane)

    def _from_node(self, lane: Side, frames: list[tuple[Message, bytes]]) -> None:
        for message, payload in frames:
            if type(message) is NodeResult:
                self._result(lane, message, payload)
            elif type(message) is LaneOpen:
                lane.node_id = message.node_id
                lane.put(LaneAccepted(instance_uid="0" * 32, shard=0, epoch=1))
                self._lanes.append(lane)
        self._touch(lane)

    def _result(self, lane: Side, message: NodeResult, payload: bytes) -> None:
        side, submit = self._asked.pop(message.job_id)
        side.last_result += 1
        result = Result(
            session_number=submit.session_number,
            request_id=submit.request_id,
            job_id=message.job_id,
            number=side.last_result,
            node_id=lane.node_id,
            attempt=1,
            placement_us=10.5,
            queued_ms=0.5,
        )
        side.put(result, payload)
        lane.last_result = message.number
        self._touch(side)

    # ---- the turn

    def _touch(self, side: Side) -> None:
        if not self._touched:
            self._loop.call_soon(self._end_turn)
        self._touched[side] = None

    def _end_turn(self) -> None:
        touched, self._touched = self._touched, {}
        for side in touched:
            if side.accepted:
                side.put(JobAccepted(jobs=side.accepted))
                side.accepted = []
            if side.node_id and side.last_result:
                side.put(NodeResultAck(number=side.last_result))
                side.last_result = 0
            side.flush()

    # ---- nodes

    def _from_control(self, side: Side, frames: list[tuple[Message, bytes]]) -> None:
        for message, _ in frames:
            if type(message) is Register:
                row = next(self._numbers)
                side.put(Registered(node_id=message.node_id, row=row, generation=1, epoch=1))
            elif type(message) is Heartbeat:
                side.put(HeartbeatAck(number=message.number, state="ready"))
                side.put(NodeStateChanged(state="ready"))
        side.flush()


class Doorstep(asyncio.Protocol):
    """A new connection: its preamble says which side of the relay it is."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the preamble."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand the connection on once its preamble is whole."""
        self._data += data
        if len(self._data) < PREAMBLE_BYTES or self._transport is None:
            return
        side = Side(self._relay, decode_preamble(self._data).role)
        self._transport.set_protocol(side)
        side.connection_made(self._transport)
        side.data_received(self._data[PREAMBLE_BYTES:])


async def main() -> None:
    """Listen on any free port, say where, and relay until the bench ends."""
    relay = Relay()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Doorstep(relay), "127.0.0.1", PORT_ANY)
    host, port = server.sockets[0].getsockname()[:2]
    say(f"{host}:{port}")
    await wait_for_end()


if __name__ == "__main__":
    uvloop.run(main())

"""A node by hand: it joins properly, and then says what a test wants on its lanes."""

from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

from live.raw import RawPeer, raw_control, raw_lane
from live.service import LiveService
from live.sessions import session_ids

from pointsman import Session, connect
from pointsman_wire.control_messages import (
    Heartbeat,
    HeartbeatAck,
    LanesReady,
    Register,
    Registered,
    Service,
    Translation,
)
from pointsman_wire.lane_messages import Assign, NodeResult

NMT = [Service(id="nmt", kind="nmt")]


class RawNode:
    """A node by hand: registered, with both lanes up, so that it gets jobs for `tgt`."""

    def __init__(self, service: LiveService, stack: AsyncExitStack) -> None:
        self.service = service
        self.stack = stack
        self.tgt = f"t{uuid4().hex[:6]}"
        self.lanes: list[RawPeer] = []
        self.epochs: list[int] = []
        self.told: Registered

    async def join(self, slots: int = 4) -> "RawNode":
        nmt = Translation(pairs=[("en", self.tgt)])
        register = Register(services=NMT, nmt=nmt, max_concurrency=slots)
        port = self.service.port
        self.control, self.told = await self.stack.enter_async_context(raw_control(port, register))
        for shard in (0, 1):
            lane, epoch = await self.stack.enter_async_context(raw_lane(port, self.told, shard))
            self.lanes.append(lane)
            self.epochs.append(epoch)
        self.control.say(LanesReady())
        await self.beat()
        return self

    async def beat(self) -> None:
        """Beat until the server calls it ready."""
        self.control.say(Heartbeat(number=1))
        while (await self.control.hear(HeartbeatAck))[0].state != "ready":
            self.control.say(Heartbeat(number=1))

    async def session(self, shard: int) -> Session:
        name = session_ids(shard, 1, prefix=self.tgt)[0]
        opening = connect(
            self.service.address, session_id=name, src="en", tgt=self.tgt, close_timeout_s=1
        )
        return await self.stack.enter_async_context(opening)

    def result(self, shard: int, job: Assign, number: int = 1, **other: Any) -> NodeResult:
        fields: dict[str, Any] = {
            "number": number,
            "job_id": job.job_id,
            "epoch": self.epochs[shard],
            "dispatch": job.dispatch,
        }
        return NodeResult(**{**fields, **other})

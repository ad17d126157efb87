"""The negative control: one process, one lock over management work and selection.

    python -m _load.sessions.global_lock

The first design of such a dispatcher, written for the comparison on the same frames as the floor
and with the product's own rules for pools.  What is done while the lock is held:

    register     the registry is written down and synced
    pools        at most ten times a second, after registrations: all pools are planned anew, and
                 the index of language pairs with them
    heartbeat    the node's record is replaced
    submit       the candidates of the pair are looked through, the least loaded is taken
    result       the slot is given back

Everything is asyncio, nothing blocks the loop for longer than its own work; who wants the lock
waits in line.  Nothing is journalled or explained, and no language but that of the pair is looked
at: in everything but the lock it does less than the product.  Orders, a line each: `mark` forgets
what was measured, `told` answers it as JSON: from the read of a request until its node is chosen.
"""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from tempfile import TemporaryFile
from typing import Any

import msgspec
import uvloop

from _load.floor import Doorstep, Relay, Side
from _load.orders import next_line, say
from _load.sessions.crowd import quantile_us
from pointsman_sched.core.joining.declaration import capability_of
from pointsman_shm.config import PoolsConfig
from pointsman_shm.rules.pool_planner import PoolPlanner
from pointsman_shm.snapshot.records import CapabilityClass
from pointsman_wire.control_messages import (
    Heartbeat,
    HeartbeatAck,
    LanesReady,
    NodeStateChanged,
    Register,
    Registered,
)
from pointsman_wire.lane_messages import LaneOpen, NodeResult
from pointsman_wire.messages import Message
from pointsman_wire.session_messages import SessionInit, SessionInitAck, Submit

PLAN_S = 0.1
Frames = list[tuple[Message, bytes]]


class Known(msgspec.Struct):
    """One node as the registry has it."""

    node_id: str
    row: int
    slots: int
    capability: CapabilityClass
    pairs: list[tuple[str, str]]
    held: int = 0
    is_ready: bool = False
    lane: Side | None = None
    report: Heartbeat | None = None


class Told(msgspec.Struct, frozen=True):
    """From the read of a request until its node was chosen, in microseconds."""

    jobs: int
    p50_us: float
    p95_us: float
    p99_us: float


class GlobalLock(Relay):
    """The registry, the pools, the sessions' jobs, and the one lock over them."""

    def __init__(self, registry_fd: int) -> None:
        super().__init__()
        self.chosen_ns: list[int] = []
        self._lock = asyncio.Lock()
        self._registry_fd = registry_fd
        self._is_planned = True
        self._nodes: dict[str, Known] = {}
        self._by_pair: dict[tuple[str, str], list[Known]] = {}
        self._placed: dict[str, Known] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _spawn(self, act: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- management

    def _from_control(self, side: Side, frames: Frames) -> None:
        self._spawn(self._manage(side, frames))

    async def _manage(self, side: Side, frames: Frames) -> None:
        for message, _ in frames:
            async with self._lock:
                if isinstance(message, Register):
                    await self._register(side, message)
                elif isinstance(message, LanesReady):
                    self._nodes[side.node_id].is_ready = True
                elif isinstance(message, Heartbeat):
                    self._nodes[side.node_id].report = message
                    side.put(HeartbeatAck(number=message.number, state="ready"))
                    side.put(NodeStateChanged(state="ready"))
        side.flush()

    async def _register(self, side: Side, message: Register) -> None:
        former = self._nodes.get(message.node_id)
        node = Known(
            message.node_id,
            former.row if former is not None else len(self._nodes),
            message.max_concurrency,
            capability_of(message, message.services),
            list(message.nmt.pairs),
            held=former.held if former is not None else 0,
            lane=former.lane if former is not None else None,
        )
        self._nodes[message.node_id] = node
        line = msgspec.json.encode({"node_id": node.node_id, "row": node.row}) + b"\n"
        await asyncio.get_running_loop().run_in_executor(None, self._write_down, line)
        self._is_planned = False
        side.node_id = message.node_id
        side.put(Registered(node_id=message.node_id, row=node.row, generation=1, epoch=1))

    def _write_down(self, line: bytes) -> None:
        os.write(self._registry_fd, line)
        os.fsync(self._registry_fd)

    async def plan_on(self) -> None:
        """Plan again whenever somebody has registered."""
        while True:
            await asyncio.sleep(PLAN_S)
            if not self._is_planned:
                async with self._lock:
                    self._is_planned = True
                    self._plan_all()

    def _plan_all(self) -> None:
        """Plan all pools anew, and the index with them."""
        planner = PoolPlanner(PoolsConfig())
        self._by_pair = {}
        for number, node in enumerate(self._nodes.values()):
            planner.add(node.node_id, number, node.capability, is_ready=node.is_ready)
            for pair in node.pairs:
                self._by_pair.setdefault(pair, []).append(node)

    # ---- jobs

    def _from_client(self, side: Side, frames: Frames) -> None:
        self._spawn(self._serve(side, frames, time.perf_counter_ns()))

    async def _serve(self, side: Side, frames: Frames, read_ns: int) -> None:
        for message, payload in frames:
            if isinstance(message, Submit):
                async with self._lock:
                    self._choose(side, message, payload)
                self.chosen_ns.append(time.perf_counter_ns() - read_ns)
            elif isinstance(message, SessionInit):
                side.put(SessionInitAck(ref=message.ref, session_id="s-" + "0" * 32))
        self._touch(side)

    def _choose(self, side: Side, submit: Submit, payload: bytes) -> None:
        node = min(
            (
                node
                for node in self._by_pair.get(("en", "es"), ())
                if node.is_ready and node.lane is not None and node.held < node.slots
            ),
            key=lambda node: node.held / node.slots,
        )
        node.held += 1
        assert node.lane is not None
        self._lanes = [node.lane]
        self._submit(side, submit, payload)
        self._placed[side.accepted[-1].job_id] = node

    def _from_node(self, lane: Side, frames: Frames) -> None:
        results = [frame for frame in frames if isinstance(frame[0], NodeResult)]
        if results:
            self._spawn(self._end(lane, results))
        others = [frame for frame in frames if not isinstance(frame[0], NodeResult)]
        super()._from_node(lane, others)
        for message, _ in others:
            if isinstance(message, LaneOpen):
                self._nodes[message.node_id].lane = lane

    async def _end(self, lane: Side, frames: Frames) -> None:
        for message, payload in frames:
            assert isinstance(message, NodeResult)
            async with self._lock:
                self._placed.pop(message.job_id).held -= 1
            self._result(lane, message, payload)
        self._touch(lane)

    # ---- the bench

    def told(self) -> Told:
        """Return what was measured since the mark."""
        found = self.chosen_ns
        quantiles = [quantile_us(found, q) for q in (0.5, 0.95, 0.99)]
        return Told(len(found), *quantiles)


async def main() -> None:
    """Listen on any free port, say where, and obey until the bench ends."""
    with TemporaryFile(dir=os.getcwd(), prefix=".bench-") as registry:
        service = GlobalLock(registry.fileno())
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Doorstep(service), "127.0.0.1", 0, backlog=4096)
        host, port = server.sockets[0].getsockname()[:2]
        planning = loop.create_task(service.plan_on())
        say(f"{host}:{port}")
        while line := await next_line():
            if line.strip() == "mark":
                service.chosen_ns = []
                say("marked")
            else:
                say(msgspec.json.encode(service.told()).decode())
        planning.cancel()
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    uvloop.run(main())

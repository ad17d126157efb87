"""How long a real service needs to be well again after its processes or nodes die or stand still.

Everything is measured from outside, as a client or a node would: a probe every 10 ms, jobs that are
submitted all the while, and what the manager says of its nodes.  `must` and `good` are what
docs/reliability.md promises; times are on this machine, whose load stands in the JSON.
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from time import monotonic

import msgspec
from _shared.report import Options, Row, report, run
from crash.load import impatient
from live.journal import Journal
from live.nodes import NodeProcess, node_process
from live.raw import raw_role
from live.service import LiveService, started
from live.sessions import session_ids
from supervised_service import place

from pointsman import PointsmanError, Session, connect
from pointsman_shm.memory.ownership import acquire_lock
from pointsman_wire.admin_messages import SnapshotQuery, SnapshotView
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import SessionInit, SessionInitAck
from pointsman_wire.shards import session_key

# The heartbeat interval of production; a paused manager shall not be replaced while measured.
CONFIG = "[nodes]\nresource_threshold_percent = 0\n[supervision]\nhung_s = 120\n"
PROBE_S = 0.01
LOOK_S = 0.02
PATIENCE_S = 60.0
HEALTHY_AFTER_S = 10.5
# What looking costs: a promise is called missed only beyond it.
LOOKING_S = 0.1
WINDOW_S = 1.0  # in which the other shard is looked at, calm or from a kill on
NODES = ("node-0", "node-1")


class Plan(msgspec.Struct, frozen=True):
    """How often and how long."""

    rounds: int
    manager_away_s: float
    pause_s: float


class Event(msgspec.Struct, frozen=True):
    """One line of the table: what happens, what is promised, and how it is measured."""

    name: str
    unit: str
    must: float
    good: float
    measure: Callable[["Room", Plan], Awaitable[list[float]]]


async def until(is_so: Callable[[], Awaitable[bool]]) -> float:
    """Look again and again until it is so; return the seconds.  Raises TimeoutError."""
    began_s = monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while not await is_so():  # noqa: ASYNC110 - it is another process that changes
            await asyncio.sleep(LOOK_S)
    return monotonic() - began_s


class Room:
    """A service, its nodes, and a session of each worker."""

    def __init__(self, service: LiveService, folder: Path, stack: ExitStack) -> None:
        self.service = service
        self.journal = Journal(folder / "journal")
        self._stack = stack
        self.sessions: list[Session] = []
        self.numbers = count()
        self.answered: list[float] = []
        self.came_back: list[float] = []
        # Of the other shard: before a worker is killed, and from then on.
        self.calm: list[float] = []
        self.struck: list[float] = []
        for name in NODES:
            self.start_node(name)

    def start_node(self, name: str) -> NodeProcess:
        return self._stack.enter_context(
            node_process(self.service.address, self.journal, "re", node_id=name, slots=64)
        )

    async def submit(self, shard: int, sleep_s: float = 0.0) -> float:
        """Have one job done; return the seconds it took.  Raises JobRefused."""
        began_s = monotonic()
        meta = {"sleep_s": sleep_s}
        await self.sessions[shard].submit("payload", services=["nmt"], meta=meta)
        return monotonic() - began_s

    async def state_of(self, name: str) -> str:
        lines = await self.service.nodes()
        return lines[name].state if name in lines else "gone"

    async def until_state(self, name: str, *states: str) -> float:
        """Wait until the manager calls the node so; return the seconds."""
        return await until(lambda: self._is_one_of(name, states))

    async def _is_one_of(self, name: str, states: tuple[str, ...]) -> bool:
        return await self.state_of(name) in states


async def answers(room: Room, shard: int) -> float:
    """Seconds until the shard answers a new connection, probed every 10 ms."""
    began_s = monotonic()
    session_id = session_ids(shard, 1, prefix=f"probe{began_s}")[0]

    async def probe() -> None:
        async with raw_role(room.service.port, Role.SESSION, session_key(session_id)) as peer:
            peer.say(SessionInit(session_id=session_id))
            await peer.hear(SessionInitAck)

    probes: set[asyncio.Task[None]] = set()
    try:
        while not any(task.done() and task.exception() is None for task in probes):
            probes.add(asyncio.create_task(probe()))
            await asyncio.sleep(PROBE_S)
        return monotonic() - began_s
    finally:
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, return_exceptions=True)


async def shard_answers(room: Room, plan: Plan) -> list[float]:
    """A worker is killed: its shard answers again; what else that cost is kept for later lines."""
    for _ in range(plan.rounds):
        # A death soon after another one is answered later: the supervisor backs off.
        await asyncio.sleep(HEALTHY_AFTER_S)
        room.calm += await paced(room)
        jobs = [room.submit(0, 0.3) for _ in range(8)]
        coming_back = asyncio.create_task(together(jobs))
        await asyncio.sleep(0.1)
        began_s = monotonic()
        killed = room.service.kill("worker-0")
        answering = asyncio.create_task(answers(room, 0))
        room.struck += await paced(room)
        room.answered.append(await answering)
        room.came_back.append(await coming_back - began_s)
        await room.service.has_replaced(killed)
    return room.answered


async def together(jobs: Sequence[Coroutine[None, None, float]]) -> float:
    """Wait for all jobs; return when the last one had ended."""
    await asyncio.gather(*jobs)
    return monotonic()


async def paced(room: Room) -> list[float]:
    """Jobs of the other shard for a while, at a pace that leaves the machine to who comes back.

    Returns the seconds that each took.
    """
    taken = []
    until_s = monotonic() + WINDOW_S
    while monotonic() < until_s:
        await asyncio.sleep(PROBE_S)
        taken.append(await room.submit(1))
    return taken


async def jobs_come_back(room: Room, plan: Plan) -> list[float]:
    """Seconds from the kill until all results of jobs have come that it had accepted."""
    return room.came_back


async def others_meanwhile(room: Room, plan: Plan) -> list[float]:
    """p99 of the other shard in the seconds that begin with a kill, by that of calm seconds."""
    return [p99_of(room.struck) / p99_of(room.calm)]


def p99_of(values: Sequence[float]) -> float:
    """Return the p99 of some hundred values."""
    return sorted(values)[len(values) * 99 // 100]


async def manager_away(room: Room, plan: Plan) -> list[float]:
    """The manager is dead for a while: submits that failed."""
    room.service.kill("manager")
    with acquire_lock(room.service.here.state_dir / "manager.lock", wait=True):
        failed = await failed_submits(room, plan.manager_away_s)
    await room.until_state("node-0", "ready")
    return [float(failed)]


async def failed_submits(room: Room, seconds: float) -> int:
    """Submit to both shards all the while; return how often one was refused."""
    failed = 0
    until_s = monotonic() + seconds
    while monotonic() < until_s:
        told = await asyncio.gather(room.submit(0), room.submit(1), return_exceptions=True)
        failed += sum(isinstance(one, PointsmanError) for one in told)
        await asyncio.sleep(0.01)
    return failed


async def snapshot_after(room: Room, plan: Plan) -> list[float]:
    """The manager is killed: the first new snapshot that a worker sees."""
    found = []
    for _ in range(plan.rounds):
        began_s = monotonic()
        killed = room.service.kill("manager")
        await asyncio.sleep(LOOKING_S)  # what it had published before its death is seen by then
        await until(partial(is_newer, room, await version_of(room)))
        found.append(monotonic() - began_s)
        await room.service.has_replaced(killed)
        await asyncio.gather(*(room.until_state(name, "ready") for name in NODES))
    return found


async def is_newer(room: Room, before: int) -> bool:
    return await version_of(room) > before


async def version_of(room: Room) -> int:
    view = await room.service.ask("worker-0", SnapshotQuery())
    assert isinstance(view, SnapshotView)
    return view.version


async def false_deaths(room: Room, plan: Plan) -> list[float]:
    """The manager stands still, then goes on: nodes that it calls offline for that."""
    pid = room.service.process.pids()["manager"]
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(plan.pause_s)
    os.kill(pid, signal.SIGCONT)
    dead: set[str] = set()
    until_s = monotonic() + 3.0
    while monotonic() < until_s:
        lines = await room.service.nodes()
        dead |= {name for name, line in lines.items() if line.state == "offline"}
        await asyncio.sleep(LOOK_S)
    return [float(len(dead & set(NODES)))]


async def victims(room: Room, how_many: int) -> AsyncIterator[tuple[str, NodeProcess]]:
    """Nodes that join one after the other: one that came back often would be made to wait."""
    for _ in range(how_many):
        name = f"victim-{next(room.numbers)}"
        node = room.start_node(name)
        await room.until_state(name, "ready")
        yield name, node
        node.close()


async def silent_node(room: Room, plan: Plan, *states: str) -> list[float]:
    """A node stands still: seconds until the manager calls it so."""
    found = []
    async for name, node in victims(room, min(plan.rounds, 10)):
        node.signal(signal.SIGSTOP)
        found.append(await room.until_state(name, *states))
    return found


async def dead_node(room: Room, plan: Plan) -> list[float]:
    """A node is killed, and its connections say so: seconds until it is no more ready."""
    found = []
    async for name, node in victims(room, plan.rounds):
        node.signal(signal.SIGKILL)
        found.append(await room.until_state(name, "offline", "gone", "suspect"))
    return found


EVENTS: Sequence[Event] = (
    Event("worker killed: its shard answers again", "s", 2.0, 0.5, shard_answers),
    Event("worker killed: its accepted jobs come back", "s", 5.0, 2.0, jobs_come_back),
    Event("worker killed: p99 of the other shard", "times", 2.0, 1.2, others_meanwhile),
    Event("manager dead for a while: failed submits", "count", 0, 0, manager_away),
    Event("manager killed: first new snapshot", "s", 3.0, 1.0, snapshot_after),
    Event("manager stood still for 10 s: false deaths", "count", 0, 0, false_deaths),
    Event(
        "node silent: suspect",
        *("s", 3.0, 2.0),
        lambda room, plan: silent_node(room, plan, "suspect", "offline"),
    ),
    Event("node silent: dead", "s", 5.0, 4.0, lambda r, plan: silent_node(r, plan, "offline")),
    Event("node killed: not chosen any more", "s", 0.3, 0.1, dead_node),
)


def row_of(event: Event, values: Sequence[float]) -> Row:
    """Return what one event came to; the worst stands for the p99 of so few."""
    worst = max(values)
    told = worst - LOOKING_S if event.unit == "s" else worst
    verdict = "good" if told <= event.good else "kept" if told <= event.must else "MISSED"
    return {
        "event": event.name,
        "unit": event.unit,
        "must": float(event.must),
        "good": float(event.good),
        "median": float(median(values)),
        "worst": float(worst),
        "runs": len(values),
        "verdict": verdict,
    }


async def measure(plan: Plan) -> list[Row]:
    """Let everything happen in one service, one after the other."""
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pm-")))
        stack.enter_context(impatient())
        here = stack.enter_context(place())
        service = stack.enter_context(started(here, config=CONFIG))
        room = Room(service, folder, stack)
        ids = [session_ids(shard, 1, prefix="session")[0] for shard in (0, 1)]
        async with (
            connect(service.address, session_id=ids[0], src="en", tgt="re") as a,
            connect(service.address, session_id=ids[1], src="en", tgt="re") as b,
        ):
            room.sessions = [a, b]
            await asyncio.gather(*(room.until_state(name, "ready") for name in NODES))
            await asyncio.gather(room.submit(0), room.submit(1))
            for event in EVENTS:
                rows.append(row_of(event, await event.measure(room, plan)))
                print(f"{rows[-1]['event']}: {rows[-1]['verdict']}", file=sys.stderr, flush=True)
        began_s = monotonic()
        await asyncio.to_thread(service.stop)
        stop_event = Event("stopped while idle", "s", 30.0, 5.0, shard_answers)
        rows.append(row_of(stop_event, [monotonic() - began_s]))
    return rows


def main(options: Options) -> None:
    """Measure, print, write."""
    plan = Plan(3, 5.0, 10.0) if options.is_quick else Plan(50, 60.0, 10.0)
    report("recovery", asyncio.run(measure(plan)), options)


if __name__ == "__main__":
    run(__doc__ or "", main)

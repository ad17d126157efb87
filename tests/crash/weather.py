"""Deaths and pauses that nobody placed: any process, any time, all at once, in any order."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from itertools import permutations
from pathlib import Path
from random import Random
from time import monotonic

from crash.load import QUICK, Load, Outcome, impatient, load
from crash.nemesis import Fleet, Nemesis
from live.journal import Journal
from live.service import PATIENCE_S, LiveService, started, until
from supervised_service import Place, is_running, place

from pointsman import connect
from pointsman_shm.memory.ownership import OwnerLock, acquire_lock
from pointsman_wire.admin_messages import NodeLine

NODES = ("node-0", "node-1")
SERVERS = ("manager", "worker-0", "worker-1")
# What may come back in any order after all was lost.
PARTS = (*SERVERS, "node-0")
ORDERS = tuple(permutations(PARTS))
HUNG_S = 4.0
BUSY = "while True: pass"


class Scene:
    """A service with a fleet and a load, and who harms it."""

    def __init__(self, here: Place, service: LiveService, fleet: Fleet, work: Load) -> None:
        self.here = here
        self.service = service
        self.fleet = fleet
        self.work = work
        self.nemesis = Nemesis(here.directory)


@asynccontextmanager
async def scene(config: str = QUICK) -> AsyncIterator[Scene]:
    """Work goes on while the block runs; afterwards all of it must have been done, once."""
    with impatient(), place() as here, ExitStack() as stack:
        service = stack.enter_context(started(here, config=config))
        journal = Journal(here.directory / "journal")
        fleet = Fleet(service, journal, "we", stack)
        for name in NODES:
            fleet.start(name)
        await fleet.ready()
        history = here.directory / "client.history"
        # Nodes die here: how much each ran at once is told by its history, life by life.
        async with load(service, journal, "we", (), history) as work:
            it = Scene(here, service, fleet, work)
            enough = asyncio.Event()
            working = asyncio.create_task(work.work_until(enough))
            try:
                yield it
            except BaseException:
                working.cancel()  # what went wrong first shall be told
                raise
            enough.set()
            await working
        work.check()
        bad = it.nemesis.verdict()
        assert not bad, bad
        await it.service.has_no_slots_held()
        await asyncio.to_thread(it.service.stop)


async def _goes_on(it: Scene, count: int, *, patience_s: float = PATIENCE_S) -> None:
    """Wait until so many more jobs were done."""
    enough = len(it.work.results) + count
    await until(lambda: len(it.work.results) >= enough, "work goes on", patience_s=patience_s)


async def random_kills(dice: Random, *, seconds: float, pause_s: tuple[float, float]) -> Outcome:
    """P4: one process after the other, at any time; nodes are started again at once."""
    async with scene() as it:
        until_s = monotonic() + seconds
        while monotonic() < until_s:
            await asyncio.sleep(dice.uniform(*pause_s))
            name = dice.choice((*SERVERS, *NODES))
            if name in NODES:
                it.nemesis.kill(it.fleet.nodes[name].process.pid, name)
                it.fleet.start(name)
            elif pid := it.service.process.pids().get(name, 0):
                it.nemesis.kill(pid, name)
    return Outcome(deaths=it.nemesis.count, jobs=len(it.work.results))


async def all_at_once(order: tuple[str, ...]) -> Outcome:
    """P5: everything behind the port, its supervisor and a node; they come back in this order.

    Who has the locks of manager and shards decides when each may go on.
    """
    with ExitStack() as stack:
        async with scene() as it:
            first = it.service
            await asyncio.sleep(0.3)
            pids = first.process.pids()
            first.process.signal(signal.SIGKILL)
            for name in filter(lambda name: is_running(pids[name]), SERVERS):
                it.nemesis.kill(pids[name], name)
            it.nemesis.kill(it.fleet.nodes["node-0"].process.pid, "node-0")
            await until(lambda: not any(map(is_running, pids.values())), "they are dead")
            held = await asyncio.to_thread(_take_locks, it.here)
            opened = stack.enter_context(
                it.here.service(
                    *("--workers", "2", "--port", str(first.port)),
                    *("--config", str(it.here.directory / "pointsman.toml")),
                )
            )
            await _come_back(order, held, it.fleet)
            it.service = await asyncio.to_thread(LiveService, it.here, opened)
            await _goes_on(it, 5)
    return Outcome(deaths=it.nemesis.count, jobs=len(it.work.results))


async def _come_back(order: tuple[str, ...], held: dict[str, OwnerLock], fleet: Fleet) -> None:
    """Let the parts go on one after the other: who waits for a lock, when it is free."""
    for name in order:
        if name in held:
            held.pop(name).release()
        else:
            fleet.start(name)
        await asyncio.sleep(0.2)


def _take_locks(here: Place) -> dict[str, OwnerLock]:
    """Wait for them: a dead process has its files open until its last thread has synced."""
    files = {"manager": "manager.lock", "worker-0": "shard-0.lock", "worker-1": "shard-1.lock"}
    return {name: acquire_lock(here.state_dir / file, wait=True) for name, file in files.items()}


async def hang(name: str, seconds: float) -> Outcome:
    """P6, P7: a process stands still under load, and goes on, or is replaced by then."""
    async with scene(f"{QUICK}[supervision]\nhung_s = {HUNG_S}\n") as it:
        await asyncio.sleep(0.3)
        pid = it.service.process.pids()[name]
        it.nemesis.stop(pid, name)
        await asyncio.sleep(seconds)
        is_same = it.service.process.pids().get(name, 0) == pid
        it.nemesis.go_on(pid, name)
        # Within a second of the limit it may be the one or the other.
        assert is_same or seconds > HUNG_S - 1, "it was replaced too soon"
        assert not is_same or seconds < HUNG_S + 2, "it was not replaced"
        await _goes_on(it, 5)
    return Outcome(deaths=1, jobs=len(it.work.results))


async def manager_away(seconds: float) -> Outcome:
    """P1: there is no manager for so long: who asks is served by the nodes that are known.

    Who queues for its lock before it dies has it before its successor.
    """
    async with scene() as it:
        before = places(await it.service.nodes())
        taking = asyncio.to_thread(acquire_lock, it.here.state_dir / "manager.lock", wait=True)
        waiting = asyncio.ensure_future(taking)
        await asyncio.sleep(0.3)
        it.nemesis.kill(it.service.process.pids()["manager"], "manager")
        lock = await waiting
        try:
            until_s = monotonic() + seconds
            while monotonic() < until_s:
                await _one_more_session(it)
                await _goes_on(it, 1)
        finally:
            lock.release()
        after = places(await it.service.nodes())
        assert after == before, f"a node was thought dead: {before}, then {after}"
        await _goes_on(it, 5)
    return Outcome(deaths=1, jobs=len(it.work.results))


async def _one_more_session(it: Scene) -> None:
    """Somebody new comes, and is served."""
    async with connect(it.service.address, src="en", tgt="we", close_timeout_s=5) as session:
        result = await session.submit("abc", services=["nmt"], wait_busy_s=10.0)
    assert result.text == "cba"
    await asyncio.sleep(0.5)


def lives(nodes: Mapping[str, NodeLine]) -> dict[str, tuple[int, int, int]]:
    """What changes when a node is taken for dead, or registers anew."""
    return {name: (line.row, line.generation, line.epoch) for name, line in nodes.items()}


def places(nodes: Mapping[str, NodeLine]) -> dict[str, tuple[int, int]]:
    """What changes when a node is taken for dead; not when it registers anew."""
    return {name: (line.row, line.generation) for name, line in nodes.items()}


async def harm_segments(harm: str) -> Outcome:
    """S7, S8: every segment is cut, or removed, under the feet of all; the service mends itself."""
    async with scene() as it:
        before = it.service.process.pids()
        it.nemesis.count += 1
        for name in it.here.segments():
            path = Path("/dev/shm", name)
            os.truncate(path, 0) if harm == "cut" else path.unlink()
        manager = before["manager"]

        def is_mended() -> bool:
            pids = it.service.process.pids()
            return {"manager", "worker-0", "worker-1"} <= set(pids) and pids["manager"] != manager

        await until(is_mended, "a new manager", patience_s=30)
        await _goes_on(it, 5, patience_s=40.0)
        assert "GIVES UP" not in it.service.process.text(), "no crash loop"
    return Outcome(deaths=deaths_of_all(it), jobs=len(it.work.results))


async def starve(seconds: float) -> Outcome:
    """P12: four busy loops of a higher priority than everybody else; nobody is thought dead."""
    async with scene(
        QUICK.replace("heartbeat_interval_s = 0.5", "heartbeat_interval_s = 1.0")
    ) as it:
        before = await it.service.nodes()
        busy = [
            await asyncio.create_subprocess_exec("nice", "-n", "-10", sys.executable, "-c", BUSY)
            for _ in range(4)
        ]
        try:
            await asyncio.sleep(seconds)
            after = await it.service.nodes()
        finally:
            for process in busy:
                process.kill()
                await process.wait()
        assert lives(after) == lives(before)
        await _goes_on(it, 5)
    return Outcome(deaths=1, jobs=len(it.work.results))


def deaths_of_all(it: Scene) -> int:
    """How many processes the harm has cost."""
    text = it.service.process.text()
    return text.count(" was killed by ") + text.count(" ended with status ")

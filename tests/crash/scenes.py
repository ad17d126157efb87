"""One death at a named point under load: of a worker, the manager, a node or a client.

Each scene starts what it needs, lets it die at a point, in every life of a server process again,
and looks whether all work was done once.  It raises AssertionError for what was bad.
"""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager, AsyncExitStack
from itertools import count
from pathlib import Path
from uuid import uuid4

from crash.load import QUICK, SLOTS, Outcome, impatient, load
from live.journal import Journal
from live.nodes import TESTS, NodeProcess, live_node, node_process
from live.service import LiveService, started
from supervised_service import place

from pointsman_wire.sockets.crash_points import VARIABLE

PATIENCE_S = 60.0
# Longer than the heartbeats that may be missed.
SILENCE_S = 3.0


async def worker_dies(point: str, passings: int, *, jobs: int, workers: int = 2) -> Outcome:
    """P2: every life of each worker ends at its k-th passing of the point."""
    with impatient(), place() as here:
        journal = Journal(here.directory / "journal")
        environment = {VARIABLE: f"{point}:{passings}"}
        with started(here, config=QUICK, workers=workers, environment=environment) as service:
            async with (
                live_node(service.address, journal, "wa", max_concurrency=SLOTS),
                load(service, journal, "wa", ("n-wa",)) as work,
            ):
                await work.work(jobs, at_once=1)
            work.check()
            await service.has_no_slots_held()
            await asyncio.to_thread(service.stop)
        return Outcome(deaths=deaths_in(service), jobs=len(work.results))


async def manager_dies(point: str, passings: int, *, jobs: int = 12) -> Outcome:
    """P1: the manager dies there again and again, while nodes join and leave: nobody notices."""
    with impatient(), place() as here:
        journal = Journal(here.directory / "journal")
        environment = {VARIABLE: f"{point}:{passings}"}
        with started(here, config=QUICK, environment=environment) as service:
            pid = service.process.pids().get("manager", 0)
            async with (
                live_node(service.address, journal, "ma", max_concurrency=SLOTS),
                load(service, journal, "ma", ("n-ma",)) as work,
            ):
                before = (await service.nodes("worker-0"))["n-ma"]
                working = asyncio.create_task(work.work(jobs, at_once=1, sleep_s=0.05))
                await _churn(service, journal, pid, point)
                await working
                after = (await service.nodes("worker-0"))["n-ma"]
            work.check()
            assert (after.row, after.generation) == (before.row, before.generation)
            failed = [words for result in work.results.values() for words in result.attempts]
            # A guest takes its jobs with it, and a busy machine may be late: that is no death.
            lost = [words for words in failed if "on n-ma:" in words and ": no_ack:" not in words]
            assert not lost, f"it was thought dead: {lost}"
            await asyncio.to_thread(service.stop)
        return Outcome(deaths=deaths_in(service), jobs=len(work.results))


async def _churn(service: LiveService, journal: Journal, pid: int, point: str) -> None:
    """Have the manager register, publish and sweep until it has died of it at least once."""
    needs_silence = "sweep" in point
    async with asyncio.timeout(PATIENCE_S):
        for number in count():
            if service.process.pids().get("manager", pid) != pid:
                return
            guest = node_process(service.address, journal, "ma", node_id=f"guest-{number}")
            await _visit(guest, needs_silence=needs_silence)


async def _visit(guest: AbstractContextManager[NodeProcess], *, needs_silence: bool) -> None:
    """A node joins, and ends without a word, or stands still until it is thought dead."""
    with guest as node:
        await node.ready()
        if needs_silence:
            node.signal(signal.SIGSTOP)
            await asyncio.sleep(SILENCE_S)
    await asyncio.sleep(0.1)


async def node_dies(service: LiveService, folder: Path, point: str, passings: int) -> Outcome:
    """P3: a node dies there; its successor, with the same state, does what is left."""
    tgt = f"nd{uuid4().hex[:8]}"
    journal = Journal(folder / tgt)
    state_dir = folder / f"{tgt}-state"
    options = {"slots": SLOTS, "state_dir": str(state_dir), "node_id": f"n-{tgt}"}
    wish = f"{point}:{passings}"
    with impatient():
        async with AsyncExitStack() as stack:
            first = stack.enter_context(
                node_process(service.address, journal, tgt, crash_point=wish, **options)
            )
            work = await stack.enter_async_context(load(service, journal, tgt, ()))
            working = asyncio.create_task(work.work(6, at_once=1, sleep_s=0.05))
            async with asyncio.timeout(PATIENCE_S):
                status = await first.ended()
            assert status == -9, f"the node ended with {status}: {point} was never passed"
            stack.enter_context(node_process(service.address, journal, tgt, **options))
            await working
    work.check()
    return Outcome(deaths=1, jobs=len(work.results))


async def client_dies(service: LiveService, folder: Path, point: str, passings: int) -> Outcome:
    """N12: a client dies there; the next asks again under its ids, and nothing runs twice."""
    tgt = f"cd{uuid4().hex[:8]}"
    journal = Journal(folder / tgt)
    async with live_node(service.address, journal, tgt, max_concurrency=SLOTS):
        wish = {VARIABLE: f"{point}:{passings}"}
        status, _ = await _client(service, tgt, wish)
        assert status == -9, f"the client ended with {status}: {point} was never passed"
        status, said = await _client(service, tgt, {})
        assert status == 0, said
    starts = journal.starts()
    journal.check_one_job_each()
    told = {line.split()[1]: line.split()[2] for line in said.splitlines()}
    assert len(told) == 4, said
    assert {name: entries[0].job_id for name, entries in starts.items()} == told
    assert {len(entries) for entries in starts.values()} == {1}, "each ran once"
    return Outcome(deaths=1, jobs=len(told))


async def _client(service: LiveService, tgt: str, environment: dict[str, str]) -> tuple[int, str]:
    words = [sys.executable, "-m", "live.client_program"]
    words += [service.address, f"{tgt}-s", tgt, "4"]
    process = await asyncio.create_subprocess_exec(
        *words, cwd=TESTS, env={**os.environ, **environment}, stdout=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, said.decode()


def deaths_in(service: LiveService) -> int:
    """How many of its processes were killed, by what the supervisor said."""
    return service.process.text().count("was killed by SIGKILL")

"""Processes that hang for a while and go on: nobody is thought dead for it, nothing runs twice."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from live.journal import Journal
from live.nodes import live_node
from live.service import LiveService, live_service
from live.sessions import session_ids

from pointsman import Session, connect

pytestmark = pytest.mark.crash
NMT = ["nmt"]
# A heartbeat comes each 0.5 s, and after five that miss a node is Offline.
FROZEN_S = 3.0


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as started:
        yield started
        asyncio.run(started.has_no_slots_held())


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@asynccontextmanager
async def frozen(service: LiveService, name: str) -> AsyncIterator[None]:
    """One of the processes does not run inside the block."""
    pid = service.process.pids()[name]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
    assert service.process.pids()[name] == pid, "nobody has taken its place"


async def submit_for(session: Session, seconds: float) -> int:
    """Submit one job after the other for so long; return how many came back, first try."""
    count = 0
    end_s = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end_s:
        async with asyncio.timeout(10):
            result = await session.submit(f"job {count}", services=NMT)
        assert (result.text, result.attempt) == (f"job {count}"[::-1], 1)
        count += 1
        await asyncio.sleep(0.01)
    return count


async def test_a_frozen_manager_is_not_missed_and_blames_itself_when_it_wakes(
    service: LiveService, journal: Journal
) -> None:
    """P7, T9: no submit fails, and nobody is declared dead for heartbeats that it did not read."""
    ids = [session_ids(shard, 1, prefix="ca")[0] for shard in (0, 1)]
    async with (
        live_node(service.address, journal, "ca"),
        connect(service.address, session_id=ids[0], src="en", tgt="ca") as left,
        connect(service.address, session_id=ids[1], src="en", tgt="ca") as right,
    ):
        assert await submit_for(left, 0.1)
        before = (await service.nodes())["n-ca"]
        async with frozen(service, "manager"):
            counts = await asyncio.gather(submit_for(left, FROZEN_S), submit_for(right, FROZEN_S))
            assert min(counts) > 2
        assert await submit_for(left, 1.0)
        async with asyncio.timeout(15):
            while (await service.nodes())["n-ca"].state != "ready":
                await submit_for(right, 0.1)
        after = (await service.nodes())["n-ca"]
    assert (after.row, after.generation) == (before.row, before.generation)
    assert {len(starts) for starts in journal.starts().values()} == {1}


async def test_a_frozen_worker_goes_on_where_it_was_and_the_other_never_stopped(
    service: LiveService, journal: Journal
) -> None:
    """P6, T9, I3: its jobs ended meanwhile; their results count once, from the first attempt."""
    ids = [session_ids(shard, 1, prefix="cb")[0] for shard in (0, 1)]
    async with (
        live_node(service.address, journal, "cb", max_concurrency=8),
        connect(service.address, session_id=ids[0], src="en", tgt="cb") as left,
        connect(service.address, session_id=ids[1], src="en", tgt="cb") as right,
    ):
        jobs = [
            asyncio.create_task(
                left.submit("payload", services=NMT, request_id=f"r{n}", meta={"sleep_s": 0.5})
            )
            for n in range(4)
        ]
        await journal.has("start", count=4)
        async with frozen(service, "worker-0"):
            assert await submit_for(right, FROZEN_S) > 2
            await journal.has("end", count=4)
        async with asyncio.timeout(15):
            results = await asyncio.gather(*jobs)
        assert {(result.text, result.attempt) for result in results} == {("daolyap", 1)}
        assert (await service.nodes())["n-cb"].state == "ready"
        assert await submit_for(left, 0.2)
    assert {len(starts) for starts in journal.starts().values()} == {1}

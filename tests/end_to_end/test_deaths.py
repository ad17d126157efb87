"""Processes that are killed while jobs run: nothing is lost, nothing runs twice, all goes on."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from live.journal import Journal
from live.nodes import live_node, node_process
from live.service import CONFIG, LiveService, live_service, started
from live.sessions import session_ids
from supervised_service import place

from pointsman import JobResult, Session, connect
from pointsman.node_core import control, lane
from pointsman.session_core import links

pytestmark = pytest.mark.crash
NMT = ["nmt"]


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    """One for all that leave it alive; a test is known by the language that its nodes speak."""
    with live_service(config=CONFIG.replace("[jobs]", "[jobs]\nack_s = 0.5")) as started:
        yield started
        asyncio.run(started.has_no_slots_held())


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes and clients of this process dial again soon, however long the server was away."""
    for module in (control, lane, links):
        monkeypatch.setattr(module, "BACKOFF_CAP_S", 0.5)


@asynccontextmanager
async def sessions_of_both(address: str, tgt: str, count: int = 1) -> AsyncIterator[list[Session]]:
    """So many sessions of worker 0, then as many of worker 1."""
    ids = [*session_ids(0, count, prefix=tgt), *session_ids(1, count, prefix=tgt)]
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                connect(address, session_id=i, src="en", tgt=tgt, close_timeout_s=5)
            )
            for i in ids
        ]


def submit_all(
    sessions: Sequence[Session], count: int, sleep_s: float
) -> list[asyncio.Task[JobResult]]:
    """Submit so many jobs in each session; the request ids say whose they are."""
    return [
        asyncio.create_task(
            session.submit(
                "payload",
                services=NMT,
                request_id=f"{session.session_id}/{number}",
                meta={"sleep_s": sleep_s},
                wait_busy_s=20,
                wait_none_s=20,
            )
        )
        for session in sessions
        for number in range(count)
    ]


async def all_done(tasks: Sequence[asyncio.Task[JobResult]]) -> list[JobResult]:
    """The results; every one must come, and be right."""
    async with asyncio.timeout(30):
        results = await asyncio.gather(*tasks)
    assert {result.payload for result in results} == {b"daolyap"}
    return results


async def close_all(sessions: Sequence[Session]) -> None:
    """End sessions whose server has gone."""
    for session in sessions:
        await session.close(timeout_s=0.1)


# ---- a worker


async def test_a_killed_worker_starts_no_request_twice_and_every_result_arrives(
    service: LiveService, journal: Journal
) -> None:
    """P2, I2, I4: jobs that run, jobs that wait, and clients of both workers."""
    async with (
        live_node(service.address, journal, "ba", max_concurrency=12),
        sessions_of_both(service.address, "ba", 2) as sessions,
    ):
        jobs = submit_all(sessions, 5, 0.5)
        await journal.has("start", count=12)
        await service.has_replaced(service.kill("worker-0"))
        results = await all_done(jobs)
    assert {len(starts) for starts in journal.starts().values()} == {1}
    assert len(journal.starts()) == len(results) == 20
    assert journal.most_at_once("n-ba") <= 12


async def test_a_result_that_was_made_while_its_worker_was_dead_arrives(
    service: LiveService, journal: Journal
) -> None:
    """The node holds it until the successor takes it; the client finds it under its request id."""
    async with (
        live_node(service.address, journal, "bb"),
        sessions_of_both(service.address, "bb") as sessions,
    ):
        jobs = submit_all(sessions, 1, 0.05)
        await journal.has("start", count=2)
        killed = service.kill("worker-0", "worker-1")
        await journal.has("end", count=2)
        await service.has_replaced(killed)
        await all_done(jobs)
    assert {len(starts) for starts in journal.starts().values()} == {1}


async def test_workers_killed_again_and_again_under_load_lose_nothing(
    service: LiveService, journal: Journal
) -> None:
    async with (
        live_node(service.address, journal, "bc", max_concurrency=4),
        sessions_of_both(service.address, "bc", 2) as sessions,
    ):
        jobs = submit_all(sessions, 25, 0.02)
        for turn in range(4):
            await journal.has("start", count=10 * turn + 1)
            await service.has_replaced(service.kill(f"worker-{turn % 2}"))
        await all_done(jobs)
    journal.check_never_twice_at_once()
    assert len(journal.starts()) == 100
    assert journal.most_at_once("n-bc") <= 4


# ---- the manager


async def test_a_killed_manager_is_not_missed_and_declares_nobody_dead(
    service: LiveService, journal: Journal
) -> None:
    """P1: submits go on without a failure; the fleet is as it was, and takes newcomers."""
    async with (
        live_node(service.address, journal, "bd") as node,
        sessions_of_both(service.address, "bd") as sessions,
    ):
        await all_done(submit_all(sessions, 1, 0))
        before = (await service.nodes())["n-bd"]
        jobs = submit_all(sessions, 50, 0.05)
        await journal.has("start", count=10)
        killed = service.kill("manager")
        assert (await service.nodes("worker-0"))["n-bd"].state == "ready"
        await service.has_replaced(killed)
        results = await all_done(jobs)
        assert {result.attempt for result in results} == {1}
        async with asyncio.timeout(15):
            await node.wait_ready()
        async with live_node(service.address, journal, "bd", node_id="newcomer"):
            lines = await service.nodes()
            after = lines["n-bd"]
            assert (after.state, lines["newcomer"].state) == ("ready", "ready")
    assert (after.row, after.generation) == (before.row, before.generation)
    assert {len(starts) for starts in journal.starts().values()} == {1}
    assert "offline" not in service.process.text()


async def test_everything_behind_the_port_killed_at_once_comes_back(
    service: LiveService, journal: Journal
) -> None:
    async with (
        live_node(service.address, journal, "be"),
        sessions_of_both(service.address, "be") as sessions,
    ):
        jobs = submit_all(sessions, 4, 0.3)
        await journal.has("start", count=4)
        await service.has_replaced(service.kill("manager", "worker-0", "worker-1"))
        await all_done(jobs)
    journal.check_one_job_each()
    assert {len(starts) for starts in journal.starts().values()} == {1}


# ---- nodes


async def test_jobs_of_a_killed_node_come_back_from_another(
    service: LiveService, journal: Journal
) -> None:
    """T11: they run again elsewhere, under the same job ids."""
    async with sessions_of_both(service.address, "bf") as sessions:
        with node_process(service.address, journal, "bf", node_id="dies", slots=8) as dies:
            await dies.ready()
            jobs = submit_all(sessions, 4, 0.4)
            await journal.has("start", count=8)
            async with live_node(
                service.address, journal, "bf", node_id="lives", max_concurrency=8
            ):
                dies.signal(signal.SIGKILL)
                results = await all_done(jobs)
    assert {result.node_id for result in results} == {"lives"}
    assert {result.attempt for result in results} == {2}
    journal.check_one_job_each()
    assert {len(starts) for starts in journal.starts().values()} == {2}


async def test_a_node_that_answers_nothing_is_passed_over(
    service: LiveService, journal: Journal
) -> None:
    """T13: a frozen node acknowledges nothing; its jobs are taken elsewhere within the budget."""
    async with sessions_of_both(service.address, "bg") as sessions:
        with node_process(service.address, journal, "bg", node_id="frozen", slots=8) as frozen:
            await frozen.ready()
            await all_done(submit_all(sessions, 1, 0))
            frozen.signal(signal.SIGSTOP)
            async with live_node(service.address, journal, "bg", node_id="awake"):
                jobs = [
                    asyncio.create_task(
                        session.submit(
                            "payload",
                            services=NMT,
                            request_id=f"{session.session_id}/late-{number}",
                        )
                    )
                    for session in sessions
                    for number in range(4)
                ]
                results = await all_done(jobs)
                assert {result.node_id for result in results} == {"awake"}
                assert max(result.attempt for result in results) > 1
                frozen.signal(signal.SIGCONT)
    journal.check_one_job_each()


async def test_a_node_drains_on_sigterm_and_finishes_its_jobs(
    service: LiveService, journal: Journal
) -> None:
    async with sessions_of_both(service.address, "bh") as sessions:
        with node_process(service.address, journal, "bh", node_id="leaves") as leaves:
            await leaves.ready()
            jobs = submit_all(sessions, 2, 0.5)
            await journal.has("start", count=4)
            leaves.signal(signal.SIGTERM)
            results = await all_done(jobs)
            assert await leaves.ended() == 0
    assert {(result.node_id, result.attempt) for result in results} == {("leaves", 1)}
    assert {len(starts) for starts in journal.starts().values()} == {1}


# ---- the whole service


async def test_a_service_that_is_stopped_amid_work_ends_its_jobs_and_leaves_nothing(
    journal: Journal,
) -> None:
    with place() as here, started(here) as service:
        async with (
            live_node(service.address, journal, "bi"),
            sessions_of_both(service.address, "bi") as sessions,
        ):
            jobs = submit_all(sessions, 2, 0.3)
            await journal.has("start", count=4)
            stopping = asyncio.create_task(asyncio.to_thread(service.stop))
            await all_done(jobs)
            await stopping
            await close_all(sessions)
    assert {len(starts) for starts in journal.starts().values()} == {1}


@pytest.mark.parametrize("also", [("manager", "worker-0", "worker-1"), ()], ids=["all", "alone"])
async def test_a_killed_supervisor_is_succeeded_by_the_next_start(
    also: tuple[str, ...], journal: Journal
) -> None:
    """P5: with its processes or without; nodes and clients come back, no request runs twice."""
    patient = CONFIG.replace("lane_grace_s = 1.0", "lane_grace_s = 3.0")
    with place() as here, started(here, config=patient) as first:
        async with (
            live_node(first.address, journal, "bj"),
            sessions_of_both(first.address, "bj") as sessions,
        ):
            jobs = submit_all(sessions, 2, 2.0)
            await journal.has("start", count=4)
            first.kill(*also)
            first.process.signal(signal.SIGKILL)
            await asyncio.to_thread(first.process.process.wait)
            assert here.segments(), "nobody was left to remove them"
            with started(here, "--port", str(first.port), config=patient) as second:
                await all_done(jobs)
                await second.has_no_slots_held()
                await asyncio.to_thread(second.stop)
                await close_all(sessions)
    assert {len(starts) for starts in journal.starts().values()} == {1}

"""Two real services over a real Redis, each with a node of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from live.journal import Journal
from live.nodes import live_node
from live.service import CONFIG, LiveService, started
from redis_yard.programs import needed, redis_program
from redis_yard.server import RedisServer, running
from supervised_service import place

from pointsman import JobRefused, JobResult, Session, connect
from pointsman.node_core import control, lane
from pointsman.session_core import links

pytestmark = pytest.mark.crash
LEASE_S = 3.0
NMT = ["nmt"]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which keeps what it was told."""
    options = ["appendonly yes", "appendfsync always"]
    with running(needed(redis_program()), tmp_path / "redis", options) as server:
        yield server


@pytest.fixture
def services(redis: RedisServer) -> Iterator[tuple[LiveService, LiveService]]:
    """Two instances, one worker each."""
    config = f"{CONFIG}[redis]\nurl = 'unix://{redis.socket}'\nbinding_lease_s = {LEASE_S}\n"
    environment = {"POINTSMAN_CLUSTER_KEY": "0123456789abcdef0123456789abcdef"}
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                started(
                    stack.enter_context(place()), config=config, workers=1, environment=environment
                )
            )
            for _ in range(2)
        ]
        yield both[0], both[1]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (control, lane, links):
        monkeypatch.setattr(module, "BACKOFF_CAP_S", 0.5)


@asynccontextmanager
async def session_at(service: LiveService, tgt: str) -> AsyncIterator[Session]:
    """The same session, at one of the services."""
    async with connect(
        service.address, session_id=f"s-{tgt}", src="en", tgt=tgt, close_timeout_s=1
    ) as session:
        yield session


def submit(session: Session, request_id: str, sleep_s: float = 0.0) -> asyncio.Task[JobResult]:
    """Have one job run."""
    return asyncio.create_task(
        session.submit(
            "payload",
            services=NMT,
            request_id=request_id,
            meta={"sleep_s": sleep_s},
            durability="redis",
            wait_busy_s=20,
            wait_none_s=20,
        )
    )


async def tried(session: Session, request_id: str) -> JobResult:
    """Submit again for as long as Redis is not there yet, which the caller bounds."""
    while True:
        try:
            return await submit(session, request_id)
        except JobRefused as refused:
            if refused.code != "SCHEDULER_DEPENDENCY_DOWN":
                raise
            await asyncio.sleep(0.1)


async def test_the_same_key_at_two_services_is_one_job_also_when_one_of_them_is_killed(
    services: tuple[LiveService, LiveService], journal: Journal
) -> None:
    """R8, N11, R9, I2: over a real Redis; then the owner dies, and its job is run by the other."""
    a, b = services
    async with (
        live_node(a.address, journal, "ca", node_id="n-a"),
        live_node(b.address, journal, "ca", node_id="n-b"),
        session_at(a, "ca") as at_a,
        session_at(b, "ca") as at_b,
    ):
        async with asyncio.timeout(30):
            first = submit(at_a, "r-1", sleep_s=0.3)
            second = submit(at_b, "r-1", sleep_s=0.3)
            results = await asyncio.gather(first, second)
        assert {result.payload for result in results} == {b"daolyap"}
        assert len(journal.starts()["r-1"]) == 1
        journal.check_one_job_each()
        owned = submit(at_a, "r-2", sleep_s=2.0)
        await journal.has("start", count=2)
        await asyncio.to_thread(a.process.close)
        async with asyncio.timeout(30):
            result = await submit(at_b, "r-2", sleep_s=0.0)
        owned.cancel()
        await asyncio.gather(owned, return_exceptions=True)
    assert result.payload == b"daolyap"
    assert {start.node_id for start in journal.starts()["r-2"]} == {"n-a", "n-b"}
    journal.check_one_job_each()
    b.stop()


async def test_a_redis_that_is_killed_stops_new_jobs_only_and_all_is_well_when_it_is_back(
    services: tuple[LiveService, LiveService], redis: RedisServer, journal: Journal
) -> None:
    """R1, I14: with an append-only file; running jobs go on."""
    a, b = services
    async with (
        live_node(a.address, journal, "cb", node_id="n-a"),
        live_node(b.address, journal, "cb", node_id="n-b"),
        session_at(a, "cb") as at_a,
        session_at(b, "cb") as at_b,
    ):
        job = submit(at_a, "r-1", sleep_s=1.0)
        await journal.has("start")
        redis.kill()
        with pytest.raises(JobRefused) as refused:
            await at_b.submit("payload", services=NMT, request_id="r-2")
        assert refused.value.code == "SCHEDULER_DEPENDENCY_DOWN"
        async with asyncio.timeout(20):
            assert (await job).payload == b"daolyap"
        redis.start()
        async with asyncio.timeout(30):
            for session, request_id in ((at_b, "r-3"), (at_a, "r-4")):
                assert (await tried(session, request_id)).payload == b"daolyap"
            assert (await tried(at_b, "r-1")).job_id == job.result().job_id
    assert {len(starts) for starts in journal.starts().values()} == {1}
    a.stop()
    b.stop()

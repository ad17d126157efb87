"""Metrics and health of a real service: they tell the truth while its processes suffer."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
import pytest
from live.journal import Journal
from live.nodes import live_node
from starlette.requests import Request
from supervised_service import PATIENCE_S, Place, Service, place

from pointsman import JobFailed, JobRefused, Session, connect
from pointsman_sched.console.observing.observer import Observer
from pointsman_sched.console.observing.routes import Access, observing_routes

CONFIG = """
[limits]
snapshot_stale_s = 1.0
queued_per_shard_max = 2
[nodes]
resource_threshold_percent = 0
[supervision]
hung_s = 60.0
"""
SECRET = "a-payload-that-nobody-else-may-see"


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    with place() as made:
        made.has_console = True
        yield made


@pytest.fixture(scope="module")
def service(here: Place) -> Iterator[Service]:
    config = here.directory / "observed.toml"
    config.write_text(CONFIG)
    config.chmod(0o600)
    with here.service("--workers", "2", "--config", str(config)) as started:
        started.port = started.ready()  # type: ignore[attr-defined]
        yield started


class Watcher:
    """Asks the console, always on a new connection."""

    def __init__(self, service: Service) -> None:
        self.address = f"127.0.0.1:{service.port}"  # type: ignore[attr-defined]

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{self.address}{path}", headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    async def ready(self) -> tuple[bool, list[str]]:
        status, text = await self.get("/ready")
        said = msgspec.json.decode(text)
        assert said["ready"] is (status == 200)
        return said["ready"], said["reasons"]

    async def until(self, *, ready: bool, reason: str = "") -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                is_ready, reasons = await self.ready()
                if is_ready is ready and reason in "; ".join(reasons):
                    return
                await asyncio.sleep(0.05)

    async def until_value(self, sample: str, least: float, most: float = inf) -> None:
        """Processes show what they have counted with their chores, each in its time."""
        seen: list[float] = []
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._reaches(sample, least, most, seen)
        except TimeoutError:
            raise AssertionError(f"{sample} was {seen}, not {least:g} to {most:g}") from None

    async def _reaches(self, sample: str, least: float, most: float, seen: list[float]) -> None:
        while True:
            seen[:] = [await self.value(sample)]
            if least <= seen[0] <= most:
                return
            await asyncio.sleep(0.05)

    async def value(self, sample: str) -> float:
        _, text = await self.get("/metrics")
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith((sample + " ", sample + "{"))
        )


@pytest.fixture
async def watcher(service: Service) -> AsyncIterator[Watcher]:
    made = Watcher(service)
    await made.until(ready=True)
    yield made
    await made.until(ready=True)


@asynccontextmanager
async def a_node(address: str, tmp_path: Path) -> AsyncIterator[None]:
    journal = Journal(tmp_path / "journal")
    async with live_node(address, journal, "es", node_id="worker-bee", max_concurrency=2):
        yield


async def submit(session: Session, *, wait_s: float) -> bool:
    """Was the job done?"""
    try:
        await session.submit(SECRET, services=["nmt"], wait_none_s=wait_s, wait_busy_s=wait_s)
    except (JobRefused, JobFailed):
        return False
    return True


async def test_metrics_tell_of_a_job_and_nothing_of_what_was_in_it(
    watcher: Watcher, tmp_path: Path
) -> None:
    """U5: no payloads, no names of sessions or tenants."""
    accepted = await watcher.value("pointsman_worker_jobs_accepted_total")
    async with (
        a_node(watcher.address, tmp_path),
        connect(watcher.address, src="en", tgt="es", session_id="somebody") as session,
    ):
        for _ in range(2):  # the first may have waited for the node
            await session.submit(
                SECRET, services=["nmt"], wait_none_s=PATIENCE_S, wait_busy_s=PATIENCE_S
            )
        for sample in (
            "pointsman_worker_scheduling_seconds_count",
            "pointsman_worker_reservations_total",
            "pointsman_worker_pool_attempts_total",
            "pointsman_worker_gc_pause_seconds_count",
        ):
            await watcher.until_value(sample, 1)
        accepted += 2
        await watcher.until_value("pointsman_worker_jobs_accepted_total", accepted, accepted)
        await watcher.until_value('pointsman_fleet_nodes{state="ready"}', 1, 1)
        await watcher.until_value("pointsman_fleet_slots", 2, 2)
        await watcher.until_value("pointsman_process_resident_memory_bytes", 5 * 2**20)
    _, text = await watcher.get("/metrics")
    for name in ("manager", "worker-0", "worker-1", "console", "supervisor"):
        assert f'pointsman_process_open_fds{{process="{name}"}}' in text
    assert not any(word in text for word in (SECRET, "somebody", "worker-bee"))


async def test_u5_metrics_are_for_this_machine_and_health_is_for_all(watcher: Watcher) -> None:
    """U5: what a proxy passes on comes from elsewhere."""
    assert (await watcher.get("/metrics"))[0] == 200
    assert (await watcher.get("/metrics", **{"X-Forwarded-For": "203.0.113.5"}))[0] == 403
    for path in ("/live", "/ready", "/healthz"):
        assert (await watcher.get(path, **{"X-Forwarded-For": "203.0.113.5"}))[0] == 200


class Exposed:
    """An observer with something to show."""

    def exposition(self) -> bytes:
        return b"pointsman_jobs_total 7\n"


@pytest.mark.parametrize("client", [("203.0.113.5", 1), None], ids=["elsewhere", "over TLS"])
@pytest.mark.parametrize(("access", "status"), [("loopback", 403), ("all", 200)])
async def test_u5_who_is_not_of_this_machine_gets_metrics_only_where_all_may(
    client: tuple[str, int] | None, access: Access, status: int
) -> None:
    routes = observing_routes(cast(Observer, Exposed()), access)
    (metrics,) = [route for route in routes if route.path == "/metrics"]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "headers": [],
        "client": client,
    }
    response = await metrics.endpoint(Request(scope))
    assert response.status_code == status
    assert (b"jobs" in response.body) is (status == 200)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
async def test_promtool_accepts_what_a_service_shows(watcher: Watcher) -> None:
    _, text = await watcher.get("/metrics")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr.strip()) == (0, "")


@pytest.mark.parametrize(
    ("name", "reason"), [("worker-1", "worker 1 is silent"), ("manager", "manager: silent for")]
)
async def test_i14_who_stands_still_makes_the_service_unready_until_he_goes_on(
    service: Service, watcher: Watcher, name: str, reason: str
) -> None:
    pid = service.pids()[name]
    os.kill(pid, signal.SIGSTOP)
    try:
        await watcher.until(ready=False, reason=reason)
        status, text = await watcher.get("/healthz")
        assert (status, "silent for" in text) == (503, True)
        assert (await watcher.get("/live"))[0] == 200
        assert await watcher.value("pointsman_console_ready") == 0
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_i14_refusals_for_want_of_nodes_and_of_room_make_it_unready(
    watcher: Watcher, tmp_path: Path
) -> None:
    """I14: after two seconds of failing submits no endpoint says "ok"; served jobs clear it."""
    async with connect(watcher.address, src="en", tgt="es") as session:
        loop = asyncio.get_running_loop()
        began_s, is_ready, reasons = loop.time(), True, [""]
        while is_ready:
            jobs = [submit(session, wait_s=0.2) for _ in range(4)]
            assert not any(await asyncio.gather(*jobs))
            is_ready, reasons = await watcher.ready()
            assert loop.time() - began_s < PATIENCE_S
        assert "submits: most fail" in "; ".join(reasons)
        assert await watcher.value("pointsman_worker_queue_refusals_total") >= 1
        assert await watcher.value("pointsman_worker_no_available_node_total") >= 1
        async with a_node(watcher.address, tmp_path), asyncio.timeout(PATIENCE_S):
            while not (await watcher.ready())[0]:
                await submit(session, wait_s=1)

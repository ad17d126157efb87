"""Two real services over a real Redis: the nodes at one, the sessions at the other."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation.services import two_services, until_node
from live.journal import Journal
from live.nodes import live_node
from live.service import LiveService

from pointsman import JobResult, Session, connect
from pointsman.node_core import control, lane
from pointsman.session_core import links

pytestmark = pytest.mark.crash
NMT = ["nmt"]
JOBS = 6


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (control, lane, links):
        monkeypatch.setattr(module, "BACKOFF_CAP_S", 0.5)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[tuple[LiveService, LiveService]]:
    with two_services(tmp_path) as both:
        yield both


def submit(session: Session, number: int) -> asyncio.Task[JobResult]:
    """Have one job run."""
    return asyncio.create_task(
        session.submit(
            "payload",
            services=NMT,
            request_id=f"r-{number}",
            meta={"sleep_s": 0.5},
            wait_busy_s=20,
            wait_none_s=20,
        )
    )


async def test_jobs_run_on_the_nodes_of_another_service_also_when_workers_are_killed(
    services: tuple[LiveService, LiveService], tmp_path: Path
) -> None:
    """P2, R10, I1, I2, I4: at the home first, then where the sessions are."""
    home, borrower = services
    journal = Journal(tmp_path / "journal")
    async with asyncio.timeout(60):
        async with (
            live_node(home.address, journal, "es", node_id="n-home", max_concurrency=2),
            connect(borrower.address, src="en", tgt="es", close_timeout_s=1) as session,
        ):
            await until_node(borrower, "n-home", "ready")
            assert (await submit(session, 0)).node_id == "n-home"
            jobs = [submit(session, number) for number in range(1, JOBS)]
            await journal.has("start", count=2)
            await home.has_replaced(home.kill("worker-0"))
            results = await asyncio.gather(*jobs)
            jobs = [submit(session, number) for number in range(JOBS, 2 * JOBS)]
            await journal.has("start", count=JOBS + 1)
            await borrower.has_replaced(borrower.kill("worker-0"))
            results += await asyncio.gather(*jobs)
    assert {result.payload for result in results} == {b"daolyap"}
    assert {result.node_id for result in results} == {"n-home"}
    journal.check_one_job_each()

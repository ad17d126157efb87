"""Every named point is hit by a real death, and the work goes on as if nothing had happened."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.points import PROGRAMS, crash_points, points_of
from crash.scenes import client_dies, node_dies, worker_dies
from live.service import LiveService, live_service
from supervised_service import place

from pointsman_wire.sockets.crash_points import VARIABLE

pytestmark = pytest.mark.crash
# Met by dying processes of their own, see below.
AT_START = "worker-at-start"
# A node keeps its identity before it is ready.  A worker writes several records for each job, and
# in each of its lives some for those of the life before.
PASSINGS = {"node-mid-store": 1, "worker-after-journal": 7}
PASSINGS |= {"journal-before-write": 7, "journal-after-write": 7}
WORKER_POINTS = points_of("worker", "journal")
# These need full segments and waits for the disk: tests/journal/test_journal_services.py.
ELSEWHERE = {AT_START, "journal-after-roll", "journal-before-sync"}


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as started:
        yield started
        asyncio.run(started.has_no_slots_held())


def test_every_point_belongs_to_a_program_and_is_found_in_the_source() -> None:
    points = crash_points()
    assert {name.partition("-")[0] for name in points} <= set(PROGRAMS)
    assert len(points) > 30
    assert {"manager-mid-sweep", "catalog-mid-payload", AT_START, "node-mid-store"} <= set(points)


@pytest.mark.parametrize("point", [name for name in WORKER_POINTS if name not in ELSEWHERE])
async def test_p2_a_worker_that_dies_at_a_point_loses_no_job(point: str) -> None:
    """P2, I2, I4, I10: in each of its lives, while clients of both workers wait for results."""
    outcome = await worker_dies(point, PASSINGS.get(point, 2), jobs=3, workers=1)
    assert outcome.deaths >= 1, f"{point} was never passed"


def test_p9_a_worker_that_dies_at_every_start_ends_a_service_that_was_never_ready() -> None:
    with place() as here, here.service(environment={VARIABLE: f"{AT_START}:1"}) as running:
        assert running.ended() == 1
        assert "gives up: worker-" in running.text()
        assert running.text().count("was killed by SIGKILL") >= 5
        assert here.segments() == here.sockets() == []


@pytest.mark.parametrize("point", points_of("node"))
async def test_p3_a_node_that_dies_at_a_point_has_its_jobs_done(
    service: LiveService, tmp_path: Path, point: str
) -> None:
    outcome = await node_dies(service, tmp_path, point, PASSINGS.get(point, 2))
    assert outcome.jobs == 12


@pytest.mark.parametrize("point", points_of("client"))
async def test_n12_a_client_that_dies_at_a_point_asks_again_and_nothing_runs_twice(
    service: LiveService, tmp_path: Path, point: str
) -> None:
    outcome = await client_dies(service, tmp_path, point, 1)
    assert outcome.jobs == 4

"""SIGTERM in every state of a service (P13): it drains within its limit and leaves nothing."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from crash.load import impatient
from live.journal import Journal
from live.nodes import live_node
from live.service import CONFIG, LiveService, started
from live.sessions import session_ids
from supervised_service import Place, is_running, place

from pointsman import JobResult, Session, connect

pytestmark = pytest.mark.crash
# What a service may take to stop, and to be killed when it does not.
STOP_S = 30.0 + 5.0
HUNG_S = 2.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as made:
        yield made


def submit(session: Session, name: str, sleep_s: float) -> asyncio.Task[JobResult]:
    return asyncio.create_task(
        session.submit(
            "payload",
            services=["nmt"],
            request_id=name,
            meta={"sleep_s": sleep_s},
            wait_busy_s=60,
            wait_none_s=60,
        )
    )


def stop(service: LiveService) -> float:
    """Stop it, which must leave nothing; return the seconds that it took."""
    began_s = monotonic()
    service.stop()
    return monotonic() - began_s


@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.3])
def test_p13_sigterm_while_it_starts_ends_it_and_leaves_nothing(
    here: Place, after_s: float
) -> None:
    with here.service("--workers", "2") as service:
        sleep(after_s)
        service.signal(signal.SIGTERM)
        # Before Python has come as far as our handler the signal's own effect is the end.
        assert service.ended() in (0, -signal.SIGTERM), service.text()
        assert "Traceback (most" not in service.text(), service.text()
        assert not service.pids()
    assert here.segments() == here.sockets() == []


async def test_p13_sigterm_amid_work_ends_running_jobs_and_leaves_waiting_ones_to_the_next_start(
    here: Place, tmp_path: Path
) -> None:
    """P5's gentle sister, I1, I2: the client is told to go away and comes back by itself."""
    journal = Journal(tmp_path / "journal")
    with impatient(), started(here) as first:
        async with (
            live_node(first.address, journal, "st", max_concurrency=1),
            connect(
                first.address, session_id=session_ids(0, 1, prefix="st")[0], src="en", tgt="st"
            ) as session,
        ):
            running = submit(session, "running", 1.0)
            await journal.has("start")
            waiting = [submit(session, f"waiting-{number}", 0.0) for number in range(3)]
            await asyncio.sleep(0.2)
            took_s = await asyncio.to_thread(stop, first)
            assert took_s < STOP_S
            assert (await running).text == "daolyap"
            assert not any(task.done() for task in waiting)
            with started(here, "--port", str(first.port)) as second:
                results = await asyncio.wait_for(asyncio.gather(*waiting), 60)
                assert {result.text for result in results} == {"daolyap"}
                await second.has_no_slots_held()
                await session.close()
                await asyncio.to_thread(second.stop)
    journal.check_one_job_each()
    assert {len(starts) for starts in journal.starts().values()} == {1}


def test_p13_sigterm_while_the_manager_is_dead_ends_it_and_leaves_nothing(here: Place) -> None:
    with started(here) as service:
        service.kill("manager")
        assert stop(service) < STOP_S


def test_p13_sigterm_with_a_frozen_worker_waits_no_longer_than_for_a_hung_one(
    here: Place,
) -> None:
    with started(here, config=f"{CONFIG}[supervision]\nhung_s = {HUNG_S}\n") as service:
        frozen = service.process.pids()["worker-0"]
        os.kill(frozen, signal.SIGSTOP)
        assert stop(service) < STOP_S
        assert not is_running(frozen)
        assert "has done nothing for" in service.process.text()


async def test_p13_a_second_sigterm_ends_running_jobs_at_once(here: Place, tmp_path: Path) -> None:
    """The job goes on at its node, and its client finds it again at the next start."""
    journal = Journal(tmp_path / "journal")
    with impatient(), started(here) as service:
        async with (
            live_node(service.address, journal, "su"),
            connect(service.address, session_id="su", src="en", tgt="su") as session,
        ):
            job = submit(session, "long", 60.0)
            await journal.has("start")
            began_s = monotonic()
            service.process.signal(signal.SIGTERM)
            await asyncio.to_thread(service.process.wait_for, "stops: signal SIGTERM")
            await asyncio.sleep(0.6)  # two signals within half a second are one wish
            await asyncio.to_thread(stop, service)
            assert monotonic() - began_s < 20
            job.cancel()
            await session.close(timeout_s=0.1)

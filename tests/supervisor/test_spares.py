"""Spare workers of a real service: at hand when one dies, no part of it until then."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.service import LiveService, started
from supervised_service import is_running, place, wait_until

pytestmark = pytest.mark.crash


@pytest.fixture
def service() -> Iterator[LiveService]:
    with place() as here, started(here) as running:
        yield running


def spares(service: LiveService) -> list[int]:
    """Return the processes of the service that wait to be told which worker they are."""
    parent, named = service.process.process.pid, set(service.process.pids().values())
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [pid for pid in map(int, children) if pid not in named]


def test_who_dies_is_replaced_by_the_spare_and_another_is_made(service: LiveService) -> None:
    """P4: the successor has read its program already; it takes lock, journal and doors."""
    wait_until(lambda: len(spares(service)) == 1, "a spare")
    (spare,) = spares(service)
    service.kill("worker-1")
    wait_until(lambda: service.process.pids().get("worker-1") == spare, "it has the place")
    wait_until(lambda: spares(service) not in ([], [spare]), "another spare")
    service.stop()
    assert not is_running(spare)


def test_a_spare_that_was_killed_is_not_missed(service: LiveService) -> None:
    wait_until(lambda: len(spares(service)) == 1, "a spare")
    (spare,) = spares(service)
    os.kill(spare, signal.SIGKILL)
    old = service.process.pids()["worker-0"]
    service.kill("worker-0")
    wait_until(lambda: service.process.pids().get("worker-0", old) != old, "a successor")
    service.stop()


def test_a_spare_ends_with_its_supervisor_however_that_ends(service: LiveService) -> None:
    wait_until(lambda: len(spares(service)) == 1, "a spare")
    everybody = [*spares(service), *service.process.pids().values()]
    service.process.signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, everybody)), "all have ended")

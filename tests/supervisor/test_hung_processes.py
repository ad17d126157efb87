"""Processes that hang, of a real service: short pauses are forgiven, long ones are replaced."""

import asyncio
import os
import signal
from collections.abc import Iterator
from time import monotonic

import pytest
from live.control_groups import control_group
from live.service import CONFIG, LiveService, started
from supervised_service import is_running, place, wait_until

from pointsman_wire.admin_messages import Status, StatusQuery

pytestmark = pytest.mark.crash
HUNG_S = 2.0


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    config = f"{CONFIG}[supervision]\nhung_s = {HUNG_S}\n"
    with place() as here, started(here, config=config) as running:
        yield running
        running.stop()


def starts(service: LiveService) -> dict[str, int]:
    status = asyncio.run(service.ask("supervisor", StatusQuery()))
    assert isinstance(status, Status)
    return {child["name"]: int(child["starts"]) for child in status.children}


def is_ready_again(service: LiveService, name: str) -> bool:
    status = asyncio.run(service.ask("supervisor", StatusQuery()))
    assert isinstance(status, Status)
    return {child["name"]: child["state"] for child in status.children}[name] == "ready"


def test_p6_p7_processes_that_stand_still_for_half_the_limit_stay(service: LiveService) -> None:
    before, pids = starts(service), service.process.pids()
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    until_s = monotonic() + HUNG_S / 2
    wait_until(lambda: monotonic() >= until_s, "half of the limit")
    for pid in pids.values():
        os.kill(pid, signal.SIGCONT)
    assert starts(service) == before
    assert service.process.pids() == pids


@pytest.mark.parametrize("name", ["manager", "worker-1"])
def test_p6_p7_a_process_that_hangs_is_replaced_alone(service: LiveService, name: str) -> None:
    """P6 worker, P7 manager: stopped for good, so that only a successor can answer again."""
    before, pids = starts(service), service.process.pids()
    os.kill(pids[name], signal.SIGSTOP)
    wait_until(lambda: service.process.pids().get(name, pids[name]) != pids[name], "a successor")
    assert not is_running(pids[name])
    wait_until(lambda: is_ready_again(service, name), "it is ready")
    after = starts(service)
    assert after.pop(name) == before.pop(name) + 1
    assert after == before, "the others were left alone"


def test_p6_a_worker_that_hangs_before_it_is_ready_is_replaced(service: LiveService) -> None:
    """It reads a file, and what it reads from never answers; its successor finds it mended."""
    epoch = next(service.here.state_dir.glob("*-1.epoch"))
    kept = epoch.rename(epoch.with_suffix(".kept"))
    os.mkfifo(epoch)
    try:
        [killed] = service.kill("worker-1").values()
        hung = service.process.wait_for(
            r"worker-1 \(pid (\d+)\) is not ready, and has done nothing for"
        )
        successor = int(hung[1])
        assert successor != killed
        wait_until(lambda: not is_running(successor), "it is killed", patience_s=20 * HUNG_S)
    finally:
        kept.replace(epoch)
    # One that was started meanwhile reads what never answers, too, until its time is over.
    wait_until(lambda: is_ready_again(service, "worker-1"), "one is ready", patience_s=40 * HUNG_S)


def test_a_supervisor_that_was_stopped_with_its_children_kills_none(service: LiveService) -> None:
    before, pids = starts(service), service.process.pids()
    everybody = [service.process.process.pid, *pids.values()]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    until_s = monotonic() + 1.5 * HUNG_S
    wait_until(lambda: monotonic() >= until_s, "longer than the limit")
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    assert starts(service) == before
    assert service.process.pids() == pids


@pytest.mark.parametrize("name", ["manager", "worker-0"])
def test_p7_a_frozen_process_survives_sigkill_and_its_successor_waits_for_the_lock(
    service: LiveService, name: str
) -> None:
    pid = service.process.pids()[name]
    with control_group("freezer") as freezer:
        freezer.add(pid)
        freezer.write("freezer.state", "FROZEN")
        service.process.wait_for(rf"{name} \(pid {pid}\) does not end by SIGKILL")
        service.process.wait_for(rf"{name.replace('-', ' ')}: waits.*held by pid {pid}")
        assert is_running(pid)
        assert not is_ready_again(service, name), "a successor without the lock serves nobody"
        freezer.write("freezer.state", "THAWED")
        service.process.wait_for(rf"{name} \(pid {pid}\), which was frozen, is gone")
    wait_until(lambda: is_ready_again(service, name), "the successor")
    assert not is_running(pid)

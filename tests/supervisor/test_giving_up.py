"""Processes that cannot be started, or die at once: tried again, given up, never half-started."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from live.control_groups import control_group
from live.service import LiveService, started
from supervised_service import Place, is_running, place, wait_until

from pointsman_sched.supervisor.children import Child, ChildPlan
from pointsman_wire.admin_messages import Status, StatusQuery

pytestmark = pytest.mark.crash


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as made:
        yield made


def states(service: LiveService) -> dict[str, str]:
    status = asyncio.run(service.ask("supervisor", StatusQuery()))
    assert isinstance(status, Status)
    return {child["name"]: child["state"] for child in status.children}


def test_p9_a_worker_that_dies_again_and_again_is_given_up_and_the_others_go_on(
    here: Place,
) -> None:
    """It was ready once; now its epoch is damaged, and nobody may guess it."""
    with started(here) as service:
        pids = service.process.pids()
        epoch = next(here.state_dir.glob("*-1.epoch"))
        epoch.write_text("seven\n")
        service.kill("worker-1")
        said = service.process.wait_for("GIVES UP worker-1")[0]
        assert said
        assert service.process.text().count("worker-1 ended with status 1") == 5
        assert states(service) == {"manager": "ready", "worker-0": "ready", "worker-1": "failed"}
        left = service.process.pids()
        assert left == {name: pids[name] for name in ("manager", "worker-0")}
        answer = asyncio.run(service.ask("worker-0", StatusQuery()))
        assert isinstance(answer, Status)
        service.stop()


def test_p11_a_service_without_room_for_its_processes_ends_with_words_and_leaves_none(
    here: Place,
) -> None:
    """A pids group with room for the supervisor and one child of three."""
    with control_group("pids") as group:
        group.write("pids.max", "2")
        ended = subprocess.run(
            group.command(here.command("--workers", "2")),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1, ended.stderr
        assert "cannot start: " in ended.stderr
        assert "Resource temporarily unavailable" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not group.read("cgroup.procs")
    assert here.segments() == here.sockets() == []


def test_p11_a_dead_worker_comes_back_when_there_is_room_again(here: Place) -> None:
    """However long there is none: that is no fault of the worker's."""
    with control_group("pids") as group, started(here) as service:
        for pid in (service.process.process.pid, *service.process.pids().values()):
            group.add(pid)
        killed = service.process.pids()["worker-0"]
        its_threads = len(os.listdir(f"/proc/{killed}/task"))
        group.write("pids.max", str(int(group.read("pids.current")) - its_threads))
        os.kill(killed, signal.SIGKILL)
        for _ in range(6):
            service.process.wait_for("worker-0 cannot be started: .*; tries again")
        assert states(service) == {"manager": "ready", "worker-0": "waiting", "worker-1": "ready"}
        group.write("pids.max", "max")
        wait_until(lambda: states(service)["worker-0"] == "ready", "the worker is back")
        service.stop()


async def test_p11_a_process_that_cannot_be_watched_for_want_of_room_does_not_run_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would hold the lock for which its successor waits, and nobody would end it."""
    pids: list[int] = []
    pidfd_open = os.pidfd_open

    def no_room_at_first(pid: int) -> int:
        pids.append(pid)
        if len(pids) == 1:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return pidfd_open(pid)

    monkeypatch.setattr(os, "pidfd_open", no_room_at_first)
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    plan = ChildPlan("worker-0", command, ())
    child = Child(plan, changed=lambda _: None, say=lambda _: None)
    with pytest.raises(OSError, match="memory"):
        child.start()
    assert (child.is_alive, is_running(pids[0])) == (False, False)
    child.start()
    assert child.pid == pids[1]
    child.signal(signal.SIGKILL)
    async with asyncio.timeout(30.0):
        while child.is_alive:  # noqa: ASYNC110 - nothing tells of it here
            await asyncio.sleep(0.01)

"""The course of a rolling restart: what is looked at, what is refused, where it stops."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from pointsman.cli.endings import Trouble
from pointsman.cli.fleet.asking import Heard, Service
from pointsman.cli.rolling import command
from pointsman.cli.rolling.command import Course
from pointsman.cli.rolling.hosts import unit_of
from pointsman.cli.rolling.looking import Look, faults_of, missing_lanes, processes_of
from pointsman_wire.admin_messages import Status

SERVICE = Service("here", Path("/nowhere"), ["manager", "worker-0", "worker-1"])


def status(process: str, pid: int = 1, **gauges: float) -> Status:
    return Status(
        process=process, pid=pid, uptime_s=1.0, version="1", worker_count=2, gauges=gauges
    )


def look(*faults: str, pids: int = 1, lanes: float = 3) -> Look:
    names = ("worker-0", "worker-1", "manager", "console")
    statuses = {name: status(name, pids, lanes=lanes) for name in names}
    return Look(statuses, [*faults], ready_nodes=3)


def heard(*statuses: Status, silent: str = "") -> list[str]:
    all_heard = [Heard(one.process, one) for one in statuses]
    if silent:
        all_heard.append(Heard(silent, None, "no answer"))
    return faults_of(all_heard, {one.process: one for one in statuses})


def test_workers_come_first_then_the_manager_then_the_console() -> None:
    assert processes_of(look()) == ["worker-0", "worker-1", "manager", "console"]


def test_a_whole_service_has_no_faults() -> None:
    assert heard(status("manager"), status("worker-0"), status("worker-1")) == []


def test_each_fault_is_named() -> None:
    workers = (status("worker-0"), status("worker-1"))
    assert heard(*workers) == ["the manager is not there"]
    assert heard(*workers, silent="manager") == ["manager does not answer"]
    assert heard(status("manager"), workers[0]) == ["worker-1 is not there"]
    ending = status("worker-1", draining=1)
    assert heard(status("manager"), workers[0], ending) == ["worker-1 is ending"]
    stale = msgspec.structs.replace(workers[1], snapshot_age_ms=6_000)
    assert heard(status("manager"), workers[0], stale) == [
        "worker-1 sees a snapshot that is 6.0 s old"
    ]
    children = [{"name": "console", "state": "waiting"}, {"name": "worker-0", "state": "ready"}]
    supervisor = msgspec.structs.replace(status("supervisor"), children=children)
    assert heard(status("manager"), *workers, supervisor) == ["console is waiting"]


def test_a_successor_waits_for_the_lanes_of_nodes_that_are_still_there() -> None:
    before = look(lanes=3)
    assert missing_lanes(before, look(lanes=1), "worker-0") == 2
    assert missing_lanes(before, look(lanes=5), "worker-0") == 0
    left = look(lanes=1)._replace(ready_nodes=1)
    assert missing_lanes(before, left, "worker-0") == 0
    assert missing_lanes(before, look(lanes=0), "console") == 3


@pytest.mark.parametrize(
    ("process", "unit"),
    [
        ("worker-12", "pointsman-worker@12.service"),
        ("manager", "pointsman-manager.service"),
        ("console", "pointsman-console.service"),
    ],
)
def test_processes_have_units(process: str, unit: str) -> None:
    assert unit_of(process) == unit


class FakeHost:
    """A host on which the processes named do not come back."""

    words = "by nobody"
    log_words = "the log"

    def __init__(self, *lost: str, refuses: str = "") -> None:
        self.lost = lost
        self.refuses = refuses
        self.restarted: list[str] = []

    async def restart(self, process: str) -> None:
        if process == self.refuses:
            raise Trouble("it may not")
        self.restarted.append(process)

    async def look_at(self, service: Service) -> Look:
        statuses = {
            name: status(name, 2 if name in self.restarted else 1, lanes=3)
            for name in ("worker-0", "worker-1", "manager")
            if not (name in self.lost and name in self.restarted)
        }
        faults = [f"{name} is not there" for name in self.lost if name in self.restarted]
        return Look(statuses, faults, ready_nodes=3)


def run(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> tuple[Course, list[str]]:
    """Restart all by this host; return how it went, and what was told."""
    told: list[str] = []
    monkeypatch.setattr(command, "look_at", host.look_at)
    monkeypatch.setattr(command, "WHOLE_S", 0.05)
    course = Course(
        service=SERVICE,
        host=host,
        patience_s=0.1,
        tell=told.append,
        todo=["worker-0", "worker-1", "manager"],
    )

    async def go() -> None:
        while course.todo:
            await command._restart_next(course)

    try:
        asyncio.run(go())
    except Trouble as trouble:
        told += [trouble.what, trouble.todo]
    return course, told


def test_each_step_is_told_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    course, told = run(FakeHost(), monkeypatch)
    assert [step.process for step in course.steps] == ["worker-0", "worker-1", "manager"]
    assert all(step.seconds >= 0 and step.new_pid == 2 for step in course.steps)
    assert [line.split(" after ")[0] for line in told[1::2]] == [
        "worker-0: ready again",
        "worker-1: ready again",
        "manager: ready again",
    ]


def test_where_one_does_not_come_back_it_stops_and_says_what_it_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = FakeHost("worker-1")
    _, told = run(host, monkeypatch)
    assert host.restarted == ["worker-0", "worker-1"], "the manager was not touched"
    assert (
        "stopped at worker-1: worker-1 is not back after 0.1 s: worker-1 is not there" in told[-2]
    )
    assert "restarted: worker-0; not touched: manager" in told[-2]
    assert "see the log" in told[-1]


def test_where_a_restart_is_refused_it_stops_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    _, told = run(FakeHost(refuses="worker-0"), monkeypatch)
    assert "stopped at worker-0: worker-0: it may not" in told[-2]
    assert "restarted: none; not touched: worker-1, manager" in told[-2]

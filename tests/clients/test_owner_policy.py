"""Owner policy: probes are asked, their wish reaches the server within a second, jobs go on."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_harness import AgentHarness, of, sent

from pointsman import ForeignCpu, Node, PauseFile, QuietHours
from pointsman.node_core.events import PauseWished, StartJob
from pointsman.options import NodeSettings, register_message
from pointsman.owner.policy import OwnerPolicy
from pointsman.owner.probes import PROBES_MAX, Probe
from pointsman.owner.wall_clock import minute_of_day
from pointsman.resources import CpuTimes, cpu_times
from pointsman_wire.control_messages import Heartbeat

PATIENCE_S = 30.0


def at(text: str) -> Callable[[], int]:
    hours, minutes = map(int, text.split(":"))
    return lambda: 60 * hours + minutes


@pytest.mark.parametrize(
    ("windows", "now", "is_quiet"),
    [
        (("22:00-07:00",), "21:59", False),
        (("22:00-07:00",), "22:00", True),
        (("22:00-07:00",), "03:30", True),
        (("22:00-07:00",), "06:59", True),
        (("22:00-07:00",), "07:00", False),
        (("09:00-17:30",), "12:00", True),
        (("09:00-17:30",), "17:30", False),
        (("09:00-10:00", "20:00-21:00"), "20:15", True),
        (("00:00-24:00",), "00:00", True),
        (("00:00-24:00",), "23:59", True),
        (("20:00-24:00",), "00:00", False),
    ],
)
def test_quiet_hours_hold_from_their_start_until_before_their_end(
    windows: tuple[str, ...], now: str, is_quiet: bool
) -> None:
    assert bool(QuietHours(*windows, now=at(now))()) is is_quiet


def test_quiet_hours_say_which_window_it_is() -> None:
    assert QuietHours("09:00-10:00", "20:00-21:00", now=at("20:01"))() == "quiet hours 20:00-21:00"
    assert 0 <= minute_of_day() < 24 * 60


@pytest.mark.parametrize(
    "window", ["", "22-07", "22:00", "24:00-07:00", "10:60-11:00", "25:00-26:00", "08:00-08:00"]
)
def test_a_window_that_is_none_is_refused_with_words(window: str) -> None:
    with pytest.raises(ValueError, match="quiet hours"):
        QuietHours(window)


def cpu(*samples: tuple[float, float, float]) -> Callable[[], CpuTimes | None]:
    """A machine whose processors have spent (idle, foreign, own) more at each look."""
    idle = whole = own = 0.0
    seen = [CpuTimes(0, 0, 0)]
    for more_idle, more_foreign, more_own in samples:
        idle, own = idle + more_idle, own + more_own
        whole += more_idle + more_foreign + more_own
        seen.append(CpuTimes(idle, whole, own))
    looks = iter(seen)
    return lambda: next(looks)


def test_foreign_cpu_above_the_limit_pauses_and_own_jobs_do_not() -> None:
    foreign = ForeignCpu(70, times=cpu((20, 80, 0), (0, 0, 900)))
    assert [foreign(), foreign(), foreign()] == ["", "others use 80 % of the cpu", ""]
    own = ForeignCpu(70, times=cpu((0, 5, 95), (0, 5, 95)))
    assert [own(), own(), own()] == ["", "", ""]


def test_foreign_cpu_goes_on_only_a_little_below_the_limit() -> None:
    steady = [(25.0, 75.0, 0.0)] * 7
    middling = [(35.0, 65.0, 0.0)] * 7
    calm = [(55.0, 45.0, 0.0)] * 7
    probe = ForeignCpu(70, times=cpu(*steady, *middling, *calm))
    answers = [bool(probe()) for _ in range(22)]
    assert answers[1:15] == [True] * 14
    assert answers[-1] is False


def test_foreign_cpu_that_cannot_be_measured_pauses_nothing() -> None:
    probe = ForeignCpu(70, times=lambda: None)
    assert [probe(), probe()] == ["", ""]
    with pytest.raises(ValueError, match="1 to 99"):
        ForeignCpu(0)


def test_time_of_own_threads_is_counted_as_own() -> None:
    before = cpu_times()
    if before is None:
        pytest.skip("this machine does not tell what its processors do")
    after, until_s = before, time.monotonic() + PATIENCE_S
    while after.own <= before.own:
        assert time.monotonic() < until_s, "own work is not seen"
        sum(range(100_000))
        found = cpu_times()
        assert found is not None
        after = found
    assert after.whole >= before.whole


def test_what_children_use_is_own_while_they_run_and_after_they_ended() -> None:
    before = cpu_times()
    if before is None:
        pytest.skip("this machine does not tell what its processors do")
    command = [sys.executable, "-c", "while True: pass"]
    until_s = time.monotonic() + PATIENCE_S
    with subprocess.Popen(command) as child:
        try:
            while (found := cpu_times()) is None or found.own < before.own + 20:
                assert time.monotonic() < until_s, "a child's work is not seen"
                time.sleep(0.01)
        finally:
            child.kill()
    after = cpu_times()
    assert after is not None
    assert after.own >= found.own


def test_a_file_pauses_while_it_is_there(tmp_path: Path) -> None:
    probe = PauseFile(tmp_path / "game")
    assert probe() == ""
    (tmp_path / "game").touch()
    assert str(tmp_path / "game") in probe()


class Listener:
    """A policy and what it has told."""

    def __init__(self, *probes: Probe) -> None:
        self.told: list[str] = []
        self.policy = OwnerPolicy(probes, self.told.append)


async def test_probes_may_be_plain_or_async_and_name_their_reason() -> None:
    wish: dict[str, object] = {"plain": None, "waits": ""}

    def plain() -> object:
        return wish["plain"]

    async def waits() -> object:
        await asyncio.sleep(0)
        return wish["waits"]

    heard = Listener(plain, waits)  # type: ignore[arg-type]
    await heard.policy.judge()
    assert heard.told == []
    wish["plain"] = True
    await heard.policy.judge()
    wish["waits"] = "a game\nruns"
    await heard.policy.judge()
    wish.update(plain=False, waits=None)
    await heard.policy.judge()
    await heard.policy.judge()
    assert heard.told == ["plain", "plain; a game runs", ""]


async def test_a_probe_that_fails_pauses_nothing_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> str:
        raise OSError("no such sensor")

    async def wrong() -> str:
        return 7  # type: ignore[return-value]

    heard = Listener(broken, wrong, lambda: "quiet")
    with caplog.at_level(logging.WARNING, logger="pointsman.node"):
        await heard.policy.judge()
        await heard.policy.judge()
    assert heard.told == ["quiet"]
    assert len([r for r in caplog.records if "no such sensor" in r.getMessage()]) == 1
    assert len([r for r in caplog.records if "not int" in r.getMessage()]) == 1


async def test_a_probe_that_hangs_holds_up_no_other_and_is_not_asked_again() -> None:
    release = threading.Event()
    calls: list[int] = []

    def hangs() -> str:
        calls.append(1)
        release.wait(PATIENCE_S)
        return "at last"

    heard = Listener(hangs, lambda: "quiet")
    try:
        await heard.policy.judge()
        await heard.policy.judge()
        assert heard.told == ["quiet"]
        assert len(calls) == 1
    finally:
        release.set()
    async with asyncio.timeout(PATIENCE_S):
        while heard.told[-1] != "at last; quiet":
            await heard.policy.judge()
    await heard.policy.end()


def test_a_policy_is_checked_when_the_node_is_made() -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        Node("127.0.0.1:1", services=["nmt"], owner_policy=["quiet"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="at most"):
        Node("127.0.0.1:1", services=["nmt"], owner_policy=[lambda: None] * (PROBES_MAX + 1))


def test_the_registration_names_the_policy() -> None:
    def game_runs() -> bool:
        return False

    probes: list[Probe] = [QuietHours("22:00-07:00"), ForeignCpu(70), game_runs]
    settings = NodeSettings(services=["nmt"], owner_policy=probes)
    register = register_message(settings, version="1", platform="linux")
    assert register.owner_policy == [
        "quiet hours 22:00-07:00",
        "cpu of others above 70 %",
        "game_runs",
    ]


def test_the_core_tells_a_pause_at_once_with_its_reason_and_jobs_go_on() -> None:
    h = AgentHarness()
    h.join()
    assert len(of(h.assign("j1"), StartJob)) == 1
    (beat,) = sent(h.feed(PauseWished(True, "a game runs")), Heartbeat)
    assert (beat.pause, beat.pause_reason, beat.running) == (True, "a game runs", 1)
    assert not sent(h.feed(PauseWished(True, "another game")), Heartbeat)
    assert sent(h.advance(1.1), Heartbeat)[0].pause_reason == "another game"
    (beat,) = sent(h.feed(PauseWished(False)), Heartbeat)
    assert (beat.pause, beat.pause_reason) == (False, "")

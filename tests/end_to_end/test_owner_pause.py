"""A machine's owner wants it back: the node stays, its jobs go on, new ones go elsewhere."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from live.journal import Journal
from live.nodes import live_node
from live.service import PATIENCE_S, LiveService, live_service

from pointsman import JobRefused, connect
from pointsman.owner.wall_clock import minute_of_day

NMT = ["nmt"]


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service(workers=1) as started:
        yield started


async def reason_of(service: LiveService, node_id: str, words: str) -> None:
    """Wait until the manager says this of the node, and the worker knows the node."""
    until_s = monotonic() + PATIENCE_S
    while True:
        line = (await service.nodes()).get(node_id)
        if line is not None and words in line.reason and node_id in await service.nodes("worker-0"):
            return
        assert monotonic() < until_s, f"{node_id} is never {words!r}"
        await asyncio.sleep(0.02)


async def test_a_paused_node_keeps_its_connection_and_its_jobs_and_gets_no_new_ones(
    service: LiveService, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal")
    wish = [""]
    async with live_node(service.address, journal, "pa", owner_policy=[lambda: wish[0]]) as node:
        before = (await service.nodes())["n-pa"]
        async with connect(service.address, src="en", tgt="pa") as session:
            runs = asyncio.create_task(
                session.submit("long", services=NMT, meta={"sleep_s": 3.0}, request_id="runs")
            )
            await journal.has("start")
            wished_at_s = monotonic()
            wish[0] = "a game runs"
            await reason_of(service, "n-pa", "paused by its owner: a game runs")
            assert monotonic() - wished_at_s < 1.5  # a second, and what asking takes here
            assert node.paused_because == "a game runs"
            with pytest.raises(JobRefused) as refused:
                await session.submit("no", services=NMT, wait_busy_s=0, wait_none_s=0)
            breakdown = refused.value.breakdown
            assert breakdown is not None
            assert breakdown.nodes["owner_paused"] == ["n-pa"]
            assert breakdown.counts["owner_paused"] == 1
            assert (await runs).text == "gnol"
            line = (await service.nodes())["n-pa"]
            assert (line.state, line.epoch) == ("ready", before.epoch)
            wish[0] = ""
            assert (await session.submit("again", services=NMT)).text == "niaga"
    assert node.paused_because == ""


async def test_a_node_that_starts_in_quiet_hours_gets_no_job_at_all(
    service: LiveService, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal")
    async with live_node(service.address, journal, "pb", owner_policy=[lambda: True]) as node:
        await reason_of(service, "n-pb", "paused by its owner: <lambda>")
        async with connect(service.address, src="en", tgt="pb") as session:
            with pytest.raises(JobRefused) as refused:
                await session.submit("no", services=NMT, wait_busy_s=0, wait_none_s=0)
        assert refused.value.breakdown is not None
        assert "owner_paused" in refused.value.breakdown.nodes
        assert node.paused_because == "<lambda>"
    assert not journal.entries("start")


async def test_a_pause_by_hand_and_one_of_the_policy_are_both_obeyed(
    service: LiveService, tmp_path: Path
) -> None:
    wish = [""]
    journal = Journal(tmp_path / "journal")
    async with live_node(service.address, journal, "pc", owner_policy=[lambda: wish[0]]) as node:
        node.set_pause(True, "by hand")
        await reason_of(service, "n-pc", "by hand")
        wish[0] = "noisy"
        await reason_of(service, "n-pc", "by hand; noisy")
        node.set_pause(False)
        await reason_of(service, "n-pc", "noisy")
        wish[0] = ""
        async with connect(service.address, src="en", tgt="pc") as session:
            assert (await session.submit("ok", services=NMT)).text == "ko"


async def test_the_command_line_takes_an_owners_policy(
    service: LiveService, tmp_path: Path
) -> None:
    flag = tmp_path / "game"
    command = [sys.executable, "-m", "pointsman", "node", "--server", service.address]
    command += ["--node-id", "cli-pd", "--state-dir", str(tmp_path / "state")]
    command += ["--exec", "cat", "--services", "nmt", "--nmt", "en:pd"]
    # Hours that are not now; and not the cpu, which others may well use while this runs.
    hour = minute_of_day() // 60
    quiet = f"{(hour + 6) % 24:02}:00-{(hour + 7) % 24:02}:00"
    command += ["--pause-file", str(flag), "--quiet-hours", quiet]
    flag.touch()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            await reason_of(service, "cli-pd", f"{flag} is there")
            flag.unlink()
            async with connect(service.address, src="en", tgt="pd") as session:
                assert (await session.submit("as it is", services=NMT)).text == "as it is"
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


@pytest.mark.parametrize("options", [["--quiet-hours", "22-7"], ["--pause-when-cpu", "100"]])
def test_a_policy_that_cannot_be_is_wrong_usage(options: list[str]) -> None:
    command = [sys.executable, "-m", "pointsman", "node", "--exec", "cat", "--services", "nmt"]
    ended = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert "quiet hours" in ended.stderr or "--pause-when-cpu" in ended.stderr

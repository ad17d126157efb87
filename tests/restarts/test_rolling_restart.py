"""`pointsman rolling-restart` of a service by `serve`, while sessions submit."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.commands import pointsman
from live.service import LiveService, started, until
from supervised_service import place

from pointsman import Node, PointsmanError, connect
from pointsman_sim.checker.judging import judge
from pointsman_sim.checker.recording import load
from pointsman_sim.checker.verdicts import Limits

pytestmark = pytest.mark.crash
SESSIONS = 4
PROCESSES = ("worker-0", "worker-1", "manager", "console")


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with place() as here:
        here.has_console = True
        with started(here) as running:
            yield running
            running.stop()


async def order(service: LiveService, *options: str) -> tuple[int, str]:
    """Run the command to its end; return its status and what it said."""
    at = ("--instance", service.here.instance, "--runtime-dir", str(service.here.runtime_dir))
    process = await asyncio.create_subprocess_exec(
        *pointsman("rolling-restart", *at, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


class Load:
    """Sessions that submit one job after the other, each written down; failures are kept."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.folder = folder
        self.failures: list[str] = []
        self.done = 0
        self.is_over = False

    async def ask(self, number: int) -> None:
        history = self.folder / f"client-{number}.jsonl"
        async with connect(self.address, src="en", tgt="es", history=history) as session:
            while not self.is_over:
                try:
                    meta = {"sleep_s": 0.02 * (number % 3)}
                    result = await session.submit(b"abc", services=["nmt"], meta=meta)
                    assert result.payload == b"cba"
                    self.done += 1
                except PointsmanError as error:
                    self.failures.append(repr(error))

    async def serve(self) -> None:
        node = Node(
            self.address,
            node_id="desk",
            services=["nmt"],
            nmt=[("en", "es")],
            max_concurrency=8,
            report_load=False,
            history=self.folder / "node.jsonl",
        )

        @node.handler
        async def turn_round(job: object) -> bytes:
            await asyncio.sleep(getattr(job, "meta", {}).get("sleep_s", 0.0))
            return b"cba"

        await node.run()


async def test_every_process_is_restarted_and_no_submit_fails_and_nothing_runs_twice(
    service: LiveService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """I1, I2, I3, I4, P13: under load; what clients and the node wrote down is judged."""
    before = service.process.pids()
    load_of = Load(service.address, tmp_path)
    serving = asyncio.create_task(load_of.serve())
    asking = [asyncio.create_task(load_of.ask(number)) for number in range(SESSIONS)]
    await until(lambda: load_of.done > 0, "a result")
    status, said = await order(service)
    enough = load_of.done + SESSIONS
    await until(lambda: load_of.done >= enough, "more results")
    load_of.is_over = True
    await asyncio.gather(*asking)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert status == 0, said
    assert load_of.failures == []
    for shard in range(2):  # its node was told before each of them went
        assert f"worker {shard} is stopping; its lane is dialled again" in caplog.text
    after = service.process.pids()
    assert {name for name in PROCESSES if after[name] != before[name]} == set(PROCESSES)
    assert [line.split(":")[0] for line in said.splitlines() if "ready again" in line] == [
        *PROCESSES
    ]
    judgement = judge(load([*tmp_path.glob("*.jsonl")]), Limits())
    assert judgement.is_kept, judgement
    assert judgement.starts == judgement.accepted == load_of.done


async def test_a_service_that_is_not_whole_is_left_as_it_is(service: LiveService) -> None:
    """P13: what is missing would be missed the more."""
    before = service.process.pids()
    os.kill(before["console"], signal.SIGSTOP)
    try:
        status, said = await order(service)
    finally:
        os.kill(before["console"], signal.SIGCONT)
    assert status == 1
    assert "nothing was restarted, the service is not whole: console does not answer" in said
    assert service.process.pids() == before

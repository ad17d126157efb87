"""Sessions with an order against a service of real processes, as users write them."""

import asyncio
import json
import subprocess
import sys

from pointsman import Job, Node, connect
from pointsman.testing import running_service

PAUSES_MS = (90, 10, 50, 0, 30)


class Watcher:
    """A node that takes the time that its job's payload names."""

    def __init__(self, address: str) -> None:
        self.began: list[str] = []
        self.running = self.running_max = 0
        self.node = Node(address, services=["nmt"], nmt=[("en", "es")], max_concurrency=8)
        self.node.handler(self.work)

    async def work(self, job: Job) -> bytes:
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        self.began.append(job.request_id)
        await asyncio.sleep(int(job.payload) / 1_000)
        self.running -= 1
        return job.payload


async def ask(address: str, order: str) -> tuple[Watcher, list[int]]:
    """Submit five jobs at once; return who worked, and in which order the results came."""
    watcher, came = Watcher(address), list[int]()
    serving = asyncio.create_task(watcher.node.run())
    async with connect(address, src="en", tgt="es", order=order) as session:  # type: ignore[arg-type]
        assert session.order == order

        async def one(index: int, pause_ms: int) -> None:
            payload = str(pause_ms)
            result = await session.submit(payload, services=["nmt"], utterance_index=index)
            assert result.utterance_index == index
            came.append(index)

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for index, pause_ms in enumerate(PAUSES_MS):
                group.create_task(one(index, pause_ms))
        assert session.missing == []
    await watcher.node.drain()
    await serving
    return watcher, came


def test_orders_hold_from_end_to_end() -> None:
    with running_service(workers=1) as service:
        watcher, came = asyncio.run(ask(service.address, "utterance"))
        assert came == [0, 1, 2, 3, 4]
        assert watcher.running_max > 1
        watcher, came = asyncio.run(ask(service.address, "serial"))
        assert came == [0, 1, 2, 3, 4]
        assert (watcher.running_max, len(watcher.began)) == (1, 5)
        command = [sys.executable, "-m", "pointsman", "submit", "--order", "serial", "--json"]
        command += ["--text", "x", "--src", "en", "--tgt", "es", "--wait", "0"]
        ended = subprocess.run(
            [*command, "--server", service.address],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert json.loads(ended.stdout)["error"]["code"] == "NO_AVAILABLE_NODE", ended.stderr

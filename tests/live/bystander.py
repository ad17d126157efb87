"""Somebody who works on while others misbehave: nobody may disturb him.

A node and a session of each worker that submit one job after the other, all the time; a job that
fails, or does not come back, fails the test.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

from live.journal import Journal
from live.nodes import live_node
from live.service import LiveService, until
from live.sessions import session_ids

from pointsman import Session, connect

JOB_S = 15.0
PAUSE_S = 0.005


class Bystander:
    """`done` counts the jobs of each worker that came back right."""

    def __init__(self) -> None:
        self.done = [0, 0]
        self.tasks: list[asyncio.Task[None]] = []

    async def work(self, shard: int, session: Session) -> None:
        """Submit one job after the other, for ever."""
        while True:
            body = f"{shard}/{self.done[shard]}"
            async with asyncio.timeout(JOB_S):
                result = await session.submit(body, services=["nmt"])
            # Not which attempt: node and client live in the process that misbehaves, and a busy
            # machine may hold them up for longer than the node has to answer.
            assert result.text == body[::-1], result
            self.done[shard] += 1
            await asyncio.sleep(PAUSE_S)

    def has_done_more(self, then: list[int]) -> bool:
        """Have jobs of every worker come back since?  Raises what went wrong."""
        for task in self.tasks:
            if task.done():
                task.result()
        return all(now > before for now, before in zip(self.done, then, strict=True))

    async def goes_on(self, then: list[int] | None = None) -> None:
        """Wait until jobs of every worker have come back."""
        before = list(self.done) if then is None else then
        await until(lambda: self.has_done_more(before), "the bystander's jobs go on")


@asynccontextmanager
async def bystander(service: LiveService, path: Path) -> AsyncIterator[Bystander]:
    """Works before, during and after what is done in the block."""
    tgt = f"by{uuid4().hex[:8]}"
    someone = Bystander()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(live_node(service.address, Journal(path / tgt), tgt))
        for shard in (0, 1):
            name = session_ids(shard, 1, prefix=tgt)[0]
            session = await stack.enter_async_context(
                connect(service.address, session_id=name, src="en", tgt=tgt)
            )
            someone.tasks.append(asyncio.create_task(someone.work(shard, session)))
        try:
            await someone.goes_on()
            yield someone
            await someone.goes_on()
        finally:
            for task in someone.tasks:
                task.cancel()
            await asyncio.gather(*someone.tasks, return_exceptions=True)

"""Work that several wait for: it outlives who gives up, and has a limit of its own."""

import asyncio

import pytest

from pointsman_wire.coordination.connection import NotReached
from pointsman_wire.coordination.reach import joint
from pointsman_wire.coordination.reach.joint import Joint


class Work:
    """Counts how often it is begun, and ends when it may."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()

    async def done(self) -> None:
        self.begun += 1
        await self.may_end.wait()


async def test_r6_who_gives_up_waiting_ends_nothing_for_those_who_come_later() -> None:
    """R6: else a server whose connecting takes longer than a call is never reached again."""
    work = Work()
    reaching = Joint(work.done, "it", 0.01)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reaching.done(), 0.01)
    waiting = asyncio.create_task(reaching.done())
    await asyncio.sleep(0)
    work.may_end.set()
    await waiting
    assert work.begun == 1
    await reaching.done()
    assert work.begun == 2, "it is done anew once it is over"


@pytest.mark.parametrize(("wait_s", "limit_s"), [(0.001, 0.02), (0.04, 0.04)])
async def test_r6_work_that_does_not_end_is_given_up_and_may_begin_anew(
    wait_s: float, limit_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R6: never sooner than somebody would wait for it."""
    monkeypatch.setattr(joint, "LIMIT_S", 0.02)
    work = Work()
    reaching = Joint(work.done, "it", wait_s)
    async with asyncio.timeout(20):
        with pytest.raises(NotReached, match=f"it did not answer within {limit_s:g} s"):
            await reaching.done()
    work.may_end.set()
    await reaching.done()
    assert work.begun == 2


async def test_who_waits_for_work_that_is_ended_is_told() -> None:
    reaching = Joint(Work().done, "it", 1.0)
    waiting = asyncio.create_task(reaching.done())
    await asyncio.sleep(0)
    await reaching.close()
    with pytest.raises(NotReached, match="given up"):
        await waiting

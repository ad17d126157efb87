"""The coordinator: pipelines under way are bounded, and every request is answered."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import pytest

from pointsman_shm.config_redis import RedisConfig
from pointsman_shm.memory.stats import StatsPage
from pointsman_wire.coordination.requests import (
    Answer,
    Ended,
    Owner,
    Release,
    Request,
    RequestKey,
)
from pointsman_workers.core.events import Coordinate, Coordinated
from pointsman_workers.shell.sharing import coordinator
from pointsman_workers.shell.sharing.coordinator import PIPELINES_MAX, Coordinator
from pointsman_workers.shell.sharing.wiring import SharedShell

OWNER = Owner("a", "uid", 0)
Told = Callable[[list[Answer] | Awaitable[list[Answer]]], None]


def release(number: int) -> Release:
    """Any request."""
    return Release(number, key=RequestKey("", "s", f"r-{number}"), owner=OWNER, fence=1)


class SlowBacking:
    """Answers when it is allowed to."""

    def __init__(self) -> None:
        self.pipelines: list[int] = []
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None
        self.is_closed = False

    def begin(self, requests: Sequence[Request], done: Told) -> bool:
        """It can only be awaited."""
        return False

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """Wait, then say that all is done."""
        self.pipelines.append(len(requests))
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return [Ended(number=request.number, outcome="done") for request in requests]

    async def close(self) -> None:
        """Hang up."""
        self.is_closed = True


class BegunBacking(SlowBacking):
    """Asks without a task, as nearly always; answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: deque[tuple[list[int], Told]] = deque(maxlen=10_000)

    def begin(self, requests: Sequence[Request], done: Told) -> bool:
        """It is under way."""
        self.begun.append(([request.number for request in requests], done))
        return True

    def answer(self) -> list[int]:
        """Answer the oldest pipeline; what it asked."""
        numbers, done = self.begun.popleft()
        done([Ended(number=number, outcome="done") for number in numbers])
        return numbers


class Bench:
    """A coordinator on a slow backing."""

    def __init__(self, wait_s: float = 60.0, backing: SlowBacking | None = None) -> None:
        self.backing = backing or SlowBacking()
        self.told: list[Coordinated] = []
        self.broken: list[BaseException] = []
        self.came = asyncio.Event()
        self.stats = StatsPage(bytearray(StatsPage.size()), create=True)
        self.coordinator = Coordinator(
            self.backing, self.post, self.stats, self.broke, wait_s=wait_s
        )

    def post(self, event: Coordinated) -> None:
        """The core is told."""
        self.told.append(event)
        self.came.set()

    def broke(self, error: BaseException) -> None:
        """There is a bug."""
        self.broken.append(error)
        self.came.set()

    async def answers(self, count: int) -> list[Answer]:
        """The first so many answers."""
        async with asyncio.timeout(10):
            while sum(len(event.answers) for event in self.told) < count:
                self.came.clear()
                await self.came.wait()
        return [answer for event in self.told for answer in event.answers]


async def test_what_one_step_asks_is_one_pipeline_and_is_answered_together() -> None:
    bench = Bench()
    bench.backing.may_answer.set()
    bench.coordinator.ask(Coordinate([release(1), release(2)]))
    assert [answer.number for answer in await bench.answers(2)] == [1, 2]
    assert bench.backing.pipelines == [2]
    counters = bench.stats.read().counters
    assert counters["redis_requests"] == 2
    assert counters["redis_pipelines"] == 1
    await bench.coordinator.close()
    assert bench.backing.is_closed


async def test_while_many_pipelines_are_under_way_requests_join_the_next_one() -> None:
    bench = Bench()
    for number in range(PIPELINES_MAX + 50):
        bench.coordinator.ask(Coordinate([release(number)]))
    await asyncio.sleep(0)
    assert len(bench.backing.pipelines) == PIPELINES_MAX
    assert bench.coordinator.waiting_count == 50
    bench.backing.may_answer.set()
    answers = await bench.answers(PIPELINES_MAX + 50)
    assert len(bench.backing.pipelines) == PIPELINES_MAX + 1
    assert {answer.number for answer in answers} == set(range(PIPELINES_MAX + 50))
    await bench.coordinator.close()


async def test_pipelines_without_a_task_are_as_many_at_most_and_those_that_wait_go_in_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R6, I9: in the order in which they came; and when all are answered, the next one goes."""
    monkeypatch.setattr(coordinator, "REQUESTS_A_PIPELINE_MAX", 4)
    backing = BegunBacking()
    bench = Bench(backing=backing)
    for number in range(PIPELINES_MAX + 10):
        bench.coordinator.ask(Coordinate([release(number)]))
    assert len(backing.begun) == PIPELINES_MAX
    assert bench.coordinator.waiting_count == 10
    asked = [backing.answer() for _ in range(PIPELINES_MAX + 3)]
    first = PIPELINES_MAX
    assert [number for numbers in asked for number in numbers] == [*range(first + 10)]
    assert [len(numbers) for numbers in asked[first:]] == [4, 4, 2]
    assert (len(backing.begun), bench.coordinator.waiting_count) == (0, 0)
    for number in range(PIPELINES_MAX):
        bench.coordinator.ask(Coordinate([release(number)]))
    assert len(backing.begun) == PIPELINES_MAX
    assert len(await bench.answers(first + 10)) == first + 10
    await bench.coordinator.close()


async def test_r6_what_has_no_room_to_wait_is_answered_at_once_and_nobody_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R6, I9: what is asked together is refused together."""
    monkeypatch.setattr(coordinator, "WAITING_MAX", 5)
    backing = BegunBacking()
    bench = Bench(backing=backing)
    for number in range(PIPELINES_MAX):
        bench.coordinator.ask(Coordinate([release(number)]))
    for number in (1_000, 2_000, 3_000):
        bench.coordinator.ask(Coordinate([release(number), release(number + 1)]))
    refused = await bench.answers(2)
    assert [(answer.number, answer.outcome) for answer in refused] == [
        (3_000, "down"),
        (3_001, "down"),
    ]
    assert bench.coordinator.waiting_count == 4
    while backing.begun:
        backing.answer()
    answers = await bench.answers(PIPELINES_MAX + 6)
    done = {answer.number for answer in answers if answer.outcome == "done"}
    assert done == {*range(PIPELINES_MAX), 1_000, 1_001, 2_000, 2_001}
    await bench.coordinator.close()


async def test_what_waited_for_too_long_is_answered_without_asking() -> None:
    """R6: nobody waits for a slow Redis for longer than the time limit, twice over."""
    bench = Bench(wait_s=0.0)
    for number in range(PIPELINES_MAX + 1):
        bench.coordinator.ask(Coordinate([release(number)]))
    await asyncio.sleep(0)
    bench.backing.may_answer.set()
    answers = await bench.answers(PIPELINES_MAX + 1)
    last = next(answer for answer in answers if answer.number == PIPELINES_MAX)
    assert isinstance(last, Ended)
    assert last.outcome == "down"
    assert "too slow" in last.error
    assert bench.stats.read().counters["redis_failures"] == 1
    await bench.coordinator.close()


async def test_a_bug_in_the_backing_is_told() -> None:
    bench = Bench()
    bench.backing.error = RuntimeError("a bug")
    bench.backing.may_answer.set()
    bench.coordinator.ask(Coordinate([release(1)]))
    async with asyncio.timeout(10):
        await bench.came.wait()
    assert str(bench.broken[0]) == "a bug"
    await bench.coordinator.close()


@pytest.mark.parametrize("policy", ["fail_closed", "local"])
def test_the_policy_and_the_lease_of_the_configuration_reach_the_core(policy: str) -> None:
    redis = RedisConfig(
        url="redis://127.0.0.1:1",
        policy=policy,  # type: ignore[arg-type]
        binding_lease_s=9.0,
    )
    settings = SharedShell(redis, {}).core_settings()
    assert settings is not None
    assert (settings.lease_s, settings.is_local) == (9.0, policy == "local")
    assert SharedShell(RedisConfig(), {}).core_settings() is None

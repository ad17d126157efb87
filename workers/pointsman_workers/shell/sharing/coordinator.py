"""Carries what the core asks of Redis to it, and the answers back, beside the loop's other work.

One command is one pipeline, and costs no task as long as Redis is well.  While many are under way,
what comes joins the next one; so a slow Redis gets fewer, larger pipelines, and nothing grows
without bound.  Every request is answered: by Redis within the time limit, else here.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic_ns

from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Counter, Gauge, Timing
from pointsman_wire.coordination.requests import Answer, Request, failed
from pointsman_workers.core.events import Coordinate, Coordinated
from pointsman_workers.shell.sharing.backing import Backing

PIPELINES_MAX = 256
REQUESTS_A_PIPELINE_MAX = 1_000
WAITING_MAX = 100_000  # requests
_FAILED = ("down", "unknown")


class Coordinator:
    """Runs Coordinate commands; `broken` is told of a bug of ours: nothing may go on after it."""

    def __init__(
        self,
        backing: Backing,
        post: Callable[[Coordinated], None],
        stats: StatsPage,
        broken: Callable[[BaseException], None],
        *,
        wait_s: float = 0.25,
    ) -> None:
        self._backing = backing
        self._post = post
        self._stats = stats
        self._broken = broken
        self._wait_ns = int(wait_s * 1e9)
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()
        self._begun_count = 0  # pipelines without a task
        self._is_closed = False
        # What waits for a pipeline to end, and since when.
        self._waiting: deque[tuple[int, Request]] = deque(maxlen=WAITING_MAX)

    async def close(self) -> None:
        """Give up what is under way, and hang up."""
        self._is_closed = True
        running = [*self._running]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._backing.close()

    @property
    def waiting_count(self) -> int:
        """Requests that wait for their turn."""
        return len(self._waiting)

    def ask(self, command: Coordinate) -> None:
        """Send the requests now, or with those that wait."""
        requests = command.requests
        if not self._waiting and self._begun_count + len(self._running) < PIPELINES_MAX:
            self._start(requests)
        elif len(self._waiting) + len(requests) > WAITING_MAX:
            self._refuse(requests, f"{WAITING_MAX} requests wait for Redis")
        else:
            now_ns = monotonic_ns()
            self._waiting.extend((now_ns, request) for request in requests)

    def _start(self, requests: list[Request]) -> None:
        began_ns = monotonic_ns()
        self._begun_count += 1
        if not self._backing.begin(requests, partial(self._came, began_ns)):
            self._begun_count -= 1
            self._await(self._backing.execute(requests), began_ns)

    def _came(self, began_ns: int, answers: list[Answer] | Awaitable[list[Answer]]) -> None:
        self._begun_count -= 1
        if not isinstance(answers, list):
            self._await(answers, began_ns)
        elif not self._is_closed:
            self._answered(answers, began_ns)
            self._go_on()

    def _await(self, answers: Awaitable[list[Answer]], began_ns: int) -> None:
        task = self._loop.create_task(self._run(answers, began_ns))
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def _run(self, answers: Awaitable[list[Answer]], began_ns: int) -> None:
        self._answered(await answers, began_ns)

    def _answered(self, answers: list[Answer], began_ns: int) -> None:
        stats = self._stats
        stats.observe(Timing.REDIS, monotonic_ns() - began_ns)
        stats.add(Counter.REDIS_PIPELINES)
        stats.add(Counter.REDIS_REQUESTS, len(answers))
        self._give(answers)

    def _give(self, answers: list[Answer]) -> None:
        failures = [a for a in answers if a.outcome in _FAILED]
        if answers:
            self._stats.gauge(Gauge.REDIS_DOWN, len(failures) == len(answers))
        if failures:
            self._stats.add(Counter.REDIS_FAILURES, len(failures))
        self._post(Coordinated(answers))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._broken(error)
            return
        self._go_on()

    def _go_on(self) -> None:
        """Send what waits; what has waited for as long as an answer may take is answered here."""
        oldest_ns = monotonic_ns() - self._wait_ns
        late: list[Request] = []
        while self._waiting and self._waiting[0][0] < oldest_ns:
            late.append(self._waiting.popleft()[1])
        if late:
            self._refuse(late, "Redis is too slow: too many requests are under way")
        count = min(len(self._waiting), REQUESTS_A_PIPELINE_MAX)
        if count:
            self._start([self._waiting.popleft()[1] for _ in range(count)])

    def _refuse(self, requests: list[Request], why: str) -> None:
        self._give([failed(request, "down", why) for request in requests])

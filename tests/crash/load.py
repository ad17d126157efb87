"""Work for a service that is being harmed, and the question afterwards whether it did it all.

Every submit must come back right, whatever dies meanwhile; what nodes really ran is in their
journal.  At level `journal` one request never starts under two job ids (I2), at level `memory`
only never twice at once; a node never runs more than it has slots for (I4).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from live.journal import Journal
from live.service import CONFIG, LiveService
from live.sessions import session_ids

from pointsman import JobResult, Session, connect
from pointsman.node_core import control, lane
from pointsman.session_core import links

# Acknowledgements and reports are waited for briefly: the harm is to be over soon.
QUICK = CONFIG.replace("[jobs]", "[jobs]\nack_s = 0.5\ntimeout_s = 10.0")
SLOTS = 4
JOB_S = 60.0


class Outcome(msgspec.Struct):
    """What became of one run: how often something died, how many jobs were done, what was bad."""

    deaths: int = 0
    jobs: int = 0
    bad: list[str] = []


class Load:
    """Sessions of every worker that submit jobs, and what they were told."""

    def __init__(self, sessions: list[Session], journal: Journal, node_ids: list[str]) -> None:
        self.sessions = sessions
        self.journal = journal
        self.node_ids = node_ids
        self.results: dict[str, JobResult] = {}
        self._numbers = 0
        self._run = uuid4().hex[:6]  # two loads on one service are different requests

    async def work(self, count: int, *, at_once: int = 2, sleep_s: float = 0.02) -> None:
        """Submit so many jobs in each session, and wait for every one."""
        workers = [
            self._work(session, count, sleep_s) for session in self.sessions for _ in range(at_once)
        ]
        await asyncio.gather(*workers)

    async def _work(self, session: Session, count: int, sleep_s: float) -> None:
        for _ in range(count):
            self._numbers += 1
            request_id = f"{session.session_id}/{self._run}/{self._numbers}"
            async with asyncio.timeout(JOB_S):
                result = await session.submit(
                    request_id,
                    request_id=request_id,
                    meta={"sleep_s": sleep_s},
                    services=["nmt"],
                    wait_busy_s=30.0,
                    wait_none_s=30.0,
                )
            assert result.text == request_id[::-1], result
            self.results[request_id] = result

    async def work_until(self, stop: asyncio.Event, *, sleep_s: float = 0.02) -> None:
        """Submit one job after the other in each session until it is enough."""

        async def go_on(session: Session) -> None:
            while not stop.is_set():
                await self._work(session, 1, sleep_s)

        await asyncio.gather(*(go_on(session) for session in self.sessions for _ in range(2)))

    def check(self) -> None:
        """Hold what nodes ran against what clients were told.  Raises AssertionError."""
        starts = self.journal.starts()
        lost = [request_id for request_id in self.results if request_id not in starts]
        assert not lost, f"a result without a start: {lost}"
        if {result.durability for result in self.results.values()} == {"memory"}:
            self.journal.check_never_twice_at_once()
        else:
            self.journal.check_one_job_each()
            for request_id, result in self.results.items():
                assert result.job_id == starts[request_id][0].job_id, (request_id, result)
        for node_id in self.node_ids:
            assert self.journal.most_at_once(node_id) <= SLOTS, node_id


@asynccontextmanager
async def load(
    service: LiveService,
    journal: Journal,
    tgt: str,
    node_ids: tuple[str, ...],
    history: Path | None = None,
) -> AsyncIterator[Load]:
    """A session of each worker; they are closed at the end, if the service still stands."""
    worker_count = service.worker_count
    run = uuid4().hex[:6]
    ids = [
        session_ids(shard, 1, prefix=f"{tgt}{run}", worker_count=worker_count)[0]
        for shard in range(worker_count)
    ]
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(
                connect(
                    service.address,
                    session_id=name,
                    src="en",
                    tgt=tgt,
                    close_timeout_s=5,
                    history=history,
                )
            )
            for name in ids
        ]
        yield Load(sessions, journal, list(node_ids))


@contextmanager
def impatient() -> Iterator[None]:
    """Nodes and clients of this process dial again soon, however long the server was away."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (control, lane, links):
            patch.setattr(module, "BACKOFF_CAP_S", 0.5)
        yield

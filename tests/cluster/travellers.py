"""Clients that move: the same session, at whichever instance there is, until every job has come.

A traveller submits each job under an id of its own, and asks again under the same id wherever it
is next: after a refusal, and after its instance has died.  What it gets it compares with what
it sent.  What it asked for where it was before it does not take back: a client that loses its way
cancels nothing.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import msgspec

from pointsman import JobRefused, JobResult, PointsmanError, Session, connect
from pointsman.options import SubmitOptions
from pointsman_wire.errors import Code
from pointsman_wire.session_messages import Durability

AGAIN_S = 0.1
OPEN_S = 3.0
WAIT_S = 30.0


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """Where a traveller may go, and how its jobs are."""

    addresses: tuple[str, ...]
    history: Path
    job_s: float = 0.1
    durability: Durability = "journal"


class Traveller:
    """One session, which asks for one job after the other, several at a time."""

    def __init__(self, session_id: str, trip: Trip, at: int = 0) -> None:
        self.session_id = session_id
        self.trip = trip
        self.results: dict[str, JobResult] = {}
        self.open_ids: set[str] = set()
        self.refused: dict[str, int] = {}  # by code
        self.longest_s = 0.0
        self.moves_count = 0
        self._at = at
        self._dice = Random(session_id)
        self._has_moved = asyncio.Event()
        self._door = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._session: Session | None = None
        self._left: set[asyncio.Task[JobResult]] = set()  # asked for where it is no longer

    @property
    def address(self) -> str:
        """Where it is, or is about to be."""
        return self.trip.addresses[self._at % len(self.trip.addresses)]

    def leave(self, address: str) -> bool:
        """Go to the next instance, if it is at this one; nobody there is told."""
        if self.address != address:
            return False
        self._at += 1
        self.moves_count += 1
        self._session = None
        self._has_moved.set()
        self._has_moved = asyncio.Event()
        return True

    async def ask(self, request_id: str, **options: object) -> JobResult:
        """Submit one job, again and again under its id, until there is a result."""
        payload = f"{self.session_id} {request_id}".encode()
        self.open_ids.add(request_id)
        began_s = monotonic()
        while True:
            try:
                result = await self._ask_once(request_id, payload, options)
            except PointsmanError as error:
                self.refused[error.code] = self.refused.get(error.code, 0) + 1
                await asyncio.sleep(AGAIN_S * (0.5 + self._dice.random()))
                continue
            if result is not None:
                assert result.payload == payload[::-1], (request_id, result.payload)
                self.longest_s = max(self.longest_s, monotonic() - began_s)
                self.open_ids.discard(request_id)
                self.results[request_id] = result
                return result

    async def code_of_other(self, request_id: str) -> str:
        """Submit another body under an id that was used; return with which code it is refused."""
        try:
            options: SubmitOptions = {"services": ["nmt"], "request_id": request_id}
            await self._submit(b"another", options, asyncio.Event())
        except JobRefused as refused:
            return refused.code
        return ""

    async def _ask_once(
        self, request_id: str, payload: bytes, options: dict[str, object]
    ) -> JobResult | None:
        """Return the result, or None when the traveller has moved on meanwhile."""
        has_moved = asyncio.create_task(self._has_moved.wait())
        chosen: SubmitOptions = {
            "services": ["nmt"],
            "request_id": request_id,
            "meta": {"sleep_s": self.trip.job_s * (0.5 + self._dice.random())},
            "wait_busy_s": WAIT_S,
            "wait_none_s": WAIT_S,
            "durability": self.trip.durability,
            **options,  # type: ignore[typeddict-item]
        }
        is_asked = asyncio.Event()
        asking = asyncio.create_task(self._submit(payload, chosen, is_asked))
        try:
            await asyncio.wait({asking, has_moved}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            is_left = has_moved.done() and is_asked.is_set()
            if is_left:
                self._left.add(asking)
            await _cancelled({has_moved} if is_left else {has_moved, asking})

    async def _submit(
        self, payload: bytes, options: SubmitOptions, is_asked: asyncio.Event
    ) -> JobResult:
        session = await self._opened()
        is_asked.set()
        try:
            return await session.submit(payload, **options)
        except PointsmanError as error:
            # Who it was before its last moves has come back here, and has taken the session.
            if error.code == Code.SESSION_CLOSED and self._session is session:
                self._session = None
            raise

    async def _opened(self) -> Session:
        async with self._door:
            if self._session is None:
                self._session = await self._stack.enter_async_context(
                    connect(
                        self.address,
                        session_id=self.session_id,
                        src="en",
                        tgt="es",
                        history=self.trip.history,
                        connect_timeout_s=OPEN_S,
                        close_timeout_s=0.5,
                    )
                )
            return self._session

    async def work(self, is_over: asyncio.Event, at_a_time: int) -> None:
        """Ask for jobs until it is over; every job that was asked for is waited for."""

        async def one_after_the_other(lane: int) -> None:
            number = 0
            while not is_over.is_set():
                number += 1
                await self.ask(f"r-{lane}-{number}")

        async with asyncio.TaskGroup() as tasks:
            for lane in range(at_a_time):
                tasks.create_task(one_after_the_other(lane))

    async def close(self) -> None:
        """End the sessions, wherever they were opened."""
        await _cancelled(self._left)
        await self._stack.aclose()


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

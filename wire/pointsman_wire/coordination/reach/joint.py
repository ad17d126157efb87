"""Work that several wait for, each as long as it can, and that goes on when one gives up waiting.

To connect takes several trips to a server, and a call may wait for one or two.  If the work ended
with the call that began it, a server that answers slowly would never be reached again: each call
would begin anew, and end before the last trip.
"""

import asyncio
from collections.abc import Awaitable, Callable

from pointsman_wire.coordination.connection import NotReached, Unanswered

LIMIT_S = 2.0  # at least


class Joint:
    """One piece of work, done once at a time."""

    def __init__(self, work: Callable[[], Awaitable[None]], what: str, wait_s: float) -> None:
        """`wait_s` is how long somebody waits."""
        self._work = work
        self._what = what
        self._limit_s = max(LIMIT_S, wait_s)
        self._task: asyncio.Task[None] | None = None

    async def done(self) -> None:
        """Begin it, unless it is under way, and wait for its end.

        Raises what it raises, and NotReached when it takes too long or `close` ended it.
        """
        task = self._task
        if task is None:
            task = self._task = asyncio.create_task(self._bounded())
            task.add_done_callback(self._ended)
        this = asyncio.current_task()
        assert this is not None
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if this.cancelling():
                raise
            raise NotReached(f"{self._what}: given up") from None

    async def close(self) -> None:
        """End it, if it is under way."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _bounded(self) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                await self._work()
        except TimeoutError as error:
            raise NotReached(f"{self._what} did not answer within {self._limit_s:g} s") from error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        # Who waits is told; nobody may wait any more, and a bug shall be heard of all the same.
        if error is not None and not isinstance(error, NotReached | Unanswered):
            raise error

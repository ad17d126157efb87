"""The life of a server process: it starts, serves, and ends once, with a status and a reason.

It ends when it says so itself, when its core has a bug, and when a callback raised what nobody
expected: such a process cannot be trusted any more, and the supervisor starts another.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pointsman_wire.sockets.driver import Driver


class Life:
    """One process's life on a loop; `say` is told the exit status and why it ends so."""

    def __init__(self, loop: asyncio.AbstractEventLoop, say: Callable[[int, str], None]) -> None:
        self.ended: asyncio.Future[int] = loop.create_future()  # the exit status
        self._loop = loop
        self._say = say
        loop.set_exception_handler(self._broke)

    async def start(
        self, starting: Coroutine[Any, Any, None], expected: tuple[type[Exception], ...]
    ) -> Exception | None:
        """Run a start to its end, or to that of the life; returns how it failed, if expected."""
        task = self._loop.create_task(starting)
        either: set[asyncio.Future[Any]] = {task, self.ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        try:
            task.result()
        except expected as error:
            return error
        return None

    def hangs_on(self, driver: Driver) -> None:
        """End when the core of this driver turns out to have a bug."""
        driver.broken.add_done_callback(self._core_broke)

    def end(self, status: int, why: str) -> None:
        """End with this status, and say why; only the first time counts."""
        if self.ended.done():
            return
        if why:
            self._say(status, why)
        self.ended.set_result(status)

    def _core_broke(self, broken: asyncio.Future[None]) -> None:
        if not broken.cancelled() and broken.exception() is not None:
            self.end(1, "the core has a bug (above); ends so that a successor can take over")

    def _broke(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        self.end(1, f"ends after an unexpected error: {context.get('message', '')}")

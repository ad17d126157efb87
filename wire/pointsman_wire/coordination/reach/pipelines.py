"""A connection to Redis that is logged in: pipelines out, replies in, and no task for any of them.

What is sent is written at once; replies come in the order of what was asked.  When one does not
come in time, or cannot be read, the connection is given up, because what comes next would be the
answer to something else.  Whoever waits is told so.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pointsman_wire.coordination.scripting.resp import Garbled, Incoming

WAITING_MAX = 4_096  # pipelines
NEVER_S = float("inf")


class Broken(NamedTuple):
    """Stands for the replies of a pipeline that got none, or not all."""

    why: str


Replies = list[object] | Broken


class _Pipeline(msgspec.Struct, eq=False):
    """What was sent, and who is told of the replies."""

    count: int
    done: Callable[[Replies], None]
    until_s: float  # by the loop's clock
    replies: list[object]


class Pipelines(asyncio.Protocol):
    """Takes over the transport of a stream, from its next byte on."""

    def __init__(self, stream: asyncio.StreamWriter) -> None:
        self._stream = stream  # it would hang up if it were forgotten
        self._transport = stream.transport
        self._loop = asyncio.get_running_loop()
        self._incoming = Incoming()
        self._waiting: deque[_Pipeline] = deque(maxlen=WAITING_MAX)
        self._timer: asyncio.TimerHandle | None = None  # it stays armed when its pipeline is done
        self._is_over = False
        self._transport.set_protocol(self)

    @property
    def is_over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._is_over

    def send(
        self, packed: bytes, count: int, done: Callable[[Replies], None], until_s: float
    ) -> bool:
        """Send so many commands; `done` is told of their replies, until_s at the latest.

        False when too many wait, or it is over; then `done` is never called.
        """
        if self._is_over or len(self._waiting) >= WAITING_MAX:
            return False
        self._waiting.append(_Pipeline(count, done, until_s, []))
        self._transport.write(packed)
        if self._timer is None and until_s < NEVER_S:
            self._timer = self._loop.call_at(until_s, self._fire)
        return True

    def give_up(self, why: str) -> None:
        """Hang up, and tell all who wait."""
        if self._is_over:
            return
        self._is_over = True
        self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, deque(maxlen=WAITING_MAX)
        for pipeline in waiting:
            pipeline.done(Broken(why))

    # ---- from the transport

    def data_received(self, data: bytes) -> None:
        """Give each pipeline its replies as soon as they are complete."""
        incoming = self._incoming
        incoming.feed(data)
        while self._waiting:
            pipeline = self._waiting[0]
            try:
                if not incoming.take(pipeline.count, pipeline.replies):
                    return
            except Garbled as error:
                self.give_up(f"it does not speak as Redis does: {error}")
                return
            self._waiting.popleft()
            pipeline.done(pipeline.replies)
        if incoming.has_more():
            self.give_up("it sent more than it was asked for")

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more will come."""
        self.give_up(str(error) if error else "it has hung up")

    # ---- time

    def _fire(self) -> None:
        # The process may have stood still: two turns of the loop hold one look at the sockets.
        self._loop.call_soon(self._loop.call_soon, self._look)

    def _look(self) -> None:
        self._timer = None
        until_s = min((pipeline.until_s for pipeline in self._waiting), default=NEVER_S)
        if until_s <= self._loop.time():
            self.give_up("it did not answer in time")
        elif until_s < NEVER_S:
            self._timer = self._loop.call_at(until_s, self._fire)

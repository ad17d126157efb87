"""The way of an order: from a worker's admin socket to its core, and of its outcome back."""

import asyncio
from collections.abc import Awaitable, Callable

from pointsman_wire.order_messages import Order, OrderAnswer
from pointsman_wire.queries.operating_messages import WorkerOrder
from pointsman_workers.core.events import OrderAnswered, OrderGiven

ObeyOthers = Callable[[Order], Awaitable[OrderAnswer | None]]


class OrderDesk:
    """Takes orders for one worker; `post` tells its core, `others` takes what is not for it."""

    def __init__(self, post: Callable[[object], None], others: ObeyOthers) -> None:
        self._post = post
        self._others = others
        self._last_ticket = 0
        self._waiting: dict[int, asyncio.Future[OrderAnswer]] = {}

    async def obey(self, order: Order) -> OrderAnswer | None:
        """Carry out one order; None for one that is no worker's."""
        if not isinstance(order, WorkerOrder):
            return await self._others(order)
        self._last_ticket += 1
        ticket = self._last_ticket
        self._waiting[ticket] = asyncio.get_running_loop().create_future()
        self._post(OrderGiven(ticket, order))
        return await self._waiting[ticket]

    def answered(self, answer: OrderAnswered) -> None:
        """The core has done what it could."""
        waiting = self._waiting.pop(answer.ticket)
        if not waiting.done():  # whoever asked has left otherwise
            assert isinstance(answer.message, OrderAnswer), answer
            waiting.set_result(answer.message)

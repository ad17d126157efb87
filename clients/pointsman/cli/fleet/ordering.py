"""Giving orders to the processes of a service: data only, no output."""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from pointsman.cli.endings import Trouble, refused
from pointsman.cli.fleet.asking import Heard, Service, hear
from pointsman_wire.order_messages import Order
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import ORDER_S, give_order

AnswerKind = TypeVar("AnswerKind")


def give(service: Service, process: str, order: Order, kind: type[AnswerKind]) -> AnswerKind:
    """Have one process carry out an order.  Raises Trouble when it did not."""
    (heard,) = asyncio.run(order_each(service, [process], order))
    return done_by(heard, kind)


def done_by(heard: Heard, kind: type[AnswerKind]) -> AnswerKind:
    """Return what a process says of an order that it has carried out; else raises Trouble."""
    if heard.error is not None:
        raise refused(heard.error)
    if heard.answer is None:
        raise Trouble(f"{heard.process} cannot be told: {heard.fault}")
    assert isinstance(heard.answer, kind), heard.answer
    return heard.answer


async def order_each(
    service: Service, processes: Sequence[str], order: Order, *, timeout_s: float = ORDER_S
) -> list[Heard]:
    """Give one order to several processes at once; none holds up the others."""
    places = (admin_socket(service.runtime_dir, process) for process in processes)
    orders = (give_order(place, order, timeout_s=timeout_s) for place in places)
    return await asyncio.gather(*map(hear, processes, orders))

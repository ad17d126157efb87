"""Restart orders: one process after another is renewed while the service goes on.

The order is begun, not finished, when it is answered: whoever gave it looks at the status of the
process until another one answers there.
"""

from collections.abc import Awaitable, Callable, Sequence

from pointsman_sched.supervisor.children import Child
from pointsman_wire.errors import Code
from pointsman_wire.messages import error_answer
from pointsman_wire.order_messages import Order, OrderAnswer, RestartBegun, RestartOrder


class RenewalDesk:
    """Obeys restart orders; `before_worker` is awaited before a worker is told to end."""

    def __init__(
        self, children: Callable[[], Sequence[Child]], before_worker: Callable[[], Awaitable[None]]
    ) -> None:
        self._children = children
        self._before_worker = before_worker

    async def obey(self, order: Order) -> OrderAnswer | None:
        """Carry out one order; None for one that is no supervisor's."""
        if not isinstance(order, RestartOrder):
            return None
        children = {child.plan.name: child for child in self._children()}
        child = children.get(order.process)
        if child is None:
            known = ", ".join(children)
            return error_answer(
                Code.INVALID_MESSAGE, f"there is no process {order.process!r} here, but {known}"
            )
        if self._why_not(child) == "" and order.process.startswith("worker"):
            await self._before_worker()
        return self._renew(child)

    def _why_not(self, child: Child) -> str:
        """While another one is away, the service would stand on still less."""
        away = [other.plan.name for other in self._children() if not other.is_serving]
        if not away:
            return ""
        return f"{child.plan.name} is not restarted while this is not ready: {', '.join(away)}"

    def _renew(self, child: Child) -> OrderAnswer:
        if why := self._why_not(child):
            return error_answer(Code.INVALID_MESSAGE, why)
        name, process_id = child.plan.name, child.pid
        if not child.renew():
            return error_answer(Code.INVALID_MESSAGE, f"{name} is ending already")
        return RestartBegun(process=name, pid=process_id)

"""The way of an order: from the admin socket to the core, and of its outcome back.

A configuration file is read in a thread, so that the fleet goes on being heard meanwhile.  SIGHUP
is a reload by somebody who reads the log; any number of them during a reload are one more.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from pointsman_sched.core.events import (
    Answer,
    ConfigOffered,
    EnrolOrdered,
    OrderGiven,
    PairOrdered,
    RevokeOrdered,
)
from pointsman_sched.core.joining.introductions import Wish
from pointsman_sched.core.orders.rebuild import NOBODY
from pointsman_shm.config import Config
from pointsman_shm.config_load import ConfigError, load_config
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, error_answer
from pointsman_wire.order_messages import (
    ConfigDiff,
    ConfigDiffQuery,
    EnrolOrder,
    ManagerOrder,
    Order,
    OrderAnswer,
    PairOrder,
    ReloadOrder,
    RevokeOrder,
)


class OrderDesk:
    """Takes orders for one manager; `post` tells its core, `say` its log.

    `in_force` is told of each configuration that was loaded here and applied.
    """

    def __init__(
        self,
        config_path: Path | None,
        *,
        post: Callable[[object], None],
        say: Callable[[str], None],
        in_force: Callable[[Config], None],
    ) -> None:
        self._config_path = config_path
        self._in_force = in_force
        self._post = post
        self._say = say
        self._last_ticket = 0
        self._waiting: dict[int, asyncio.Future[OrderAnswer]] = {}
        self._reloading: asyncio.Task[None] | None = None
        self._is_wished_again = False

    async def obey(self, order: Order) -> OrderAnswer | None:
        """Carry out one order; None for one that is no manager's."""
        if not isinstance(order, ManagerOrder):
            return None
        return await self._carry_out(order)

    async def _carry_out(self, order: ManagerOrder) -> OrderAnswer:
        if isinstance(order, PairOrder):
            return await self._through_core(
                lambda ticket: PairOrdered(ticket=ticket, node_id=order.node_id)
            )
        if isinstance(order, EnrolOrder):
            wish = Wish(
                name=order.name,
                pool=order.pool,
                tenant=order.tenant,
                labels=tuple(sorted(order.labels.items())),
                is_code=order.is_code,
                lasts_ns=int(order.lasts_s * 1e9),
            )
            return await self._through_core(lambda ticket: EnrolOrdered(ticket, wish))
        if isinstance(order, RevokeOrder):
            return await self._through_core(lambda ticket: RevokeOrdered(ticket, order.node_id))
        if isinstance(order, ConfigDiffQuery):
            return await self._offer(Path(order.path), is_trial=True)
        if not isinstance(order, ReloadOrder):
            return await self._through_core(lambda ticket: OrderGiven(ticket=ticket, order=order))
        if self._config_path is None:
            words = "the service was started without a configuration file: there is none to reload"
            return error_answer(Code.INVALID_MESSAGE, f"{words}; start it with --config FILE")
        return await self._offer(self._config_path, is_trial=False)

    def answered(self, answer: Answer) -> None:
        """The core has done what it could."""
        if answer.ticket == NOBODY:
            assert isinstance(answer.message, OrderAnswer), answer
            self._say(reload_words(answer.message))
            return
        waiting = self._waiting.pop(answer.ticket)
        if not waiting.done():  # whoever asked has left otherwise
            assert isinstance(answer.message, OrderAnswer), answer
            waiting.set_result(answer.message)

    def reload_by_signal(self) -> None:
        """SIGHUP came."""
        if self._reloading is not None:
            self._is_wished_again = True
            return
        self._reloading = asyncio.get_running_loop().create_task(self._reload_and_tell())

    async def close(self) -> None:
        """Give up what is under way."""
        if self._reloading is not None:
            self._reloading.cancel()
            await asyncio.gather(self._reloading, return_exceptions=True)

    async def _reload_and_tell(self) -> None:
        while True:
            self._is_wished_again = False
            self._say(reload_words(await self._carry_out(ReloadOrder())))
            if not self._is_wished_again:
                break
        self._reloading = None

    async def _offer(self, path: Path, *, is_trial: bool) -> OrderAnswer:
        try:
            config = await asyncio.to_thread(load_config, path)
        except ConfigError as error:
            return error_answer(Code.INVALID_MESSAGE, str(error))
        answer = await self._through_core(
            lambda ticket: ConfigOffered(
                ticket=ticket, source=str(path), config=config, is_trial=is_trial
            )
        )
        if isinstance(answer, ConfigDiff) and answer.applied:
            self._in_force(config)
        return answer

    async def _through_core(self, order: Callable[[int], object]) -> OrderAnswer:
        self._last_ticket += 1
        ticket = self._last_ticket
        self._waiting[ticket] = asyncio.get_running_loop().create_future()
        self._post(order(ticket))
        return await self._waiting[ticket]


def reload_words(answer: OrderAnswer) -> str:
    """Return what came of a reload, for the log."""
    if isinstance(answer, Error):
        return f"the configuration stays as it is: {answer.error.message}"
    assert isinstance(answer, ConfigDiff), answer
    if answer.needs_restart:
        return (
            "the configuration stays as it is: these need a restart: "
            f"{'; '.join(answer.needs_restart)}"
        )
    if not answer.applied:
        return "the configuration stays as it is: the file says nothing else"
    return f"a new configuration is in force: {'; '.join(answer.changes)}"

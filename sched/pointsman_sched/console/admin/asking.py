"""Asks the processes of this service over their admin sockets, several at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pointsman_sched.console.admin.problems import ApiError, refused, unreachable
from pointsman_shm.paths import worker_process
from pointsman_wire.admin_messages import AdminQuery
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import Order
from pointsman_wire.sockets.admin import AdminError, ask, give_order

MANAGER = "manager"
CONSOLE = "console"
SUPERVISOR = "supervisor"
ANSWER_S = 2.0
Kind = TypeVar("Kind")


class Processes:
    """The processes of one service; `place` finds the admin socket of each by its name."""

    def __init__(self, place: Callable[[str], Path], worker_count: int) -> None:
        self._place = place
        self.worker_count = worker_count

    @property
    def workers(self) -> list[str]:
        """The names of all workers."""
        return [worker_process(index) for index in range(self.worker_count)]

    def present(self) -> list[str]:
        """The names of all processes, with the supervisor where there is one."""
        known = [MANAGER, *self.workers, CONSOLE, SUPERVISOR]
        return [process for process in known if self._place(process).is_socket()]

    async def one(self, process: str, query: AdminQuery, kind: type[Kind]) -> Kind:
        """Return the answer of one process; raises ApiError when it gives none of the kind."""
        try:
            answer = await ask(self._place(process), query, timeout_s=ANSWER_S)
        except AdminError as error:
            raise unreachable(f"{process} does not answer: {error}") from None
        return _of_kind(process, answer, kind)

    async def each(
        self, processes: Sequence[str], query: AdminQuery, kind: type[Kind]
    ) -> tuple[dict[str, Kind], dict[str, ApiError]]:
        """Ask several at once: (answers, why there is none of the others), by process."""
        return await _together({name: self.one(name, query, kind) for name in processes})

    async def all_workers(
        self, query: AdminQuery, kind: type[Kind]
    ) -> tuple[dict[str, Kind], dict[str, str]]:
        """Ask every worker: answers, and who gave none; raises ApiError when nobody answers."""
        answers, faults = await self.each(self.workers, query, kind)
        if not answers:
            raise next(iter(faults.values()))
        return answers, {process: fault.detail for process, fault in faults.items()}

    async def any_worker(self, query: AdminQuery, kind: type[Kind]) -> Kind:
        """Ask one worker after the other what all know alike."""
        fault = unreachable("this service has no workers")
        for process in self.workers:
            try:
                return await self.one(process, query, kind)
            except ApiError as error:
                fault = error
        raise fault

    async def order(self, process: str, order: Order, kind: type[Kind]) -> Kind:
        """Have an order carried out; raises ApiError when it was not."""
        try:
            answer = await give_order(self._place(process), order)
        except AdminError as error:
            raise unreachable(f"{process} was told, and does not answer: {error}") from None
        return _of_kind(process, answer, kind)

    async def order_each(
        self, processes: Sequence[str], order: Order, kind: type[Kind]
    ) -> tuple[dict[str, Kind], dict[str, ApiError]]:
        """Have several carry out the same order: (answers, why others did not), by process."""
        return await _together({name: self.order(name, order, kind) for name in processes})


async def _together(
    calls: Mapping[str, Awaitable[Kind]],
) -> tuple[dict[str, Kind], dict[str, ApiError]]:
    heard = await asyncio.gather(*calls.values(), return_exceptions=True)
    answers: dict[str, Kind] = {}
    faults: dict[str, ApiError] = {}
    for process, answer in zip(calls, heard, strict=True):
        if isinstance(answer, ApiError):
            faults[process] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            answers[process] = answer
    return answers, faults


def _of_kind(process: str, answer: object, kind: type[Kind]) -> Kind:
    if isinstance(answer, Error):
        raise refused(answer.error)
    if not isinstance(answer, kind):
        raise unreachable(f"{process} gave no such answer: install one version everywhere")
    return answer

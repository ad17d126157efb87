"""Orders about dead letters to workers: each knows those of its own inbox.

A letter is named WORKER/ID, the ID being that of its worker's letters: 0/1700000000000-0.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from pointsman.cli.endings import FAILED, USAGE, Trouble
from pointsman.cli.fleet.asking import Heard, Service, nobody_there
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import Order, OrderAnswer
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import AdminError, give_order

ORDER_S = 10.0
_NAME = re.compile(r"([0-9]{1,4})/([0-9]{1,20}-[0-9]{1,20})")

AnswerKind = TypeVar("AnswerKind")


class LetterName(NamedTuple):
    """Whose letter, and which."""

    worker: str
    id: str


def letter_name(service: Service, text: str) -> LetterName:
    """Read what the operator gave.  Raises Trouble."""
    found = _NAME.fullmatch(text)
    if found is None:
        raise Trouble(
            f"{text!r} names no letter: it is WORKER/ID, such as 0/1700000000000-0",
            todo="`pointsman inbox list` lists them",
            code=USAGE,
        )
    worker = f"worker-{int(found[1])}"
    if worker not in service.workers:
        raise Trouble(f"service {service.instance!r} has no {worker}", code=USAGE)
    return LetterName(worker, found[2])


def shown_name(worker: str, letter_id: str) -> str:
    """The name of a letter, as it is listed."""
    return f"{worker.removeprefix('worker-')}/{letter_id}"


def order_workers(
    service: Service, workers: Sequence[str], order: Order, kind: type[AnswerKind]
) -> tuple[dict[str, AnswerKind], list[Heard]]:
    """Give an order to workers; answers by worker, and who gave none.

    Raises Trouble when none of them carried it out.
    """
    answers: dict[str, AnswerKind] = {}
    faults: list[Heard] = []
    refusals: list[Error] = []
    for worker, answer in asyncio.run(_give_each(service, workers, order)):
        if isinstance(answer, kind):
            answers[worker] = answer
            continue
        if isinstance(answer, Error):
            refusals.append(answer)
        words = answer.error.message if isinstance(answer, Error) else str(answer)
        faults.append(Heard(worker, None, f"{worker}: {words}"))
    if not answers and refusals:
        error = refusals[0].error
        raise Trouble(error.message, todo=error.hint, code=FAILED, error_code=error.code)
    if not answers:
        raise nobody_there(service, faults)
    return answers, faults


async def _give_each(
    service: Service, workers: Sequence[str], order: Order
) -> list[tuple[str, OrderAnswer | AdminError]]:
    async def give_one(worker: str) -> OrderAnswer | AdminError:
        try:
            place = admin_socket(service.runtime_dir, worker)
            return await give_order(place, order, timeout_s=ORDER_S)
        except AdminError as error:
            return error

    return list(zip(workers, await asyncio.gather(*map(give_one, workers)), strict=True))

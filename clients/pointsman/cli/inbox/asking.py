"""Orders about dead letters to workers: each knows those of its own inbox.

A letter is named WORKER/ID, the ID being that of its worker's letters: 0/1700000000000-0.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from pointsman.cli.endings import USAGE, Trouble, refused
from pointsman.cli.fleet.asking import Heard, Service, nobody_there, of_kind
from pointsman.cli.fleet.ordering import order_each
from pointsman_wire.order_messages import Order

LETTERS_S = 10.0
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
    heard = asyncio.run(order_each(service, workers, order, timeout_s=LETTERS_S))
    answers = of_kind(heard, kind)
    faults = [one for one in heard if one.process not in answers]
    refusals = [one.error for one in heard if one.error is not None]
    if not answers and refusals:
        raise refused(refusals[0])
    if not answers:
        raise nobody_there(service, faults)
    return answers, faults

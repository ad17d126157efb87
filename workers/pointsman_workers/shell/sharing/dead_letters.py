"""The dead letters of this worker's inbox, for an operator: look, send in again, throw away."""

import re
from collections.abc import Callable

from pointsman_wire.coordination.inbox_requests import (
    LETTERS_PER_REQUEST_MAX,
    DeadFound,
    DeadLetter,
    Discard,
    Place,
    ReadDead,
    Redrive,
    Settled,
)
from pointsman_wire.coordination.requests import Answer, Request
from pointsman_wire.coordination.signing import Signer
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, error_answer
from pointsman_wire.order_messages import Order, OrderAnswer
from pointsman_wire.queries.inbox_messages import (
    DeadLetters,
    DeadLettersQuery,
    DropOrder,
    FrameLine,
    InboxOrder,
    LetterLine,
    LetterQuery,
    LettersSettled,
    LetterView,
    RedriveOrder,
)
from pointsman_workers.shell.sharing.backing import Answering
from pointsman_workers.shell.sharing.entries import BadEntry, EntryReader

_LETTER_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
FRAMES_SHOWN_MAX = 100
FRAME_CHARACTERS_MAX = 300
REDRIVEN_AT_ONCE = 50  # in one script, as each may be large


class DeadLetterDesk:
    """Obeys orders about the dead letters of one inbox; `say` tells the log what was done."""

    def __init__(
        self, place: Place, signer: Signer | None, backing: Answering, say: Callable[[str], None]
    ) -> None:
        self._place = place
        self._backing = backing
        self._say = say
        self._entries = EntryReader(f"{place.instance}/{place.shard}", signer)
        self._number = 0

    async def obey(self, order: Order) -> OrderAnswer | None:
        """Carry out an order; None for one that is no worker's."""
        if not isinstance(order, InboxOrder):
            return None
        if isinstance(order, DeadLettersQuery):
            return await self._list(order.limit)
        if not _LETTER_ID.fullmatch(order.id) and order != RedriveOrder():
            text = f"{order.id!r} names no dead letter: it is two numbers, such as 1700000000000-0"
            return error_answer(Code.INVALID_MESSAGE, text)
        if isinstance(order, LetterQuery):
            return await self._show(order.id)
        if isinstance(order, DropOrder):
            return await self._drop(order.id)
        return await self._redrive(order)

    async def _find(self, *, letter_id: str = "", count_max: int = 1) -> DeadFound | Error:
        place = self._place
        found = await self._asked(
            ReadDead(
                number=self._next(),
                instance=place.instance,
                shard=place.shard,
                id=letter_id,
                count_max=count_max,
            )
        )
        if isinstance(found, Error):
            return found
        assert isinstance(found, DeadFound), found
        if letter_id and not found.letters:
            text = f"worker {place.shard} has no dead letter {letter_id}"
            return error_answer(Code.NOT_FOUND, text)
        return found

    async def _list(self, limit: int) -> OrderAnswer:
        found = await self._find(count_max=limit)
        if isinstance(found, Error):
            return found
        return DeadLetters(letters=[self._line(x) for x in found.letters], total=found.total)

    def _line(self, letter: DeadLetter) -> LetterLine:
        head = self._entries.head_of(letter.blob)
        return LetterLine(
            id=letter.id,
            why=letter.why,
            bytes=letter.size,
            buried_ago_s=letter.age_ms / 1e3,
            sender=f"{head.instance}/{head.shard}" if head is not None else "",
            sender_epoch=head.epoch if head is not None else 0,
            number=head.number if head is not None else 0,
        )

    async def _show(self, letter_id: str) -> OrderAnswer:
        found = await self._find(letter_id=letter_id)
        if isinstance(found, Error):
            return found
        (letter,) = found.letters
        try:
            _, frames = self._entries.opened(letter.blob)
        except BadEntry as error:
            return LetterView(letter=self._line(letter), trouble=str(error))
        return LetterView(
            letter=self._line(letter),
            frames=[
                FrameLine(message=str(message)[:FRAME_CHARACTERS_MAX], payload_bytes=len(payload))
                for message, payload in frames[:FRAMES_SHOWN_MAX]
            ],
            frames_left_out=max(0, len(frames) - FRAMES_SHOWN_MAX),
        )

    async def _drop(self, letter_id: str) -> OrderAnswer:
        found = await self._find(letter_id=letter_id)
        if isinstance(found, Error):
            return found
        settled = await self._settle(Discard, [letter_id])
        if isinstance(settled, LettersSettled):
            self._say(f"an operator threw the dead letter {letter_id} away")
        return settled

    async def _redrive(self, order: RedriveOrder) -> OrderAnswer:
        """One, or all in the order in which they died."""
        found = await self._find(letter_id=order.id, count_max=LETTERS_PER_REQUEST_MAX)
        if isinstance(found, Error):
            return found
        ids = [letter.id for letter in reversed(found.letters)]
        count, settled = 0, LettersSettled(count=0)
        for start in range(0, len(ids), REDRIVEN_AT_ONCE):
            part = await self._settle(Redrive, ids[start : start + REDRIVEN_AT_ONCE])
            if isinstance(part, Error):
                return part
            count += part.count
            settled = LettersSettled(count=count, is_full=part.is_full)
            if part.is_full:
                break
        if count:
            self._say(f"an operator put dead letters into the inbox again: {count}")
        return settled

    async def _settle(
        self, kind: type[Redrive | Discard], ids: list[str]
    ) -> LettersSettled | Error:
        place = self._place
        request = kind(
            number=self._next(), instance=place.instance, shard=place.shard, ids=tuple(ids)
        )
        settled = await self._asked(request)
        if isinstance(settled, Error):
            return settled
        assert isinstance(settled, Settled), settled
        return LettersSettled(count=settled.count, is_full=settled.outcome == "full")

    async def _asked(self, request: Request) -> Answer | Error:
        (answer,) = await self._backing.execute([request])
        if answer.outcome in ("down", "unknown"):
            return error_answer(Code.SCHEDULER_DEPENDENCY_DOWN, f"Redis: {answer.error}")
        return answer

    def _next(self) -> int:
        self._number += 1
        return self._number

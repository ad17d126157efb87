"""Dead letters from the operator's side: a worker's desk over the model, and real workers."""

import json
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

import pytest
from federation.services import config_for, redis_at
from live.commands import invoke
from live.service import live_service
from redis_model.model import Model
from supervised_service import Place

from pointsman.cli.endings import USAGE
from pointsman_wire.coordination.inbox_requests import Bury, Entry, Send
from pointsman_wire.coordination.inbox_requests import Place as InboxPlace
from pointsman_wire.coordination.instance_messages import LinkPing
from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.requests import Answer, Request
from pointsman_wire.coordination.settings import Secret
from pointsman_wire.coordination.signing import Signer
from pointsman_wire.framing import encode_frame
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import OrderAnswer, PairOrder
from pointsman_wire.queries.inbox_messages import (
    DeadLetters,
    DeadLettersQuery,
    DropOrder,
    LetterQuery,
    LettersSettled,
    LetterView,
    RedriveOrder,
)
from pointsman_workers.core.events import InstanceSaid
from pointsman_workers.shell.sharing.dead_letters import FRAMES_SHOWN_MAX, DeadLetterDesk
from pointsman_workers.shell.sharing.entries import EntryReader
from pointsman_workers.shell.sharing.outgoing import Outgoing, Sender

SIGNER = Signer(Secret("k" * 32))
A, B = Sender("a", "uid-a", 0, 3), InboxPlace("b", 0)
NOW_MS = 1_700_000_000_000
PATIENCE_S = 30.0
LOOK_S = 0.1


class Yard:
    """An inbox of b, and the desk for its dead letters."""

    def __init__(self) -> None:
        self.model = Model()
        self.said: list[str] = []
        self.way = Outgoing(A, B, SIGNER)
        self.desk = DeadLetterDesk(B, SIGNER, self, self.said.append)

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return self.model.answer(requests, NOW_MS)

    def entry(self, *numbers: int) -> bytes:
        """An entry that says these numbers."""
        for number in numbers:
            assert self.way.add(encode_frame(LinkPing(link=1, number=number)))
        blob = self.way.entry()
        self.way.sent()
        return blob

    def kill(self, blob: bytes, why: str = "it is bad") -> None:
        """Let an entry arrive and be buried."""
        self.model.answer([Send(number=1, instance="b", shard=0, blob=blob)], NOW_MS)
        (entry,) = self.received()
        self.model.answer([Bury(number=2, instance="b", shard=0, id=entry.id, why=why)], NOW_MS)

    def received(self) -> list[Entry]:
        """What has arrived and was not received yet."""
        return self.model.receive(B, NOW_MS)

    async def listed(self) -> DeadLetters:
        """All dead letters."""
        answer = await self.desk.obey(DeadLettersQuery())
        assert isinstance(answer, DeadLetters), answer
        return answer


def is_refused(answer: OrderAnswer | None, code: str) -> bool:
    """Is it an error with this code?"""
    return isinstance(answer, Error) and answer.error.code == code


async def test_dead_letters_are_listed_with_their_writer_as_far_as_it_can_be_read() -> None:
    """R10."""
    yard = Yard()
    yard.kill(yard.entry(1), "delivered 11 times")
    yard.kill(b"nonsense")
    answer = await yard.listed()
    assert [(line.why, line.sender, line.number) for line in answer.letters] == [
        ("it is bad", "", 0),
        ("delivered 11 times", "a/0", 1),
    ]
    assert answer.total == 2
    few = await yard.desk.obey(DeadLettersQuery(limit=1))
    assert isinstance(few, DeadLetters)
    assert (len(few.letters), few.total) == (1, 2)


async def test_a_letter_is_shown_with_its_frames_or_with_what_is_wrong_with_it() -> None:
    yard = Yard()
    yard.kill(yard.entry(*range(FRAMES_SHOWN_MAX + 5)))
    yard.kill(yard.entry(1)[:-1] + b"\x00")
    forged, fine = [
        await yard.desk.obey(LetterQuery(id=line.id)) for line in (await yard.listed()).letters
    ]
    assert isinstance(forged, LetterView)
    assert "not signed" in forged.trouble
    assert isinstance(fine, LetterView)
    assert (fine.trouble, len(fine.frames), fine.frames_left_out) == ("", FRAMES_SHOWN_MAX, 5)
    assert "LinkPing" in fine.frames[0].message


async def test_a_redriven_letter_is_absorbed_although_later_entries_were_read() -> None:
    """R10: its number is old, and yet nobody has read it."""
    yard = Yard()
    reader = EntryReader("b/0", SIGNER)
    yard.kill(yard.entry(1))
    later = yard.entry(2)
    assert len(reader.read(later)) == 1
    (line,) = (await yard.listed()).letters
    answer = await yard.desk.obey(RedriveOrder(id=line.id))
    assert answer == LettersSettled(count=1)
    (entry,) = yard.received()
    assert entry.is_redriven
    (said,) = reader.read(entry.blob, is_redriven=True)
    assert isinstance(said, InstanceSaid)
    assert said.message == LinkPing(link=1, number=1)
    assert reader.read(later) == []  # what was read before stays known
    assert yard.said == ["an operator put dead letters into the inbox again: 1"]


async def test_all_letters_are_redriven_in_the_order_in_which_they_died() -> None:
    yard = Yard()
    blobs = [yard.entry(number) for number in range(120)]
    for blob in blobs:
        yard.kill(blob)
    assert await yard.desk.obey(RedriveOrder()) == LettersSettled(count=120)
    assert [entry.blob for entry in yard.received()] == blobs[:100]  # as many as one read gives
    assert (await yard.listed()).total == 0


async def test_orders_that_cannot_be_carried_out_say_why() -> None:
    """Bad input, letters that are not there, a Redis that is away."""
    yard = Yard()
    yard.kill(yard.entry(1))
    (line,) = (await yard.listed()).letters
    assert is_refused(await yard.desk.obey(DropOrder(id="*")), "INVALID_MESSAGE")
    assert is_refused(await yard.desk.obey(DropOrder(id="")), "INVALID_MESSAGE")
    assert is_refused(await yard.desk.obey(RedriveOrder(id="9-9")), "NOT_FOUND")
    assert await yard.desk.obey(PairOrder("pc-1")) is None
    yard.model.down = "gone"
    for order in (DeadLettersQuery(), LetterQuery(id=line.id), RedriveOrder(), DropOrder(id="1-0")):
        assert is_refused(await yard.desk.obey(order), "SCHEDULER_DEPENDENCY_DOWN")
    yard.model.down = ""
    assert await yard.desk.obey(DropOrder(id=line.id)) == LettersSettled(count=1)
    assert (await yard.listed()).letters == []


def inbox(here: Place, *words: str) -> tuple[int, dict[str, object]]:
    """Run `pointsman inbox ... --json` against a service; exit code and what it printed."""
    at = ("--instance", here.instance, "--runtime-dir", str(here.runtime_dir))
    ended = invoke("inbox", *words, *at, "--json")
    return ended.exit_code, json.loads(ended.stdout) if ended.stdout else {}


def letters_of(here: Place, *, but: str = "") -> list[dict[str, str]]:
    """Wait until there is one dead letter other than this one, and return all."""
    until_s = monotonic() + PATIENCE_S
    while True:
        code, told = inbox(here, "list")
        assert code == 0, told
        letters: list[dict[str, str]] = told["letters"]  # type: ignore[assignment]
        if letters and letters[0]["id"] != but:
            return letters
        assert monotonic() < until_s, "no dead letter came"
        sleep(LOOK_S)


@pytest.mark.crash
def test_an_operator_redrives_and_drops_what_a_worker_could_not_absorb(tmp_path: Path) -> None:
    """R10: rubbish in a real worker's stream dies, dies again when redriven, and is dropped."""
    with (
        redis_at(tmp_path / "redis") as server,
        live_service(config=config_for(server, tmp_path), workers=1) as service,
    ):
        here = service.here
        stream = Keys().inbox(here.instance, 0)
        server.command("XADD", stream, "*", "m", "rubbish that nobody signed")
        (first,) = letters_of(here)
        assert first["sender"] == ""
        assert inbox(here, "show", first["id"])[1]["trouble"] == first["why"]
        assert inbox(here, "redrive", first["id"]) == (
            0,
            {"instance": here.instance, "redriven": 1, "full": [], "no_answer": {}},
        )
        (second,) = letters_of(here, but=first["id"])
        assert second["why"] == first["why"]
        assert inbox(here, "redrive", first["id"])[0] == USAGE
        assert inbox(here, "redrive", "--all")[1]["redriven"] == 1
        (third,) = letters_of(here, but=second["id"])
        assert inbox(here, "drop", third["id"]) == (
            0,
            {"instance": here.instance, "dropped": 1},
        )
        assert inbox(here, "list")[1]["letters"] == []
        assert inbox(here, "drop", third["id"])[0] == USAGE
        assert server.command("XLEN", stream) == 0

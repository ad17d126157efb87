"""The contract of both backings about inboxes and sessions."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from coordination.asking import ALICE, Asked, AskedModel, AskedRedis, settings_for
from redis_yard.server import RedisServer

from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.connection import NotReached
from pointsman_wire.coordination.inbox_requests import (
    LETTER_HEAD_BYTES,
    Absorbed,
    Acknowledge,
    Bury,
    DeadFound,
    Discard,
    Entry,
    Place,
    ReadDead,
    Redrive,
    Send,
    Sent,
    Settled,
)
from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.reach.inbox import InboxReader
from pointsman_wire.coordination.requests import (
    SessionFound,
    SessionKey,
    SessionNotes,
    SessionRead,
    SessionWrite,
)
from pointsman_wire.coordination.terms import DEAD_LETTERS_MAX, SESSION_MS, SESSION_OWNER_MS

PLACE = Place("alice", 3)
SESSION = SessionKey("acme", "s-1")


class Inbox:
    """One shard's inbox of either backing."""

    def __init__(self, asked: Asked, reader: InboxReader | None) -> None:
        self.asked = asked
        self.reader = reader

    async def send(self, blob: bytes) -> str:
        request = Send(number=1, instance=PLACE.instance, shard=PLACE.shard, blob=blob)
        (sent,) = await self.asked.ask(request)
        assert isinstance(sent, Sent), sent
        return sent.outcome

    async def receive(self, count_max: int = 100) -> list[Entry]:
        if self.reader is not None:
            return await self.reader.receive(block_ms=1, count_max=count_max)
        assert isinstance(self.asked, AskedModel)
        return self.asked.model.receive(PLACE, self.asked.now_ms, count_max=count_max)

    async def claim(self) -> list[Entry]:
        if self.reader is not None:
            return (await self.reader.claim()).entries
        assert isinstance(self.asked, AskedModel)
        return self.asked.model.claim(PLACE, self.asked.now_ms)

    async def absorb(self, *entries: Entry) -> None:
        ids = tuple(entry.id for entry in entries)
        request = Acknowledge(number=2, instance=PLACE.instance, shard=PLACE.shard, ids=ids)
        (absorbed,) = await self.asked.ask(request)
        assert isinstance(absorbed, Absorbed), absorbed
        assert absorbed.outcome == "done"

    async def bury(self, entry: Entry) -> str:
        request = Bury(number=3, instance=PLACE.instance, shard=PLACE.shard, id=entry.id, why="bad")
        (absorbed,) = await self.asked.ask(request)
        assert isinstance(absorbed, Absorbed), absorbed
        return absorbed.outcome

    async def dead(self, entry_id: str = "", count_max: int = 100) -> DeadFound:
        request = ReadDead(
            number=4,
            instance=PLACE.instance,
            shard=PLACE.shard,
            id=entry_id,
            count_max=count_max,
        )
        (found,) = await self.asked.ask(request)
        assert isinstance(found, DeadFound), found
        assert found.outcome == "done"
        return found

    async def settle(self, kind: type[Redrive | Discard], *ids: str) -> tuple[str, int]:
        request = kind(number=5, instance=PLACE.instance, shard=PLACE.shard, ids=ids)
        (settled,) = await self.asked.ask(request)
        assert isinstance(settled, Settled), settled
        return settled.outcome, settled.count


@pytest_asyncio.fixture
async def inbox(asked: Asked) -> AsyncIterator[Inbox]:
    if not isinstance(asked, AskedRedis):
        yield Inbox(asked, None)
        return
    reader = InboxReader(settings_for(asked.server), PLACE)
    try:
        yield Inbox(asked, reader)
    finally:
        await reader.close()


async def test_entries_arrive_once_in_order_and_go_when_they_are_absorbed(inbox: Inbox) -> None:
    assert await inbox.receive() == []
    blobs = [b"one", b"\x00\xff", b""]
    assert [await inbox.send(blob) for blob in blobs] == ["sent"] * 3
    first = await inbox.receive(count_max=2)
    rest = await inbox.receive()
    assert [entry.blob for entry in (*first, *rest)] == blobs
    assert await inbox.receive() == []
    await inbox.absorb(*first, *rest)
    await inbox.absorb(*first)  # repeated: nothing changes
    assert await inbox.claim() == []


async def test_what_a_dead_receiver_was_given_is_claimed_and_counted(inbox: Inbox) -> None:
    """R10: entries without an acknowledgement come again, and how often is told."""
    await inbox.send(b"one")
    await inbox.send(b"two")
    given = await inbox.receive()
    assert [entry.deliveries for entry in given] == [1, 1]
    await inbox.absorb(given[0])
    for deliveries in range(2, 13):
        (again,) = await inbox.claim()
        assert (again.id, again.blob, again.deliveries) == (given[1].id, b"two", deliveries)


async def test_a_poison_entry_is_buried_and_a_trimmed_one_is_no_trouble(inbox: Inbox) -> None:
    """R10: who cannot absorb an entry moves it aside, once."""
    await inbox.send(b"poison")
    (entry,) = await inbox.receive()
    assert await inbox.bury(entry) == "done"
    assert await inbox.bury(entry) == "missing"
    assert await inbox.claim() == []
    if isinstance(inbox.asked, AskedRedis):
        dead = Keys().dead_letters(*PLACE)
        ((_, fields),) = inbox.asked.server.command("XRANGE", dead, "-", "+")
        assert fields == [b"why", b"bad", b"m", b"poison"]


async def test_the_dead_letters_keep_the_newest(asked_redis: AskedRedis) -> None:
    """I9: whatever is buried, it stays bounded."""
    key = Keys().inbox(*PLACE)
    for _ in range(DEAD_LETTERS_MAX + 20):
        asked_redis.server.command("XADD", key, "*", "m", "x")
    rows = asked_redis.server.command("XRANGE", key, "-", "+")
    ids = [row[0].decode() for row in rows]
    buried = [Bury(number=1, instance=PLACE.instance, shard=3, id=i, why="x") for i in ids]
    await asked_redis.ask(*buried)
    assert asked_redis.server.command("XLEN", Keys().dead_letters(*PLACE)) == DEAD_LETTERS_MAX


async def test_a_full_inbox_says_so_and_drops_nothing(redis_server: RedisServer) -> None:
    """I9, R10."""
    redis_server.command("FLUSHALL")
    backing = RedisBacking(settings_for(redis_server, inbox_max=2))
    await backing.open()
    inbox = Inbox(AskedRedis(redis_server, backing), None)
    try:
        assert [await inbox.send(b"x") for _ in range(4)] == ["sent", "sent", "full", "full"]
        assert redis_server.command("XLEN", Keys().inbox(*PLACE)) == 2
    finally:
        await backing.close()


async def test_a_flushed_inbox_is_made_again(asked_redis: AskedRedis) -> None:
    """R3: the group went with the stream; the next read but one has it back."""
    reader = InboxReader(settings_for(asked_redis.server), PLACE)
    inbox = Inbox(asked_redis, reader)
    try:
        assert await inbox.receive() == []
        asked_redis.flush()
        with pytest.raises(NotReached, match="NOGROUP"):
            await inbox.receive()
        await inbox.send(b"after")
        assert [entry.blob for entry in await inbox.receive()] == [b"after"]
    finally:
        await reader.close()


async def test_a_sessions_notes_last_and_its_owner_lapses(asked: Asked) -> None:
    async def read() -> SessionFound:
        (found,) = await asked.ask(SessionRead(number=1, key=SESSION))
        assert isinstance(found, SessionFound), found
        return found

    assert (await read()).outcome == "missing"
    notes = SessionNotes(pool=3, source="zh", target="en", last_node="pc-1", owner=ALICE)
    await asked.ask(SessionWrite(number=2, key=SESSION, notes=notes))
    assert (await read()).notes == notes
    asked.pass_time(SESSION_OWNER_MS)
    found = await read()
    assert (found.notes.owner, found.notes.last_node) == (None, "pc-1")
    asked.pass_time(SESSION_MS)
    assert (await read()).outcome == "missing"


async def test_a_dead_letter_is_looked_at_sent_in_again_and_can_die_again(inbox: Inbox) -> None:
    """R10: what was redriven is told apart, and comes back to the dead letters if it dies again."""
    for blob in (b"first", b"x" * 5_000):
        await inbox.send(blob)
        (entry,) = await inbox.receive()
        assert not entry.is_redriven
        await inbox.bury(entry)
    newest, oldest = (await inbox.dead()).letters
    assert (oldest.why, oldest.size, oldest.blob) == ("bad", 5, b"first")
    assert (newest.size, len(newest.blob)) == (5_000, LETTER_HEAD_BYTES)
    assert len((await inbox.dead(newest.id)).letters[0].blob) == 5_000
    assert [len((await inbox.dead(count_max=1)).letters), (await inbox.dead()).total] == [1, 2]

    assert await inbox.settle(Redrive, oldest.id, newest.id, oldest.id) == ("done", 2)
    assert (await inbox.dead()).total == 0
    again = await inbox.receive()
    assert [(entry.blob[:5], entry.is_redriven) for entry in again] == [
        (b"first", True),
        (b"xxxxx", True),
    ]
    assert [entry.is_redriven for entry in await inbox.claim()] == [True, True]
    await inbox.bury(again[0])
    (dead,) = (await inbox.dead()).letters
    assert dead.blob == b"first"
    assert await inbox.settle(Discard, dead.id, dead.id) == ("done", 1)
    assert await inbox.settle(Redrive, dead.id) == ("done", 0)
    assert (await inbox.dead()).letters == ()


async def test_a_full_inbox_takes_no_dead_letter_back_and_keeps_it_there(
    redis_server: RedisServer,
) -> None:
    """I9: whoever sends it in, the bound holds."""
    redis_server.command("FLUSHALL")
    backing = RedisBacking(settings_for(redis_server, inbox_max=2))
    reader = InboxReader(settings_for(redis_server), PLACE)
    await backing.open()
    inbox = Inbox(AskedRedis(redis_server, backing), reader)
    try:
        for _ in range(2):
            await inbox.send(b"x")
        for entry in await inbox.receive():
            await inbox.bury(entry)
        await inbox.send(b"y")
        ids = [letter.id for letter in (await inbox.dead()).letters]
        assert await inbox.settle(Redrive, *ids) == ("full", 1)
        assert (await inbox.dead()).total == 1
    finally:
        await reader.close()
        await backing.close()


async def test_who_sends_and_who_acknowledges_learns_how_much_is_in_the_inbox(asked: Asked) -> None:
    send = Send(number=1, instance=PLACE.instance, shard=PLACE.shard, blob=b"x")
    lengths = [a.length for a in await asked.ask(send, send) if isinstance(a, Sent)]
    none = Acknowledge(number=2, instance=PLACE.instance, shard=PLACE.shard, ids=())
    lengths += [a.length for a in await asked.ask(none) if isinstance(a, Absorbed)]
    assert lengths == [1, 2, 2]

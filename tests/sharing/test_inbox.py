"""The shell's inbox: entries are read once, in order, and what cannot be absorbed is buried."""

import asyncio
from collections import deque
from collections.abc import Sequence

import pytest

from pointsman_shm.memory.stats import StatsPage
from pointsman_wire.coordination.fleet_requests import FleetAsk, FleetHeard
from pointsman_wire.coordination.inbox_requests import (
    Absorbed,
    Acknowledge,
    Bury,
    Entry,
    Place,
    Send,
    Sent,
)
from pointsman_wire.coordination.instance_messages import EntryHead, LinkPing
from pointsman_wire.coordination.reach.inbox import Claimed
from pointsman_wire.coordination.requests import Answer, Request
from pointsman_wire.coordination.settings import Secret
from pointsman_wire.coordination.signing import Signer
from pointsman_wire.framing import encode_frame
from pointsman_workers.core.events import (
    AcknowledgeInbox,
    HearingChanged,
    InboxRead,
    InstanceMissed,
    InstanceSaid,
    SendInstance,
    WayChanged,
)
from pointsman_workers.shell.sharing.entries import BadEntry, EntryReader
from pointsman_workers.shell.sharing.filling import FillingWatch
from pointsman_workers.shell.sharing.inbox import Inbox
from pointsman_workers.shell.sharing.outgoing import FRAMES_MAX, Outgoing, Sender

SIGNER = Signer(Secret("k" * 32))
A = Sender("A", "uid-A", 0, 1)
B = Place("B", 0)
PATIENCE_S = 10.0
LOOK_S = 0.002


def ping(number: int) -> bytes:
    """A frame that says a number."""
    return encode_frame(LinkPing(link=1, number=number))


def entry_of(*numbers: int, way: Outgoing | None = None) -> bytes:
    """A signed entry of A for B."""
    way = way or Outgoing(A, B, SIGNER)
    for number in numbers:
        assert way.add(ping(number))
    return way.entry()


def numbers_of(said: Sequence[object]) -> list[int]:
    """What was said, in order."""
    return [
        event.message.number
        for event in said
        if isinstance(event, InstanceSaid) and isinstance(event.message, LinkPing)
    ]


def test_an_entry_is_read_once_and_a_new_life_of_its_sender_counts_anew() -> None:
    """R10: delivered twice, or sent again because no answer came."""
    reader = EntryReader("B/0", SIGNER)
    entry = entry_of(1, 2, 3)
    assert numbers_of(reader.read(entry)) == [1, 2, 3]
    assert reader.read(entry) == []
    reborn = Outgoing(Sender("A", "uid-A", 0, 2), B, SIGNER)
    assert numbers_of(reader.read(entry_of(4, way=reborn))) == [4]
    assert reader.read(entry) == []


def test_that_entries_were_lost_on_their_way_is_seen_by_the_number_of_the_next_one() -> None:
    """R5, R3: a failover to a replica that lags takes what was not read yet."""
    reader, way = EntryReader("B/0", SIGNER), Outgoing(A, B, SIGNER)
    told = []
    for number in (1, 2, 3, 4):
        entry = entry_of(number, way=way)
        way.sent()
        if number != 2:
            told.append(reader.read(entry))
    assert [InstanceMissed("A", 0) in said for said in told] == [False, True, False]
    assert told[1][0] == InstanceMissed("A", 0)
    assert [numbers_of(said) for said in told] == [[1], [3], [4]]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (b"", "no whole frame"),
        (b"\x01" * 200, "cannot be read"),
        (entry_of(1)[:-1] + b"\x00", "not signed"),
        (entry_of(1)[:-3], "not signed"),
        (Outgoing(A, Place("C", 0), SIGNER).entry(), "not signed"),
        (SIGNER.signed(ping(1), sender="A/0", receiver="B/0"), "who wrote it"),
    ],
)
def test_an_entry_that_is_not_rightly_signed_or_framed_says_nothing(
    entry: bytes, words: str
) -> None:
    """D2: whoever can write to Redis alone cannot inject a job."""
    with pytest.raises(BadEntry, match=words):
        EntryReader("B/0", SIGNER).read(entry)


def test_an_entry_whose_later_frame_is_bad_says_nothing_at_all() -> None:
    head = EntryHead(instance="A", uid="uid-A", shard=0, epoch=1, number=1)
    for rest in (ping(2)[:-1], b"\x09\x00\x00\x00\x04\x00\x00\x00\x81\xa1\x61\x01\x00"):
        blob = encode_frame(head) + ping(1) + rest
        entry = SIGNER.signed(blob, sender="A/0", receiver="B/0")
        with pytest.raises(BadEntry, match="frame"):
            EntryReader("B/0", SIGNER).read(entry)


def test_what_waits_for_a_receiver_is_bounded_and_then_thrown_away_as_a_whole() -> None:
    """I9."""
    way = Outgoing(A, B, None)
    assert all(way.add(b"x") for _ in range(FRAMES_MAX))
    assert not way.add(b"x")
    assert not way.has_more
    assert way.add(ping(1))
    assert numbers_of(EntryReader("B/0", None).read(way.entry())) == [1]


class Away(Exception):
    """The pretended Redis does not answer."""


class Redis:
    """One inbox to read from, and a record of what was asked."""

    def __init__(self) -> None:
        self.claimable: deque[Entry] = deque(maxlen=100)
        self.entries: asyncio.Queue[Entry] = asyncio.Queue(maxsize=100)
        self.asked: list[Request] = []
        self.sends: deque[str] = deque(["sent"] * 100, maxlen=100)  # how the next ones fare
        self.fares: list[str] = []  # of the next acknowledgements, that fail
        self.full: set[Place] = set()
        self.is_away = False
        self.length = 0  # of every inbox
        self.holder = ""  # of the name

    async def receive(self, *, block_ms: int, count_max: int = 100) -> list[Entry]:
        if self.is_away:
            raise Away
        return [await self.entries.get()]

    async def claim(self, *, after: str = "0-0", count_max: int = 100) -> Claimed:
        if self.is_away:
            raise Away
        claimed, self.claimable = [*self.claimable], deque(maxlen=100)
        return Claimed(claimed, "")

    async def close(self) -> None:
        pass

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked += requests
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        if isinstance(request, FleetAsk):
            return FleetHeard(number=request.number, outcome="done", holder=self.holder)
        if isinstance(request, Send):
            is_full = Place(request.instance, request.shard) in self.full
            fared = "full" if is_full else self.sends.popleft()
            return Sent(number=request.number, outcome=fared, length=self.length)  # type: ignore[arg-type]
        fared = self.fares.pop() if self.fares else "done"
        return Absorbed(number=request.number, outcome=fared, length=self.length)  # type: ignore[arg-type]

    def to(self, instance: str) -> list[Send]:
        """What was sent to an instance."""
        return [s for s in self.asked if isinstance(s, Send) and s.instance == instance]

    def of(self, kind: type[Request]) -> list[Request]:
        """What was asked of one kind."""
        return [request for request in self.asked if isinstance(request, kind)]


class Yard:
    """An inbox of A on a pretended Redis; what it tells the core is kept."""

    def __init__(self) -> None:
        self.redis = Redis()
        self.told: list[object] = []
        self.inbox = self.made()
        self.inbox.name_held(is_ours=True)

    def made(self) -> Inbox:
        """An inbox that the manager has told nothing yet."""
        stats = StatsPage(bytearray(StatsPage.size()), create=True)
        filling = FillingWatch(10_000, stats, self.told.append)
        return Inbox(Sender("B", "uid-B", 0, 1), SIGNER, self.redis, stats, filling)

    async def __aenter__(self) -> "Yard":
        self.inbox.open(self.redis, Away, self.told.append, self.told.append)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.inbox.close()
        assert not [bug for bug in self.told if isinstance(bug, BaseException)]

    async def until(self, count: int, kind: type) -> list[object]:
        """Wait until so many were told, or asked, of a kind."""
        found: list[object] = []
        for _ in range(int(PATIENCE_S / LOOK_S)):
            found = [told for told in [*self.told, *self.redis.asked] if type(told) is kind]
            if len(found) >= count:
                return found
            await asyncio.sleep(LOOK_S)
        raise AssertionError(f"{len(found)} of {count}: {kind.__name__}")


async def test_what_a_predecessor_left_comes_first_and_is_acknowledged_after_its_turn() -> None:
    """R10: claimed at the start."""
    yard, way = Yard(), Outgoing(A, B, SIGNER)
    yard.redis.claimable.append(Entry("1-0", entry_of(1, way=way), deliveries=2))
    way.sent()
    yard.redis.entries.put_nowait(Entry("2-0", entry_of(2, way=way)))
    async with yard:
        read = await yard.until(2, InboxRead)
        assert numbers_of(yard.told) == [1, 2]
        assert not yard.redis.of(Acknowledge)
        for event in read:
            assert isinstance(event, InboxRead)
            yard.inbox.acknowledge(AcknowledgeInbox(event.ids))
        await yard.until(1, Acknowledge)
        ids = [i for a in yard.redis.of(Acknowledge) if isinstance(a, Acknowledge) for i in a.ids]
        assert ids == ["1-0", "2-0"]


async def test_entries_that_nobody_can_absorb_are_buried_with_the_reason() -> None:
    """R10: a poison entry, a forged one; one that is only old, or only seldom read, is tried."""
    yard, way = Yard(), Outgoing(A, B, SIGNER)
    kept = []
    for number, (deliveries, age_ms) in enumerate([(11, 70_000), (11, 1_000), (2, 70_000)], 1):
        kept.append(Entry(f"{number}-0", entry_of(number, way=way), deliveries, age_ms))
        way.sent()
    yard.redis.claimable.extend([*kept, Entry("4-0", b"forged")])
    async with yard:
        buried = await yard.until(2, Bury)
        assert [(b.id, b.why[:6]) for b in buried if isinstance(b, Bury)] == [
            ("1-0", "it was"),
            ("4-0", "it has"),
        ]
        assert numbers_of(yard.told) == [2, 3]


async def test_an_entry_that_found_no_room_is_sent_again_the_same_and_later_ones_after_it() -> None:
    yard = Yard()
    yard.redis.sends.extendleft(["unknown", "full"])
    async with yard:
        yard.inbox.send(SendInstance("A", 0, LinkPing(link=1, number=1)))
        yard.inbox.send(SendInstance("A", 0, LinkPing(link=1, number=2)))
        await yard.until(1, Send)
        yard.inbox.send(SendInstance("A", 0, LinkPing(link=1, number=3)))
        sends = await yard.until(4, Send)
        blobs = [send.blob for send in sends if isinstance(send, Send)]
        assert blobs[0] == blobs[1] == blobs[2]
        reader = EntryReader("A/0", SIGNER)
        assert [numbers_of(reader.read(blob)) for blob in blobs] == [[1, 2], [], [], [3]]
        states = [
            way.state for way in await yard.until(3, WayChanged) if isinstance(way, WayChanged)
        ]
        assert states == ["full", "stopped", "open"]


async def test_that_redis_is_away_is_told_once_and_so_is_that_it_is_back() -> None:
    """R7."""
    yard = Yard()
    yard.redis.is_away = True
    async with yard:
        await yard.until(1, HearingChanged)
        await asyncio.sleep(0.2)  # it is asked again some times meanwhile
        yard.redis.is_away = False
        heard = await yard.until(2, HearingChanged)
        assert [event.can_hear for event in heard if isinstance(event, HearingChanged)] == [
            False,
            True,
        ]


async def test_what_was_given_out_on_a_connection_that_broke_is_claimed_on_the_next_one() -> None:
    """R1, R10: Redis counts it as delivered, and nobody else will ever be given it."""
    async with Yard() as yard:
        await turns()  # nothing was left by a predecessor
        yard.redis.is_away = True  # from when it asks for what comes after this one
        yard.redis.entries.put_nowait(Entry("1-0", entry_of(1)))
        await yard.until(1, HearingChanged)
        yard.redis.claimable.append(Entry("2-0", entry_of(2), deliveries=1))
        yard.redis.is_away = False
        assert len(await yard.until(2, InboxRead)) == 2


async def test_an_acknowledgement_that_had_no_answer_is_sent_again() -> None:
    """R10: what stays in the inbox counts against its bound, and comes again."""
    async with Yard() as yard:
        yard.redis.fares = ["down", "unknown"]
        yard.inbox.acknowledge(AcknowledgeInbox(("1-0", "2-0")))
        asked = await yard.until(3, Acknowledge)
        assert [a.ids for a in asked if isinstance(a, Acknowledge)] == [("1-0", "2-0")] * 3


async def test_an_inbox_is_read_only_while_the_name_is_ours() -> None:
    """P8: two of one name would have half of the entries each."""
    yard, way = Yard(), Outgoing(A, B, SIGNER)
    yard.inbox.name_held(is_ours=False)
    yard.redis.claimable.append(Entry("1-0", entry_of(1, way=way), deliveries=2))
    async with yard:
        await turns()
        assert yard.told == [HearingChanged(can_hear=False)]
        assert len(yard.redis.claimable) == 1
        yard.inbox.name_held(is_ours=True)
        await yard.until(1, InboxRead)
        assert yard.told.count(HearingChanged(can_hear=True)) == 1
        assert numbers_of(yard.told) == [1]


async def test_an_inbox_whose_manager_is_dead_is_read_as_redis_says_whose_its_name_is() -> None:
    """The manager's word counts from its first one on; until then the next best is asked."""
    yard = Yard()
    yard.inbox = yard.made()
    yard.redis.claimable.append(Entry("1-0", entry_of(1), deliveries=1))
    yard.redis.holder = "another"
    async with yard:
        await yard.until(1, FleetAsk)
        await turns()
        assert len(yard.redis.claimable) == 1
        yard.redis.holder = "uid-B"
        await yard.until(1, InboxRead)
        yard.inbox.name_held(is_ours=False)
        yard.redis.entries.put_nowait(Entry("2-0", entry_of(2), deliveries=1))
        await yard.until(2, HearingChanged)
        asked = len(yard.redis.of(FleetAsk))
        await turns()
        assert len(yard.redis.of(FleetAsk)) == asked == 2
        assert isinstance(yard.told[-1], HearingChanged)
        assert not yard.told[-1].can_hear


async def test_inboxes_that_are_nearly_full_are_told_of_ours_and_others() -> None:
    """R10: ours when we have absorbed, another's when we have sent."""
    yard = Yard()
    yard.redis.length = 8_000
    async with yard:
        yard.inbox.send(SendInstance("A", 0, LinkPing(link=1, number=1)))
        (text,) = await yard.until(1, str)
        assert "inbox of worker 0 of instance A holds 8000 of at most 10000" in str(text)
        yard.inbox.acknowledge(AcknowledgeInbox(("1-0",)))
        texts = await yard.until(2, str)
        assert "inbox of worker 0 of instance B holds 8000" in str(texts[1])


async def turns() -> None:
    """Let what can be done without waiting for time be done."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_inbox_that_is_full_holds_up_nothing_that_is_for_others() -> None:
    """R10: a dead instance's inbox stays full for as long as it lives."""
    yard = Yard()
    yard.redis.full = {Place("C", 0)}
    async with yard:
        yard.inbox.send(SendInstance("C", 0, LinkPing(link=1, number=1)))
        await yard.until(1, WayChanged)
        for number in range(20):
            yard.inbox.send(SendInstance("A", 0, LinkPing(link=1, number=number)))
            await turns()
            assert len(yard.redis.to("A")) == number + 1
        yard.redis.full = set()
        states = [
            way.state for way in await yard.until(2, WayChanged) if isinstance(way, WayChanged)
        ]
        assert states == ["full", "open"]


async def test_a_receiver_that_was_forgotten_for_want_of_room_hears_what_it_is_sent_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """I9, R10: it knows entries by their numbers, so these never begin again."""
    monkeypatch.setattr("pointsman_workers.shell.sharing.inbox.RECEIVERS_MAX", 2)
    yard, reader = Yard(), EntryReader("A/0", SIGNER)
    heard: list[list[int]] = []
    async with yard:
        for number, receiver in enumerate(["A", "A", "C", "D", "A"], 1):
            yard.inbox.send(SendInstance(receiver, 0, LinkPing(link=1, number=number)))
            sends = await yard.until(number, Send)
            if receiver == "A":
                last = sends[-1]
                assert isinstance(last, Send)
                heard.append(numbers_of(reader.read(last.blob)))
    assert heard == [[1], [2], [5]]

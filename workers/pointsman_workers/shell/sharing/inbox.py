"""This worker's inbox, and its ways to the inboxes of others.

receiving   a connection of its own, as its reads wait, while the instance's name is ours: as the
            manager says, and before its first word as Redis does; what a predecessor was given and
            did not acknowledge is claimed first.  An entry is
            acknowledged after the turn that absorbed it; one that cannot be read is buried, and so
            is one that was delivered too often.
sending     what a turn has for one receiver is one entry, one at a time to each; a receiver whose
            inbox is full is asked again by itself, and holds up nobody else
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Counter, Gauge
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
from pointsman_wire.coordination.requests import Answer, Request
from pointsman_wire.coordination.signing import Signer
from pointsman_wire.framing import encode_frame
from pointsman_workers.core.events import (
    AcknowledgeInbox,
    HearingChanged,
    InboxRead,
    SendInstance,
    WayChanged,
    WayState,
)
from pointsman_workers.shell.sharing.backing import Answering
from pointsman_workers.shell.sharing.entries import BadEntry, EntryReader
from pointsman_workers.shell.sharing.filling import FillingWatch
from pointsman_workers.shell.sharing.outgoing import Outgoing, Sender

BLOCK_MS = 1_000
AGAIN_S = 0.05  # after an inbox was full, or Redis away
ASK_WHOSE_S = 1.0  # while the manager has not said whose the name is
FULL_AGAIN_MAX_S = 0.8  # an inbox that stays full is asked less and less often
DELIVERIES_MAX = 10
OLD_MS = 60_000
RECEIVERS_MAX = 4_096
ACKNOWLEDGED_MAX = 1_000  # in one request
FIRST = "0-0"


class Claimed(Protocol):
    """Entries that were given out before, and where to go on."""

    @property
    def entries(self) -> list[Entry]:
        """Oldest first."""

    @property
    def after(self) -> str:
        """Where to go on; "" when these were the last."""


class Reader(Protocol):
    """Who reads the stream (pointsman_wire.coordination.reach.inbox).

    `away` is what its methods raise when Redis does not do its part.
    """

    async def receive(self, *, block_ms: int, count_max: int = 100) -> list[Entry]:
        """New entries, oldest first."""

    async def claim(self, *, after: str = "0-0", count_max: int = 100) -> Claimed:
        """Entries that were given out and not acknowledged."""

    async def close(self) -> None:
        """Hang up."""


class Inbox:
    """Both directions; `broken` is told of a bug of ours."""

    def __init__(
        self,
        sender: Sender,
        signer: Signer | None,
        backing: Answering,
        stats: StatsPage,
        filling: FillingWatch,
    ) -> None:
        self._sender = sender
        self._place = Place(sender.instance, sender.shard)
        self._signer = signer
        self._backing = backing
        self._stats = stats
        self._filling = filling
        self._entries = EntryReader(sender.name, signer)
        self._ways: dict[Place, Outgoing] = {}
        # Above the numbers of all that was sent on ways that were forgotten since.
        self._numbers_from = 0
        self._full_s: dict[Place, float] = {}  # how long each that is full was left alone last
        self._left_alone: set[Place] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._has_sends = asyncio.Event()
        self._number = 0
        self._absorbed: list[str] = []
        self._buried: list[tuple[str, str]] = []  # ids and reasons
        self._can_hear = True
        self._is_ours = asyncio.Event()  # the instance's name, as far as we know
        self._is_told = False  # by the manager, which knows best
        self._post: Callable[[object], None] = lambda _: None

    def open(
        self,
        reader: Reader,
        away: type[Exception],
        post: Callable[[object], None],
        broken: Callable[[BaseException], None],
    ) -> None:
        """Begin to read and to send."""
        self._post = post

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                broken(error)

        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._receive(reader, away)),
            loop.create_task(self._send_all()),
        ]
        for task in self._tasks:
            task.add_done_callback(ended)

    async def close(self) -> None:
        """Stop; what was not acknowledged is the successor's to claim."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def name_held(self, *, is_ours: bool) -> None:
        """Read, or leave what comes to another instance of our name."""
        self._is_told = True
        if is_ours:
            self._is_ours.set()
        else:
            self._is_ours.clear()

    # -- sending -------------------------------------------------------------------------------

    def send(self, command: SendInstance) -> None:
        """Put a message on its way; what one turn has for a receiver travels together."""
        place = Place(command.instance, command.shard)
        way = self._ways.get(place)
        if way is None:
            if len(self._ways) >= RECEIVERS_MAX:
                self._forget_one()
            way = Outgoing(self._sender, place, self._signer, number=self._numbers_from)
            self._ways[place] = way
        if not way.add(encode_frame(command.message, command.payload)):
            self._stats.add(Counter.INBOX_OVERFLOWS)
            self._change(way, "lost")
        self._has_sends.set()

    def _forget_one(self) -> None:
        idle = (place for place, way in self._ways.items() if not way.has_more)
        gone = self._ways.pop(next(idle, next(iter(self._ways))))
        # Its receiver knows what it has read by the numbers: they must not begin again.
        self._numbers_from = max(self._numbers_from, gone.number)
        self._full_s.pop(gone.receiver, None)

    def acknowledge(self, command: AcknowledgeInbox) -> None:
        """The core has absorbed these entries."""
        self._absorbed += command.ids
        self._has_sends.set()

    async def _send_all(self) -> None:
        while True:
            await self._has_sends.wait()
            self._has_sends.clear()
            await asyncio.sleep(0)  # to the end of the turn that has something to send
            is_fine = True
            while is_fine and (requests := self._requests()):
                answers = await self._backing.execute(requests)
                outcomes = zip(requests, answers, strict=True)
                undone = [r for r, answer in outcomes if not self._answered(r, answer)]
                is_fine = not undone
            if not is_fine:
                self._has_sends.set()
                await asyncio.sleep(AGAIN_S)

    def _requests(self) -> list[Request]:
        own, requests = self._place, list[Request]()
        for place, way in self._ways.items():
            if way.has_more and place not in self._left_alone:
                requests.append(
                    Send(self._next(), instance=place.instance, shard=place.shard, blob=way.entry())
                )
        ids, self._absorbed = self._absorbed, []
        for start in range(0, len(ids), ACKNOWLEDGED_MAX):
            part = tuple(ids[start : start + ACKNOWLEDGED_MAX])
            requests.append(
                Acknowledge(self._next(), instance=own.instance, shard=own.shard, ids=part)
            )
        buried, self._buried = self._buried, []
        requests += [
            Bury(self._next(), instance=own.instance, shard=own.shard, id=id, why=why)
            for id, why in buried
        ]
        return requests

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _answered(self, request: Request, answer: Answer) -> bool:
        """Note what became of a request; False when it has to be made again."""
        outcome = answer.outcome
        if isinstance(request, Send):
            assert isinstance(answer, Sent), answer
            place = Place(request.instance, request.shard)
            if outcome in ("sent", "full"):
                self._filling.look(place, answer.length)
            way = self._ways.get(place)
            if way is None:
                return True
            if outcome == "sent":
                way.sent()
                self._full_s.pop(place, None)
                self._change(way, "open")
                return True
            self._change(way, "full" if outcome == "full" else "stopped")
            if outcome == "full":
                self._stats.add(Counter.INBOX_FULL)
                self._leave_alone(place)
            return outcome == "full"
        if outcome not in ("down", "unknown"):
            if isinstance(answer, Absorbed) and isinstance(request, Acknowledge):
                self._filling.look(self._place, answer.length)
            return True
        if isinstance(request, Acknowledge):
            self._absorbed += request.ids
        elif isinstance(request, Bury):
            self._buried.append((request.id, request.why))
        return False

    def _leave_alone(self, place: Place) -> None:
        """Its inbox is full: it is asked again later, and others go on meanwhile."""
        pause_s = min(2 * self._full_s.get(place, AGAIN_S / 2), FULL_AGAIN_MAX_S)
        self._full_s[place] = pause_s
        self._left_alone.add(place)
        asyncio.get_running_loop().call_later(pause_s, self._ask_again, place)

    def _ask_again(self, place: Place) -> None:
        self._left_alone.discard(place)
        self._has_sends.set()

    def _change(self, way: Outgoing, state: WayState) -> None:
        if way.state == state or (way.state == "lost" and state != "open"):
            return
        way.state = state
        self._post(WayChanged(*way.receiver, state))

    # -- receiving -----------------------------------------------------------------------------

    async def _receive(self, reader: Reader, away: type[Exception]) -> None:
        try:
            await self._read_on(reader, away)
        finally:
            await reader.close()

    async def _read_on(self, reader: Reader, away: type[Exception]) -> None:
        after = FIRST  # from where to claim, "" when all is claimed
        while True:
            if not self._is_ours.is_set():
                self._tell_hearing(can_hear=False)
                await self._wait_for_name()
                after = FIRST  # what another one of our name was given and left
            try:
                entries, after = await _next_entries(reader, after)
            except away:
                self._hear(can_hear=False)
                # What was given out on the connection that broke may not have come.
                after = after or FIRST
                await asyncio.sleep(AGAIN_S)
                continue
            self._hear(can_hear=True)
            self._take(entries)

    async def _wait_for_name(self) -> None:
        """Return once the name is ours; a manager that has just died may be away for long."""
        while not (self._is_ours.is_set() or self._is_told):
            uid, name, kept_ms = self._sender.uid, self._sender.instance, self._sender.presence_ms
            ask = FleetAsk(self._next(), name=name, uid=uid, presence_ms=kept_ms)
            [heard] = await self._backing.execute([ask])
            if self._is_told:
                break
            if isinstance(heard, FleetHeard) and (heard.outcome, heard.holder) == ("done", uid):
                self._is_ours.set()
                break
            try:
                await asyncio.wait_for(self._is_ours.wait(), ASK_WHOSE_S)
            except TimeoutError:
                continue  # nobody knows yet
        await self._is_ours.wait()

    def _hear(self, *, can_hear: bool) -> None:
        self._stats.gauge(Gauge.REDIS_DOWN, not can_hear)
        self._tell_hearing(can_hear=can_hear)

    def _tell_hearing(self, *, can_hear: bool) -> None:
        if can_hear is not self._can_hear:
            self._can_hear = can_hear
            self._post(HearingChanged(can_hear))

    def _take(self, entries: list[Entry]) -> None:
        """Hand to the core what entries say, and bury those that cannot be absorbed."""
        ids: list[str] = []
        for entry in entries:
            if entry.deliveries > DELIVERIES_MAX and entry.age_ms > OLD_MS:
                self._bury(entry, f"it was delivered {entry.deliveries} times")
                continue
            try:
                said = self._entries.read(entry.blob, is_redriven=entry.is_redriven)
            except BadEntry as error:
                self._bury(entry, str(error))
                continue
            for event in said:
                self._post(event)
            ids.append(entry.id)
        if ids:
            self._stats.add(Counter.INBOX_ENTRIES, len(ids))
            self._post(InboxRead(tuple(ids)))

    def _bury(self, entry: Entry, why: str) -> None:
        self._stats.add(Counter.DEAD_LETTERS)
        self._buried.append((entry.id, why))
        self._has_sends.set()


async def _next_entries(reader: Reader, after: str) -> tuple[list[Entry], str]:
    """What was given out before, as long as there is some, then what is new; and where to go on."""
    if not after:
        return await reader.receive(block_ms=BLOCK_MS), ""
    claimed = await reader.claim(after=after)
    return claimed.entries, claimed.after

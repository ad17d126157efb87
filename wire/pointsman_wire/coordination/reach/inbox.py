"""Reads one shard's inbox, on a connection of its own, because its reads wait.

Entries are given to the one consumer of the one group of the stream; who holds the shard's lock is
that consumer.  An entry stays until it is acknowledged (`inbox_requests.Acknowledge`), so what a
predecessor was given and did not acknowledge is claimed at the start.
"""

import asyncio
from typing import Any, NamedTuple

from pointsman_wire.coordination.connection import NotReached, Unanswered
from pointsman_wire.coordination.errors import Refusal
from pointsman_wire.coordination.inbox_requests import GROUP, Entry, Place
from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.reach.joint import Joint
from pointsman_wire.coordination.reach.routes import Routes
from pointsman_wire.coordination.reach.server import Server
from pointsman_wire.coordination.scripting.resp import Command, pack
from pointsman_wire.coordination.settings import RedisSettings
from pointsman_wire.coordination.terms import INBOX_MS

CONSUMER = "shard"
FIRST = "0-0"


class Claimed(NamedTuple):
    """Entries that were given out before, and where to go on; "" when these were the last."""

    entries: list[Entry]
    after: str


class InboxReader:
    """Receives and claims.  Every method raises NotReached when Redis does not do its part."""

    def __init__(self, settings: RedisSettings, place: Place) -> None:
        self._settings = settings
        self._key = Keys(settings.prefix).inbox(place.instance, place.shard)
        self._routes = Routes(settings)
        self._finding = Joint(
            self._routes.find, "whoever knows where the inbox is", self._patience_s
        )
        self._server: Server | None = None
        self._has_group = False

    async def receive(self, *, block_ms: int, count_max: int = 100) -> list[Entry]:
        """Entries that nobody was given yet, oldest first; empty after `block_ms` without any."""
        words: Command = ("XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", count_max)
        words += ("BLOCK", block_ms, "STREAMS", self._key, ">")
        (reply,) = await self._asked([words], wait_s=block_ms / 1000)
        if not reply:
            return []
        return [
            Entry(row[0].decode(), row[1][1], is_redriven=_is_redriven(row)) for row in reply[0][1]
        ]

    async def claim(self, *, after: str = FIRST, count_max: int = 100) -> Claimed:
        """Entries from that id on that were given out and not acknowledged, oldest first."""
        words: Command = ("XAUTOCLAIM", self._key, GROUP, CONSUMER, 0, after, "COUNT", count_max)
        claimed, clock = await self._asked([words, ("TIME",)])
        rows = [row for row in claimed[1] if row[1]]  # without those that were trimmed away
        if not rows:
            return Claimed([], _next(claimed[0]))
        first, last = rows[0][0], rows[-1][0]
        pending_words: Command = ("XPENDING", self._key, GROUP, first, last, len(rows) + 1_000)
        (pending,) = await self._asked([pending_words])
        deliveries = {row[0]: int(row[3]) for row in pending}
        now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        entries = [
            Entry(
                id=row[0].decode(),
                blob=row[1][1],
                deliveries=deliveries.get(row[0], 1),
                age_ms=max(0, now_ms - int(row[0].partition(b"-")[0])),
                is_redriven=_is_redriven(row),
            )
            for row in rows
        ]
        return Claimed(entries, _next(claimed[0]))

    async def close(self) -> None:
        """Hang up."""
        await self._finding.close()
        if self._server is not None:
            await self._server.close()

    async def _asked(self, commands: list[Command], *, wait_s: float = 0.0) -> list[Any]:
        try:
            server = await self._ready()
            async with asyncio.timeout(wait_s + self._patience_s):
                replies = await server.line.exchange([pack(words) for words in commands])
        except (TimeoutError, Unanswered, NotReached) as error:
            self._routes.stale = self._routes.may_change
            if self._server is not None and self._server.is_ready:
                self._server.line.close()  # it is not opened just now: that may go on
            raise NotReached(str(error) or "Redis did not answer in time") from error
        refused = next((reply for reply in replies if isinstance(reply, Refusal)), None)
        if refused is not None:
            self._has_group = False
            self._routes.stale = self._routes.may_change
            raise NotReached(str(refused))
        return replies

    @property
    def _patience_s(self) -> float:
        return 2 * self._settings.timeout_ms / 1000

    async def _ready(self) -> Server:
        async with asyncio.timeout(self._patience_s):
            server = await self._met()
        if not self._has_group:
            # Refused where the group exists already, which is as good.
            create = pack(("XGROUP", "CREATE", self._key, GROUP, "0", "MKSTREAM"))
            async with asyncio.timeout(self._patience_s):
                await server.line.exchange([create, pack(("PEXPIRE", self._key, INBOX_MS))])
            self._has_group = True
        return server

    async def _met(self) -> Server:
        """The server that has the inbox, which may take longer than one wait for it."""
        if self._routes.stale:
            await self._finding.done()
        address = self._routes.address_for(self._key)
        if address is None:
            raise NotReached("no server is known for the inbox")
        if self._server is None or self._server.address != address:
            if self._server is not None:
                await self._server.close()
            self._server = Server(self._settings, address)
        if not self._server.is_ready:
            self._has_group = False
            await self._server.ready()
        return self._server


def _is_redriven(row: Any) -> bool:
    return b"again" in row[1][2::2]


def _next(cursor: bytes) -> str:
    return "" if cursor == FIRST.encode() else cursor.decode()

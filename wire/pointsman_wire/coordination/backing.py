"""The backing over Redis: requests in, answers out, within the time limit, whatever Redis does.

Requests of one call travel as one pipeline (to a Cluster: one for each server).  What a server
refused without effect, and may take when asked rightly, is asked again once; everything else is
answered `down` or `unknown`.  Nothing here raises for what the network or a server does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

from pointsman_wire.coordination.connection import NotReached, Unanswered
from pointsman_wire.coordination.errors import Refusal
from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.reach.greeting import Address, settings_complaint
from pointsman_wire.coordination.reach.joint import Joint
from pointsman_wire.coordination.reach.routes import SERVERS_MAX, Routes
from pointsman_wire.coordination.reach.server import Server, Unfit
from pointsman_wire.coordination.requests import Answer, Request, failed
from pointsman_wire.coordination.scripting.calls import first_key
from pointsman_wire.coordination.scripting.replies import BadReply, decode, decode_all
from pointsman_wire.coordination.settings import RedisSettings

WATCH_S = 1.0
TURNS_MAX = 2  # so often is a request asked at most


class Again(NamedTuple):
    """A request that had no effect and may be asked once more, perhaps of a named server."""

    reason: str
    address: Address | None = None
    asking: bool = False
    loading: bool = False


class Route(NamedTuple):
    """Whom to ask, and whether as ASK wants, or with the scripts brought along."""

    address: Address
    asking: bool
    loading: bool


Told = Callable[[list[Answer] | Awaitable[list[Answer]]], None]


class RedisBacking:
    """Answers requests by scripts in Redis."""

    def __init__(self, settings: RedisSettings) -> None:
        self.settings = settings
        self.asked_again_count = 0  # requests that had no effect, and were sent once more
        self.last_trouble = ""  # in words, of whatever was refused or not reached last
        self._keys = Keys(settings.prefix)
        self._routes = Routes(settings)
        self._servers: dict[Address, Server] = {}
        self._finding = Joint(self._find, "whoever knows where Redis is", self._limit_s)
        self._watcher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Meet the servers once, and begin to watch them.

        Raises Unfit when they must not be used as they are, NotReached when one does not answer;
        after the latter the backing works all the same, as soon as it does.
        """
        if found := settings_complaint(self.settings, self._routes.first_asked):
            raise Unfit(found)
        self._watcher = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(max(1.0, self._limit_s)):
                await self._finding.done()
                for address in self._routes.addresses():
                    await self._server(address).ready()
        except Unfit:
            await self.close()
            raise
        except (TimeoutError, Unanswered) as error:
            raise NotReached(f"Redis did not answer in time: {error}") from error

    async def close(self) -> None:
        """Hang up everywhere."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        await self._finding.close()
        for server in self._servers.values():
            await server.close()

    def servers(self) -> list[Server]:
        """The servers that have been asked so far."""
        return list(self._servers.values())

    @property
    def flaw(self) -> str:
        """Why a server that is in use must not be, and what to do; "" while all are fit.

        Somebody has set it up anew since it was met.  Jobs go on; what it drops may run twice.
        """
        return next((server.flaw for server in self._servers.values() if server.flaw), "")

    @property
    def _limit_s(self) -> float:
        return self.settings.timeout_ms / 1000

    def begin(self, requests: Sequence[Request], done: Told) -> bool:
        """Ask at once, and without a task, when one server that is ready answers for everything.

        `done` is then told the answers, in order and within the time limit; or, when some of the
        requests are to be asked again, what is to be awaited for them.  False: use `execute`.
        """
        server = self._ready_server()
        if server is None:
            return False
        deadline_s = asyncio.get_running_loop().time() + self._limit_s
        try:
            came = partial(self._came, server, requests, deadline_s, done)
            server.begin(requests, came, deadline_s)
        except NotReached:  # too much waits
            return False
        return True

    def _ready_server(self) -> Server | None:
        if self.settings.cluster or self._routes.stale:
            return None
        address = self._routes.address_for("")
        server = None if address is None else self._servers.get(address)
        if server is None or not server.is_ready or not server.breaker.is_closed:
            return None
        return server

    def _came(
        self,
        server: Server,
        requests: Sequence[Request],
        deadline_s: float,
        done: Told,
        replies: list[object] | Unanswered,
    ) -> None:
        if isinstance(replies, Unanswered):
            server.note_failure(str(replies))
            found = self._unanswered(requests, server.failure)
        else:
            answers = decode_all(requests, replies)
            if answers is not None:  # nearly always
                server.breaker.succeeded()
                done(answers)
                return
            found = self._answers(server, requests, replies)
        if Again in map(type, found):
            done(self._execute_rest(requests, found, deadline_s, 1))
        else:
            done(cast(list[Answer], found))

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer all requests, in order, within the time limit."""
        deadline_s = asyncio.get_running_loop().time() + self._limit_s
        return await self._execute_rest(requests, [Again("")] * len(requests), deadline_s, 0)

    async def _execute_rest(
        self,
        requests: Sequence[Request],
        found: list[Answer | Again],
        deadline_s: float,
        turns_done: int,
    ) -> list[Answer]:
        for turn in range(turns_done, TURNS_MAX):
            left = [i for i, answer in enumerate(found) if isinstance(answer, Again)]
            if not left:
                break
            self.asked_again_count += len(left) if turn else 0
            trouble = await self._know_routes(deadline_s)
            await self._ask(requests, found, left, deadline_s)
            if trouble and self._routes.stale:
                break
        return [
            failed(request, "down", answer.reason) if isinstance(answer, Again) else answer
            for request, answer in zip(requests, found, strict=True)
        ]

    # ---- who is asked

    async def _know_routes(self, deadline_s: float) -> str:
        if not self._routes.stale:
            return ""
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._finding.done()
        except (NotReached, TimeoutError) as error:
            self.last_trouble = str(error) or "Redis did not answer in time"
            return self.last_trouble
        return ""

    async def _find(self) -> None:
        if self._routes.stale:
            await self._routes.find()
        wanted = self._routes.addresses()
        for address in [a for a in self._servers if a not in wanted]:
            await self._servers.pop(address).close()

    def _server(self, address: Address) -> Server:
        server = self._servers.get(address)
        if server is None:
            assert len(self._servers) < SERVERS_MAX
            server = self._servers[address] = Server(self.settings, address)
        return server

    async def _ask(
        self,
        requests: Sequence[Request],
        found: list[Answer | Again],
        left: list[int],
        deadline_s: float,
    ) -> None:
        groups: dict[Route, list[int]] = {}
        for index in left:
            again = found[index]
            assert isinstance(again, Again)
            address = again.address or self._address_for(requests[index])
            if address is None:
                found[index] = Again(self.last_trouble or "no server is known for it")
                continue
            route = Route(address, again.asking, again.loading)
            groups.setdefault(route, []).append(index)
        asked = [
            self._ask_one(route, [requests[i] for i in indexes], deadline_s)
            for route, indexes in groups.items()
        ]
        answered = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        for indexes, answers in zip(groups.values(), answered, strict=True):
            for index, answer in zip(indexes, answers, strict=True):
                found[index] = answer

    def _address_for(self, request: Request) -> Address | None:
        """The server for a request; only a Cluster decides that by its name."""
        key = first_key(request, self._keys) if self.settings.cluster else ""
        return self._routes.address_for(key)

    async def _ask_one(
        self, route: Route, requests: list[Request], deadline_s: float
    ) -> list[Answer | Again]:
        server = self._server(route.address)
        if not server.breaker.lets_through(time.monotonic_ns()):
            return self._not_reached(requests, f"not asked (breaker): {server.failure}")
        sent = False
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._meet(server, deadline_s)
                sent = True
                replies = await server.call(requests, asking=route.asking, loading=route.loading)
        except (NotReached, Unanswered, TimeoutError) as error:
            words = str(error) or f"Redis at {route.address} did not answer in time"
            server.note_failure(words)
            if not sent or isinstance(error, NotReached):
                return self._not_reached(requests, words)
            return self._unanswered(requests, words)
        except BaseException as error:
            server.note_failure(f"a call was given up: {type(error).__name__}")
            raise
        return self._answers(server, requests, replies)

    async def _meet(self, server: Server, deadline_s: float) -> None:
        """Have it ready.  Raises NotReached when too little is left of the call's time by then.

        To send all the same would mean to give the connection up again for want of an answer.
        """
        if server.is_ready:
            return
        await server.ready()
        if asyncio.get_running_loop().time() > deadline_s - self._limit_s / 2:
            raise NotReached(f"Redis at {server.address} was met too late for this call")

    # ---- what comes back

    def _not_reached(self, requests: list[Request], words: str) -> list[Answer | Again]:
        self.last_trouble = words
        if self._routes.may_change:
            self._routes.stale = True
            return [Again(words) for _ in requests]
        return [failed(request, "down", words) for request in requests]

    def _unanswered(self, requests: Sequence[Request], words: str) -> list[Answer | Again]:
        self.last_trouble = words
        self._routes.stale = self._routes.may_change
        return [failed(request, "unknown", words) for request in requests]

    def _answers(
        self, server: Server, requests: Sequence[Request], replies: Sequence[object]
    ) -> list[Answer | Again]:
        server.breaker.succeeded()
        pairs = zip(requests, replies, strict=True)
        return [self._answer(server, request, reply) for request, reply in pairs]

    def _answer(self, server: Server, request: Request, reply: object) -> Answer | Again:
        if isinstance(reply, Refusal):
            return self._refused(server, request, reply)
        try:
            return decode(request, reply)
        except BadReply as error:
            self.last_trouble = str(error)
            return failed(request, "unknown", str(error))

    def _refused(self, server: Server, request: Request, refusal: Refusal) -> Answer | Again:
        if refusal.trouble.treatment != "retry":
            self.last_trouble = str(refusal)
            return failed(request, "down", str(refusal))
        if refusal.code == "NOSCRIPT":
            return Again(str(refusal), loading=True)
        if refusal.code == "ASK":
            host, _, port = refusal.text.partition(" ")[2].rpartition(":")
            return Again(str(refusal), Address(host, int(port)), asking=True)
        server.lost_role()
        self._routes.stale = self._routes.may_change
        return Again(str(refusal))

    # ---- the watch

    async def _watch(self) -> None:
        """Once a second: is each server still the same primary, and the Sentinels' choice?"""
        while True:
            await asyncio.sleep(WATCH_S)
            self._routes.stale = self._routes.stale or self._routes.are_told
            await self._know_routes(asyncio.get_running_loop().time() + self._limit_s)
            for server in self.servers():
                await self._look_at(server)

    async def _look_at(self, server: Server) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                await server.watch()
        except (NotReached, Unanswered, TimeoutError) as error:
            self.last_trouble = str(error) or f"Redis at {server.address}: no answer"

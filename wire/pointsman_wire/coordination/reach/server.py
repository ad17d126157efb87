"""One server: its line, its scripts, its reign, its breaker."""

import time
from collections.abc import Sequence

from pointsman_wire.coordination.breaker import Breaker
from pointsman_wire.coordination.connection import Line, NotReached, Told
from pointsman_wire.coordination.errors import Refusal
from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.reach.greeting import (
    Address,
    Greeting,
    complaint,
    read_greeting,
)
from pointsman_wire.coordination.reach.joint import Joint
from pointsman_wire.coordination.requests import Request
from pointsman_wire.coordination.scripting.call import Site
from pointsman_wire.coordination.scripting.calls import encode
from pointsman_wire.coordination.scripting.files import SCRIPT_FILES
from pointsman_wire.coordination.scripting.packing import Packer
from pointsman_wire.coordination.scripting.resp import pack
from pointsman_wire.coordination.settings import RedisSettings
from pointsman_wire.coordination.terms import Terms

INFO = [pack(("INFO", section)) for section in ("server", "replication", "memory")]
LOADS = [pack(("SCRIPT", "LOAD", file.text)) for file in SCRIPT_FILES.values()]
ASKING = pack(("ASKING",))


class Unfit(NotReached):
    """The server must not be used as it is; the message says what to do."""


class Server:
    """Everything that is known of the server at one address."""

    def __init__(self, settings: RedisSettings, address: Address) -> None:
        self.address = address
        self.line = Line(settings, address)
        self.breaker = Breaker(
            failures_max=settings.breaker_failures, open_ns=int(settings.breaker_s * 1e9)
        )
        terms = Terms(int(settings.binding_lease_s * 1000), settings.inbox_max)
        self._keys, self._terms = Keys(settings.prefix), terms
        self._site = Site(self._keys, terms, "")
        self._packer = Packer(self._site)
        self._opening = Joint(self._open, f"Redis at {address}", settings.timeout_ms / 1000)
        self._met = False
        self.failure = ""  # in words, what the latest call failed by that was not answered
        self.flaw = ""  # why it must not be used, since it was met; it is used all the same

    @property
    def reign(self) -> str:
        """The reign in which it was met; empty before that."""
        return self._site.reign

    async def ready(self) -> None:
        """Connect, judge and load the scripts, unless that is done.

        Raises Unfit for what the operator must mend, NotReached or Unanswered for the rest.
        """
        if not self.is_ready:
            await self._opening.done()

    async def _open(self) -> None:
        self._met = False
        self.line.close()
        await self.line.open()
        try:
            greeting = await self._greet([*INFO, *LOADS])
            if found := complaint(greeting, self.address):
                raise Unfit(found)
        except NotReached:
            self.line.close()
            raise
        self._rule(greeting)
        self._met, self.flaw = True, ""

    async def close(self) -> None:
        """Hang up."""
        await self._opening.close()
        self.line.close()

    @property
    def is_ready(self) -> bool:
        """Whether a call may go out at once."""
        return self._met and self.line.is_open

    def note_failure(self, words: str) -> None:
        """A call was not answered."""
        self.failure = words
        self.breaker.failed(time.monotonic_ns())

    def lost_role(self) -> None:
        """It said that it is not the one to ask (any more): meet it anew before the next call."""
        self._met = False

    async def _greet(self, commands: Sequence[bytes]) -> Greeting:
        replies = await self.line.exchange(commands)
        refused = next((reply for reply in replies if isinstance(reply, Refusal)), None)
        if refused is not None:
            fatal = refused.trouble.treatment == "fatal"
            raise (Unfit if fatal else NotReached)(str(refused))
        texts = [reply for reply in replies[: len(INFO)] if isinstance(reply, bytes)]
        greeting = read_greeting(b"\r\n".join(texts))
        if greeting.role != "master":
            raise NotReached(f"Redis at {self.address} is no primary (role {greeting.role})")
        return greeting

    def _rule(self, greeting: Greeting) -> None:
        if greeting.reign != self.reign:
            self._site = Site(self._keys, self._terms, greeting.reign)
            self._packer = Packer(self._site)

    async def watch(self) -> None:
        """Look whether it is still the same primary in the same reign; else hang up."""
        if not (self._met and self.line.is_open):
            return
        greeting = await self._greet(INFO)
        self.flaw = complaint(greeting, self.address) or ""
        if greeting.reign != self.reign:
            self.line.close()
            raise NotReached(f"Redis at {self.address} has begun a new reign")

    async def call(
        self, requests: Sequence[Request], *, asking: bool = False, loading: bool = False
    ) -> list[object]:
        """Run the scripts of these requests, in order, as one pipeline.

        `asking` as ASK wants; `loading` brings the scripts along, for a server that lost them.
        """
        loads: list[bytes] = []
        if loading:
            scripts = sorted({encode(request, self._site).script for request in requests})
            loads = [pack(("SCRIPT", "LOAD", SCRIPT_FILES[name].text)) for name in scripts]
        commands = [self._packer.pack(request) for request in requests]
        if asking:
            commands = [part for command in commands for part in (ASKING, command)]
        replies = await self.line.exchange([*loads, *commands])
        return replies[1::2] if asking else replies[len(loads) :]

    def begin(self, requests: Sequence[Request], done: Told, until_s: float) -> None:
        """As `call`, but at once and without a task; unanswered until_s, the line is given up.

        Raises NotReached when the line is not open; else `done` is told the replies.
        """
        pack_one = self._packer.pack
        packed = b"".join([pack_one(request) for request in requests])
        self.line.send(packed, len(requests), done, until_s)

"""The manager's way to the other instances: what its core asks of Redis, signed, and the answers.

One request is under way at a time, in a task of its own with the backing's time limit, so the loop
never waits for Redis.  What an instance tells is signed with the cluster's key under its name; what
does not bear a right signature is treated as if it were not there.  Without a key nothing is
signed, which is borne only where nobody but this host can reach Redis.
"""

import asyncio
import hashlib
from collections.abc import Callable

import msgspec

from pointsman_sched.manager.redis_options import FleetUnfit
from pointsman_shm.memory.segment import peek_segment
from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.connection import NotReached, main_address, sentinel_addresses
from pointsman_wire.coordination.fleet_requests import (
    FleetAsk,
    FleetHeard,
    FleetLeave,
    FleetPair,
    FleetRedeem,
    FleetRedeemed,
    FleetSettle,
    FleetTell,
    Part,
)
from pointsman_wire.coordination.reach.server import Unfit
from pointsman_wire.coordination.requests import Answer, Request
from pointsman_wire.coordination.settings import RedisSettings
from pointsman_wire.coordination.signing import Signer

# Under the signature, so that what is shown in one place cannot be put into another.
PRESENCE, SETTINGS, NODES = "fleet/presence", "fleet/settings", "fleet/nodes/"
PAIRING = "fleet/pairing/"


class FederationLink:
    """Carries out fleet requests; `post` gets each answer, `broken` a bug of ours.

    `warn` is told when Redis was set up so, while in use, that it would be refused at a start.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        post: Callable[[Answer], None],
        say: Callable[[str], None],
        warn: Callable[[str], None],
        broken: Callable[[str], None],
    ) -> None:
        self._signer = _signer_of(settings)
        self._backing = RedisBacking(settings)
        self._post = post
        self._say = say
        self._warn = warn
        self._flaw = ""  # of Redis, as it was told last
        self._broken = broken
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsigned: set[str] = set()

    async def open(self, claim: FleetAsk, catalog: str) -> None:
        """Meet Redis and claim the instance's name.

        Raises FleetUnfit if Redis must not be used, or if another living instance has the name;
        that Redis is away is borne: the core goes on without the others.  So it does under a name
        that is another's where a predecessor has left this catalog: its service lives, and may
        have lost the name while it was cut off.
        """
        try:
            await self._backing.open()
        except Unfit as error:
            raise FleetUnfit(str(error)) from error
        except NotReached as error:
            self._say(f"{error}; goes on without the other instances until it answers")
            return
        (answer,) = await self._backing.execute([claim])
        if not isinstance(answer, FleetHeard) or answer.holder in ("", claim.uid):
            return
        if not peek_segment(catalog, 1):
            raise FleetUnfit(
                f"another instance named {claim.name!r} (uid {answer.holder}) lives in this fleet: "
                "give this one another name (server.instance, --instance); if the other is gone "
                f"for good, its name is free {claim.presence_ms // 1000} s after its death"
            )

    async def close(self) -> None:
        """Give up what is under way, and hang up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._backing.close()

    def is_redis_unfit(self) -> bool:
        """Look how Redis is set up now; what has changed is said."""
        flaw = self._backing.flaw
        if flaw != self._flaw:
            self._flaw = flaw
            self._warn(flaw or "Redis is set up again as it has to be: it drops no keys")
        return bool(flaw)

    def ask(self, request: Request) -> None:
        """Begin a request; its answer is posted."""
        task = asyncio.get_running_loop().create_task(self._carry_out(request))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken(f"ends: meeting the other instances has a bug: {error!r}")

    async def _carry_out(self, request: Request) -> None:
        sent = self._signed(request)
        (answer,) = await self._backing.execute([sent])
        if isinstance(request, FleetAsk) and isinstance(answer, FleetHeard):
            answer = self._checked(request.name, answer)
        elif isinstance(sent, FleetRedeem) and isinstance(answer, FleetRedeemed):
            answer = self._vouched(sent.code, answer)
        self._post(answer)

    # ---- signatures

    def _signed(self, request: Request) -> Request:
        signer = self._signer
        if isinstance(request, FleetPair | FleetRedeem):
            return self._hidden(request)
        if signer is None:
            return request
        if isinstance(request, FleetTell):
            name = request.name
            parts = tuple(
                (field, signer.signed(blob, sender=name, receiver=NODES + field))
                for field, blob in request.parts
            )
            presence = signer.signed(request.presence, sender=name, receiver=PRESENCE)
            return msgspec.structs.replace(request, presence=presence, parts=parts)
        if isinstance(request, FleetLeave):
            word = signer.signed(request.presence, sender=request.name, receiver=PRESENCE)
            return msgspec.structs.replace(request, presence=word)
        if isinstance(request, FleetSettle):
            settings = signer.signed(request.settings, sender=request.name, receiver=SETTINGS)
            return msgspec.structs.replace(request, settings=settings)
        return request

    def _hidden(self, request: FleetPair | FleetRedeem) -> Request:
        """Who can read Redis must not learn codes: they are hidden under the cluster's key."""
        signer = self._signer
        if signer is None:  # only where nobody but this host can reach Redis
            code = hashlib.sha256(request.code.encode("utf-8", "surrogatepass")).hexdigest()
            return msgspec.structs.replace(request, code=code)
        code = signer.hidden(request.code, purpose=PAIRING)
        if isinstance(request, FleetRedeem):
            return msgspec.structs.replace(request, code=code)
        node = signer.signed(request.node, sender=request.name, receiver=PAIRING + code)
        return msgspec.structs.replace(request, code=code, node=node)

    def _vouched(self, code: str, answer: FleetRedeemed) -> FleetRedeemed:
        """Take a node's id only from an instance of this fleet."""
        if self._signer is None or answer.outcome != "paired":
            return answer
        node = self._blob(answer.node, answer.by, PAIRING + code)
        if node is None:
            return FleetRedeemed(number=answer.number, outcome="wrong")
        return msgspec.structs.replace(answer, node=node)

    def _checked(self, own: str, heard: FleetHeard) -> FleetHeard:
        """Leave out what is not rightly signed."""
        if self._signer is None:
            return heard
        presences: dict[str, bytes] = {}
        for name, blob in heard.presences.items():
            found = self._blob(blob, name, PRESENCE)
            if found is not None:
                presences[name] = found
        parts: dict[Part, bytes] = {}
        for part, blob in heard.parts.items():
            found = self._blob(blob, part.instance, NODES + part.field)
            if found is not None:
                parts[part] = found
        settings = heard.settings
        if settings:
            settings = self._blob(settings, heard.settings_by, SETTINGS) or b""
        return msgspec.structs.replace(heard, presences=presences, parts=parts, settings=settings)

    def _blob(self, entry: bytes, sender: str, receiver: str) -> bytes | None:
        assert self._signer is not None
        blob = self._signer.checked(entry, sender=sender, receiver=receiver)
        if blob is None and len(self._unsigned) < 1_000 and sender not in self._unsigned:
            self._unsigned.add(sender)
            self._say(
                f"what stands in Redis for instance {sender!r} does not bear the cluster's "
                "signature and is not heard: have all instances the same cluster key?"
            )
        return blob


def _signer_of(settings: RedisSettings) -> Signer | None:
    if settings.cluster_key:
        try:
            return Signer(settings.cluster_key)
        except ValueError as error:
            raise FleetUnfit(str(error)) from error
    addresses = sentinel_addresses(settings) or [main_address(settings)]
    far = [address for address in addresses if not address.is_local]
    if far:
        raise FleetUnfit(
            f"redis: {far[0]} is not on this host, and there is no cluster key: make one with "
            "`openssl rand -hex 32`, in the file that redis.cluster_key_file names or in "
            "POINTSMAN_CLUSTER_KEY, the same at every instance"
        )
    return None

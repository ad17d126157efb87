"""Both backings as the contract suite asks them: the same calls, time that the test lets pass."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from redis_model.model import Model
from redis_yard.rights import PASSWORD, USER
from redis_yard.server import RedisServer

from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import (
    Answer,
    Bind,
    Bound,
    Freeze,
    Owner,
    Republish,
    Republished,
    Request,
    RequestKey,
    Thaw,
    Touched,
)
from pointsman_wire.coordination.settings import NO_SECRET, RedisSettings, Secret

ALICE = Owner("alice", "uid-a", 0)
BOB = Owner("bob", "uid-b", 1)
KEY = RequestKey("acme", "s-1", "r-1")
BUCKET = bucket_of(KEY)
LEASE_MS = 45_000
PATIENT_MS = 10_000  # the time limit where no test is about it: machines are shared


Told = list[Answer] | Awaitable[list[Answer]]


class Asked(Protocol):
    """A backing under test."""

    async def ask(self, *requests: Request) -> list[Answer]:
        """Answer as one pipeline."""

    def pass_time(self, by_ms: int) -> None:
        """Let the backing's clock go on."""

    def flush(self) -> None:
        """Make it forget everything."""


class AskedModel:
    """The model, on a clock of its own."""

    def __init__(self) -> None:
        self.model = Model()
        self.now_ms = 1_700_000_000_000

    async def ask(self, *requests: Request) -> list[Answer]:
        return self.model.answer(requests, self.now_ms)

    def pass_time(self, by_ms: int) -> None:
        self.now_ms += by_ms

    def flush(self) -> None:
        self.model.flush()


class AskedRedis:
    """A real server, as the user that docs/redis.md describes."""

    def __init__(self, server: RedisServer, backing: RedisBacking) -> None:
        self.server = server
        self.backing = backing

    async def ask(self, *requests: Request) -> list[Answer]:
        """As a worker asks: without a task where that can be."""
        told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        if not self.backing.begin(requests, told.set_result):
            return await self.backing.execute(requests)
        answers = await told
        return answers if isinstance(answers, list) else await answers

    def pass_time(self, by_ms: int) -> None:
        self.server.pass_time(by_ms)

    def flush(self) -> None:
        assert self.server.command("FLUSHALL") == b"OK"


def settings_for(server: RedisServer, **others: object) -> RedisSettings:
    """How the user of the page reaches a test's server by its socket."""
    values: dict[str, object] = {
        "url": f"unix://{server.socket}",
        "username": USER,
        "password": Secret(PASSWORD),
        "timeout_ms": PATIENT_MS,
        "cluster_key": NO_SECRET,
        **others,
    }
    return RedisSettings(**values)  # type: ignore[arg-type]


async def bound(asked: Asked, request: Request) -> Bound:
    """The one answer of a Bind or Lookup."""
    (answer,) = await asked.ask(request)
    assert isinstance(answer, Bound), answer
    return answer


async def opened(asked: Asked, bucket: int = BUCKET, *owners: Owner) -> str:
    """Freeze and thaw a bucket, published by these owners; the generation."""
    first, *others = owners or (ALICE,)
    (frozen,) = await asked.ask(Freeze(number=1, bucket=bucket, owner=first, proposal="first"))
    assert isinstance(frozen, Touched), frozen
    assert frozen.state == "frozen", frozen
    generation = frozen.generation
    for owner in (first, *others):
        (published,) = await asked.ask(
            Republish(number=2, bucket=bucket, owner=owner, generation=generation, bindings=())
        )
        assert isinstance(published, Republished), published
        assert published.outcome == "done", published
    members = tuple(owner.member for owner in (first, *others))
    (thawed,) = await asked.ask(
        Thaw(number=3, bucket=bucket, owner=first, generation=generation, members=members)
    )
    assert isinstance(thawed, Touched), thawed
    assert thawed.state == "open", thawed
    return generation


def bind(owner: Owner = ALICE, **others: object) -> Bind:
    """A Bind with what most tests do not care about."""
    values: dict[str, object] = {
        "number": 10,
        "key": KEY,
        "job_id": f"job-of-{owner.instance}",
        "body": 7 << 32 | 1234,
        "owner": owner,
        "fence": 1,
        **others,
    }
    return Bind(**values)  # type: ignore[arg-type]

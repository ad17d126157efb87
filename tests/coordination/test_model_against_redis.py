"""Random sequences of requests, put to the model and to a real server: the same answers."""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from coordination.asking import ALICE, BOB, BUCKET, KEY, Asked, AskedModel, AskedRedis, settings_for
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_yard.server import RedisServer

from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import (
    Answer,
    Bind,
    Binding,
    End,
    Freeze,
    Held,
    Kept,
    Lookup,
    Move,
    Owner,
    Release,
    Renew,
    Republish,
    Request,
    RequestKey,
    Seen,
    SessionKey,
    SessionNotes,
    SessionRead,
    SessionWrite,
    Thaw,
    Touch,
)

REIGN = "<reign>"
OTHERS = (KEY._replace(request_id=f"r-{n}") for n in range(2, 10_000))
KEYS = [KEY, next(key for key in OTHERS if bucket_of(key) == BUCKET)]
# No sum of these meets a lease, a gap or a life to the millisecond: real time goes on meanwhile.
STEPS_MS = [5_500, 41_000, 46_500, 46_500, 301_500, 700_500]

OWNERS = [ALICE, ALICE, BOB, Owner("alice", "uid-new", 0)]
FENCES = [1, 1, 1, 2, 3]
TARGETS: list[Any] = ["CREATED", "CREATED", "DISPATCHED", "ACCEPTED", "RUNNING", "RELEASED"]
STATES: list[Any] = ["CREATED", "RUNNING", "FINISHED", "RELEASED"]


class Script:
    """Makes a random sequence in which much goes right, so that there is something to go wrong."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.makers: list[Callable[[], Request | int]] = [
            *[self.bind] * 30,
            *[self.end] * 8,
            *[self.renew] * 8,
            *[self.move] * 14,
            *[lambda: self.random.choice(STEPS_MS)] * 12,
            *[self.republish] * 6,
            *[self.thaw] * 6,
            self.lookup,
            self.lookup,
            self.lookup,
            self.release,
            self.release,
            self.kept,
            self.kept,
            self.touch,
            self.freeze,
            self.session,
            self.session,
            lambda: 301_500,
            lambda: 700_500,
        ]

    def steps(self, count: int) -> list[Request | int]:
        opening = Freeze(number=1, bucket=BUCKET, owner=ALICE, proposal="g1")
        opened = Thaw(
            number=2, bucket=BUCKET, owner=ALICE, generation=f"{REIGN}:g1", members=(), overdue=True
        )
        random_steps = [self.random.choice(self.makers)() for _ in range(count)]
        return [opening, opened, *random_steps]

    def one(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def generation(self) -> str:
        return f"{REIGN}:{self.one('g1', 'g1', 'g1', 'g2')}"

    def seen(self) -> Seen:
        rare = Seen(self.generation(), self.random.randrange(40))
        return self.one(*[Seen()] * 7, rare)  # type: ignore[no-any-return]

    def of_one(self) -> dict[str, Any]:
        choose = self.random.choice
        return {"number": 9, "key": choose(KEYS), "owner": choose(OWNERS), "fence": choose(FENCES)}

    def of_all(self) -> dict[str, Any]:
        return {"number": 9, "bucket": BUCKET, "owner": self.random.choice(OWNERS)}

    def bind(self) -> Request:
        job, body = self.one("job-1", "job-2"), self.one(5, 5, 5, 5, 6)
        keep = self.one(None, b"keep\xff")
        return Bind(job_id=job, body=body, keep=keep, seen=self.seen(), **self.of_one())

    def lookup(self) -> Request:
        values = self.of_one()
        del values["fence"]
        return Lookup(seen=self.seen(), **values)

    def end(self) -> Request:
        result, released = self.one(None, b"", b"r\x00"), self.one(True, False)
        return End(ok=True, keep_s=30.25, result=result, released=released, **self.of_one())

    def release(self) -> Request:
        return Release(**self.of_one())

    def renew(self) -> Request:
        held = [Held(key, self.random.choice(FENCES)) for key in KEYS]
        lapses = self.random.random() < 0.2
        return Renew(held=tuple(held[: self.random.randrange(3)]), lapses=lapses, **self.of_all())

    def move(self) -> Request:
        to = self.random.choice(TARGETS)
        return Move(attempt=self.one(0, 1, 1, 2), to=to, **self.of_one())

    def kept(self) -> Request:
        return Kept(count_max=self.one(1, 100), **self.of_all())

    def touch(self) -> Request:
        return Touch(seen=self.seen(), **self.of_all())

    def freeze(self) -> Request:
        against = self.one("", self.generation())
        return Freeze(proposal=self.one("g1", "g2"), against=against, **self.of_all())

    def thaw(self) -> Request:
        members = self.one(("alice/0",), ("alice/0", "bob/1"), ())
        overdue = self.one(True, False)
        generation = self.generation()
        return Thaw(generation=generation, members=members, overdue=overdue, **self.of_all())

    def republish(self) -> Request:
        bindings = tuple(self.binding(key) for key in self.random.sample(KEYS, self.one(0, 1, 2)))
        generation, last = self.generation(), self.one(True, False)
        return Republish(generation=generation, bindings=bindings, last=last, **self.of_all())

    def binding(self, key: RequestKey) -> Binding:
        return Binding(
            key=key,
            job_id=self.one("job-1", "job-2"),
            body=5,
            fence=self.random.choice(FENCES),
            state=self.random.choice(STATES),
            attempt=self.one(0, 1),
            ok=self.one(True, False),
            keep_s=30.25,
            keep=self.one(None, b"keep"),
            result=self.one(None, b"r"),
        )

    def session(self) -> Request:
        key = SessionKey("a", "s")
        notes = SessionNotes(pool=self.one(None, 3), owner=self.random.choice(OWNERS))
        write = SessionWrite(number=9, key=key, notes=notes)
        return self.one(write, SessionRead(number=9, key=key))  # type: ignore[no-any-return]


def in_reign(request: Request, reign: str) -> Request:
    """The request with generations as they are called in that reign."""
    text = msgspec.json.encode(request).replace(REIGN.encode(), reign.encode())
    made: Request = msgspec.json.decode(text, type=type(request))
    return made


def without_reign(answer: Answer) -> Answer:
    """The answer with the generation as it is called in no reign."""
    label = answer.generation.rpartition(":")[2]
    return msgspec.structs.replace(answer, generation=label)


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[Any], Any]]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="module")
def real(redis_server: RedisServer, run: Callable[[Any], Any]) -> Iterator[AskedRedis]:
    async def opened() -> AskedRedis:
        backing = RedisBacking(settings_for(redis_server))
        await backing.open()
        return AskedRedis(redis_server, backing)

    asked: AskedRedis = run(opened())
    try:
        yield asked
    finally:
        run(asked.backing.close())


@settings(max_examples=120)
@given(seed=st.integers(0, 2**32))
def test_model_and_redis_answer_any_sequence_alike(
    real: AskedRedis, run: Callable[[Any], Any], seed: int
) -> None:
    """I2, I3, I11: what is shown of the model holds of the scripts, and the reverse."""
    model = AskedModel()
    real.flush()
    run(compare(model, real, Script(seed).steps(60)))
    listed = sorted(model.model.store.entries)
    alive = [name for name in listed if model.model.store.get(name, object) is not None]
    assert real.server.keys() == alive


async def compare(model: AskedModel, real: AskedRedis, steps: list[Any]) -> None:
    reigns = {id(model): model.model.store.reign, id(real): real_reign(real)}

    async def answer(asked: Asked, request: Request) -> Answer:
        (answer,) = await asked.ask(in_reign(request, reigns[id(asked)]))
        return without_reign(answer)

    for step in steps:
        if isinstance(step, int):
            model.pass_time(step)
            real.pass_time(step)
            model.model.store.now_ms = model.now_ms
            continue
        assert await answer(model, step) == await answer(real, step), step


def real_reign(real: AskedRedis) -> str:
    (reign,) = {server.reign for server in real.backing.servers()}
    return reign

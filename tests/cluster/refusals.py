"""Redis refuses, for real: the states that a server can be in, while jobs are asked for.

New jobs are refused meanwhile, which says why; no process dies of it; and when the state is over,
everybody gets results again, with no operator.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random

from cluster.fleet import Fleet
from cluster.troubles import SHORT_S, Trouble
from cluster.views import tells_trouble
from redis_yard.fleets import wait_until
from redis_yard.rights import PASSWORD, USER
from redis_yard.server import RedisServer

State = Callable[[RedisServer], AbstractAsyncContextManager[None]]
NOWHERE = "REPLICAOF 127.0.0.1 1"
LOADS_FOR_S = 3.0


def _order(server: RedisServer, *orders: str) -> None:
    for order in orders:
        reply = server.command(*order.split())
        assert not isinstance(reply, Exception), (order, reply)


@asynccontextmanager
async def ordered(server: RedisServer, begin: str, end: str) -> AsyncIterator[None]:
    """Give one list of orders, and another one afterwards; semicolons stand between them."""
    _order(server, *begin.split(";"))
    try:
        yield
    finally:
        _order(server, *end.split(";"))


@asynccontextmanager
async def broken_disk(server: RedisServer) -> AsyncIterator[None]:
    """Its snapshots cannot be written."""
    place = server.directory / "dump.rdb"
    place.unlink(missing_ok=True)
    (place / "in the way").mkdir(parents=True)
    reply = server.command("CONFIG", "SET", "save", "3600 1")
    assert reply == b"OK", reply
    _order(server, "BGSAVE")
    failed = b"rdb_last_bgsave_status:err"
    await asyncio.to_thread(wait_until, lambda: failed in server.command("INFO"), "it failed")
    try:
        yield
    finally:
        server.command("CONFIG", "SET", "save", "")
        shutil.rmtree(place)


@asynccontextmanager
async def endless_script(server: RedisServer) -> AsyncIterator[None]:
    """Somebody's script never ends."""
    _order(server, "CONFIG SET lua-time-limit 1")
    running = asyncio.create_task(
        asyncio.to_thread(server.command, "EVAL", "while true do end", 0, wait_s=60.0)
    )
    try:
        yield
    finally:
        while not running.done():
            server.command("SCRIPT", "KILL")
            await asyncio.sleep(0.02)
        await running


@asynccontextmanager
async def slow_start(server: RedisServer) -> AsyncIterator[None]:
    """It was started anew, and reads its data."""
    keeps_all = server.command("CONFIG", "GET", "appendonly")[1] == b"yes"
    options, keys = server.options, server.command("DBSIZE")
    _order(server, "SAVE")
    server.kill()
    server.options = [
        *options,
        "appendonly no",
        f"key-load-delay {int(LOADS_FOR_S * 1e6) // max(1, keys)}",
        "loading-process-events-interval-bytes 1024",  # it answers between keys
    ]
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    try:
        yield
    finally:
        await starting
        server.options = options
        if keeps_all:
            _order(server, "CONFIG SET appendonly yes")


STATES: dict[str, State] = {
    "OOM": partial(ordered, begin="CONFIG SET maxmemory 1", end="CONFIG SET maxmemory 0"),
    "READONLY": partial(ordered, begin=NOWHERE, end="REPLICAOF NO ONE"),
    "BUSY": endless_script,
    "MISCONF": broken_disk,
    "LOADING": slow_start,
    "NOREPLICAS": partial(
        ordered,
        begin="CONFIG SET min-replicas-to-write 1",
        end="CONFIG SET min-replicas-to-write 0",
    ),
    "MASTERDOWN": partial(
        ordered,
        begin=f"CONFIG SET replica-serve-stale-data no;{NOWHERE}",
        end="REPLICAOF NO ONE;CONFIG SET replica-serve-stale-data yes",
    ),
    "NOPERM": partial(
        ordered, begin=f"ACL SETUSER {USER} -evalsha", end=f"ACL SETUSER {USER} +evalsha"
    ),
    "WRONGPASS": partial(
        ordered,
        begin=f"ACL SETUSER {USER} resetpass >another;CLIENT KILL USER {USER}",
        end=f"ACL SETUSER {USER} resetpass >{PASSWORD}",
    ),
}


# What an instance may tell instead: it has looked for the primary, and found none.
TOLD = {"READONLY": "no primary", "MASTERDOWN": "no primary"}


async def refuse(fleet: Fleet, dice: Random, *, code: str) -> None:
    """Have the server in a state for a while; every instance says in which."""
    parts = [instance.parts() for instance in fleet.instances]
    fault = fleet.fault(f"redis-refuses-{code}", "redis")
    async with STATES[code](fleet.redis):
        words = {code, TOLD.get(code, code)}
        await asyncio.gather(*(tells_trouble(one, words) for one in fleet.instances))
        await asyncio.sleep(SHORT_S * dice.random())
    await fleet.come_back(fleet.open_jobs)
    for instance, before in zip(fleet.instances, parts, strict=True):
        died = before.items() - instance.parts().items()
        assert not died, f"{instance.nickname}: a refusal has ended {died}"
    fleet.healed(fault)


REFUSALS = tuple(
    Trouble(name=f"refuse_{code.lower()}", ids=("R11",), act=partial(refuse, code=code))
    for code in STATES
)

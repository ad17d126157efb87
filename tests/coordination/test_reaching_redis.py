"""Reaching the right server: Cluster, Sentinel, TLS, another primary; and whom it refuses."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from coordination.asking import (
    ALICE,
    BOB,
    BUCKET,
    PATIENT_MS,
    AskedRedis,
    bind,
    bound,
    opened,
    settings_for,
)
from faults.proxy import Weather, proxy_to
from msgspec.structs import replace
from redis_yard.fleets import certificates, cluster, wait_until, watched
from redis_yard.programs import needed, redis_program
from redis_yard.rights import acl_line
from redis_yard.server import RedisServer, running

from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.connection import Line, NotReached, main_address, slot_of
from pointsman_wire.coordination.errors import Refusal
from pointsman_wire.coordination.inbox_requests import Place, Send
from pointsman_wire.coordination.keys import BUCKET_COUNT, Keys, bucket_of
from pointsman_wire.coordination.reach.inbox import InboxReader
from pointsman_wire.coordination.reach.server import Unfit
from pointsman_wire.coordination.requests import (
    Bound,
    RequestKey,
    SessionKey,
    SessionNotes,
    SessionWrite,
    Touch,
    Touched,
)
from pointsman_wire.coordination.scripting.resp import Command, pack
from pointsman_wire.coordination.settings import NO_SECRET, RedisSettings, Secret

pytestmark = pytest.mark.slow


@contextlib.asynccontextmanager
async def reached(server: RedisServer, settings: RedisSettings) -> AsyncIterator[AskedRedis]:
    backing = RedisBacking(settings)
    try:
        await backing.open()
        yield AskedRedis(server, backing)
    finally:
        await backing.close()


async def opens_all(asked: AskedRedis) -> None:
    for bucket in range(BUCKET_COUNT):
        await opened(asked, bucket)


async def test_a_cluster_answers_one_call_from_all_its_servers(tmp_path: Path) -> None:
    """Names of one script share a slot; a call is divided by servers, and put together again."""
    program = needed(redis_program())
    with cluster(program, tmp_path, [acl_line()]) as servers:
        url = f"redis://127.0.0.1:{servers[0].port}"
        async with reached(servers[0], settings_for(servers[0], url=url, cluster=True)) as asked:
            await opens_all(asked)
            keys = [RequestKey("acme", "s", f"r-{n}") for n in range(200)]
            notes = SessionWrite(number=999, key=SessionKey("a", "s"), notes=SessionNotes())
            binds = [bind(ALICE, number=n, key=k) for n, k in enumerate(keys)]
            answers = await asked.ask(*binds, notes)
            assert [answer.number for answer in answers] == [*range(200), 999]
            assert {a.outcome for a in answers if isinstance(a, Bound)} == {"won"}
            assert len({server.address for server in asked.backing.servers()}) == 3
            # The slot of one bucket moves away: MOVED, the map is read again, nothing is lost.
            await moves_a_slot(asked, servers)
            found = await bound(asked, bind(BOB, key=keys[0]))
            assert (found.outcome, found.job_id) == ("frozen", "")


async def moves_a_slot(asked: AskedRedis, servers: list[RedisServer]) -> None:
    """Give the slot of the first key's bucket to another server, empty."""
    slot = slot_of(Keys().bucket(bucket_of(RequestKey("acme", "s", "r-0"))))
    holder = next(server for server in servers if owns(server, slot))
    target = next(s for s in servers if s is not holder)
    while names := holder.command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        holder.command("DEL", *names)
    target_id = target.command("CLUSTER", "MYID")
    for server in (target, holder, *servers):
        assert server.command("CLUSTER", "SETSLOT", slot, "NODE", target_id) == b"OK"


def owns(server: RedisServer, slot: int) -> bool:
    rows = server.command("CLUSTER", "SLOTS")
    return any(low <= slot <= high and node[1] == server.port for low, high, node, *_ in rows)


async def test_a_server_far_away_is_reached_again_when_its_connections_broke(
    tmp_path: Path,
) -> None:
    """R6: to connect takes longer than a call may, here, as on a machine that is very busy."""
    with running(needed(redis_program()), tmp_path, [acl_line()]) as server:
        async with proxy_to(server.port) as way:
            settings = settings_for(server, url=f"redis://{way.address}", timeout_ms=250)
            async with reached(server, replace(settings, timeout_ms=PATIENT_MS)) as near:
                await opened(near)
            async with reached(server, settings) as asked:
                reader = InboxReader(settings, Place("alice", 0))
                way.down.weather = Weather(latency_s=0.1)
                await both_answer(asked, reader)
                way.cut()
                await both_answer(asked, reader)
                await reader.close()


async def both_answer(asked: AskedRedis, reader: InboxReader) -> None:
    await answers(partial(bound, asked, bind(ALICE)))
    assert await answers(partial(reader.receive, block_ms=1)) == []


async def answers(ask: Callable[[], Awaitable[object]]) -> object:
    """Ask until Redis is heard."""
    for _ in range(600):
        if (answer := await heard(ask)) is not None:
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError("Redis is not reached again")


async def heard(ask: Callable[[], Awaitable[object]]) -> object | None:
    """What Redis answers; None when it is not heard."""
    try:
        answer = await ask()
    except NotReached:
        return None
    return None if getattr(answer, "outcome", "") in ("down", "unknown") else answer


async def test_a_sentinels_new_primary_is_found_and_its_buckets_are_frozen(tmp_path: Path) -> None:
    """R5: the promoted replica may lack a binding; its reign is new, so nobody can win it there."""
    program = needed(redis_program())
    with watched(program, tmp_path, [acl_line()]) as fleet:
        settings = settings_for(
            fleet.primary,
            url="",
            sentinels=(f"127.0.0.1:{fleet.sentinel.port}",),
            timeout_ms=3_000,
        )
        async with reached(fleet.primary, settings) as asked:
            old = await opened(asked)
            written = fleet.primary.command("WAIT", 1, 5_000)
            assert written == 1
            fleet.replica.command("REPLICAOF", "NO", "ONE")  # hears nothing more
            assert (await bound(asked, bind(ALICE))).outcome == "won"
            fleet.replica.command("REPLICAOF", "127.0.0.1", fleet.primary.port)
            fleet.primary.kill()
            await asyncio.to_thread(
                wait_until,
                lambda: b"role:master" in fleet.replica.command("INFO", "replication"),
                "the Sentinel promotes the replica",
            )
            state = await frozen_state(asked)
            assert (state.state, state.generation) == ("missing", "")
            assert (await bound(asked, bind(BOB))).outcome == "frozen"
            new = await opened(asked)
            assert new.partition(":")[0] != old.partition(":")[0]


async def test_a_sentinel_that_asks_who_we_are_is_told_and_a_refusal_says_what_to_set(
    tmp_path: Path,
) -> None:
    """A6: neither the settings nor the errors hold the secret."""
    program = needed(redis_program())
    users = [
        "user default on nopass ~* &* +@all -sentinel|get-master-addr-by-name",
        "user finder on >hunter2-hunter2 &* +sentinel|get-master-addr-by-name",
    ]
    with watched(program, tmp_path, [acl_line()], sentinel_options=users) as fleet:
        primary, port = fleet.primary, fleet.sentinel.port
        plain = settings_for(primary, url="", sentinels=(f"127.0.0.1:{port}",), timeout_ms=3_000)
        known = replace(plain, sentinel_username="finder", sentinel_password=Secret("hunter2" * 2))
        assert "NOPERM" in await refusal(primary, plain)
        assert "of a Sentinel, those that begin with sentinel_" in await refusal(primary, known)
        right = replace(known, sentinel_password=Secret("hunter2-hunter2"))
        async with reached(primary, right) as asked:
            assert (await opened(asked)).partition(":")[0]


async def refusal(server: RedisServer, settings: RedisSettings) -> str:
    """Why it is not reached."""
    with pytest.raises(NotReached) as caught:
        async with reached(server, settings):
            pass
    assert "hunter2" not in f"{caught.value!r} {settings!r}"
    return str(caught.value)


async def frozen_state(asked: AskedRedis) -> Touched:
    """How the bucket is, once somebody answers."""
    async with asyncio.timeout(40):
        for _ in range(400):
            (touched,) = await asked.ask(Touch(number=1, bucket=BUCKET, owner=BOB))
            assert isinstance(touched, Touched)
            if touched.outcome == "done":
                return touched
            await asyncio.sleep(0.05)
    raise AssertionError("nobody answers")


@pytest.mark.parametrize("aof", [False, True])
async def test_a_restarted_server_is_another_reign_with_or_without_its_data(
    tmp_path: Path, aof: bool
) -> None:
    """R1: kill -9 and start again; bindings that were kept are known, none can be won before."""
    options = [acl_line(), *(["appendonly yes", "appendfsync always"] if aof else [])]
    with running(needed(redis_program()), tmp_path, options) as server:
        async with reached(server, settings_for(server)) as asked:
            await opened(asked)
            await bound(asked, bind(ALICE))
            server.kill()
            down = await bound(asked, bind(BOB))
            assert down.outcome in ("unknown", "down")
            assert (await bound(asked, bind(BOB))).outcome == "down"
            server.start()
            assert (await frozen_state(asked)).state == "missing"
            await opened(asked)
            expected = "follows" if aof else "won"
            assert (await bound(asked, bind(BOB))).outcome == expected


async def test_tls_is_spoken_and_an_unknown_authority_is_not_believed(tmp_path: Path) -> None:
    program = needed(redis_program())
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make certificates")
    made, strangers = certificates(tmp_path / "a"), certificates(tmp_path / "b")
    plain = RedisServer(program, tmp_path)
    options = [
        acl_line(),
        f"tls-port {plain.port}",
        f"tls-cert-file {made.certificate}",
        f"tls-key-file {made.key}",
        f"tls-ca-cert-file {made.authority}",
        "tls-auth-clients optional",
    ]
    with running(program, tmp_path / "server", options) as server:
        url = f"rediss://127.0.0.1:{plain.port}"
        settings = settings_for(server, url=url, ca_file=str(made.authority))
        async with reached(server, settings) as asked:
            await opened(asked)
            assert (await bound(asked, bind(ALICE))).outcome == "won"
        stranger = settings_for(server, url=url, ca_file=str(strangers.authority))
        with pytest.raises(NotReached, match=r"(?i)certificate"):
            async with reached(server, stranger):
                pass


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_evict_is_refused_with_the_command_to_run(
    redis_server: RedisServer, policy: str
) -> None:
    """R3: keys that vanish by themselves are bindings that vanish."""
    redis_server.command("CONFIG", "SET", "maxmemory-policy", policy)
    try:
        with pytest.raises(Unfit, match=f"{policy}.*run: redis-cli .*CONFIG SET maxmemory-policy"):
            async with reached(redis_server, settings_for(redis_server)):
                pass
    finally:
        redis_server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_d1_default_without_a_password_is_refused_off_this_host(
    redis_server: RedisServer,
) -> None:
    """D1, TH6: refused before anything is sent anywhere."""
    settings = settings_for(redis_server, url="redis://192.0.2.1", username="", password=NO_SECRET)
    with pytest.raises(Unfit, match=r"192.0.2.1:6379 is not on this host, and no password"):
        async with reached(redis_server, settings):
            pass


async def test_a_wrong_password_says_what_to_check_and_shows_nothing(
    redis_server: RedisServer,
) -> None:
    """A6: neither the settings nor the error hold the secret."""
    settings = settings_for(redis_server, password=Secret("hunter2-hunter2"))
    with pytest.raises(NotReached, match="check username and password_file") as caught:
        async with reached(redis_server, settings):
            pass
    assert "hunter2" not in f"{caught.value!r} {settings!r}"


async def test_d1_the_user_of_the_page_may_do_nothing_else(redis_server: RedisServer) -> None:
    """D1: no FLUSH, CONFIG, KEYS, SCRIPT KILL, and no key outside the prefix."""
    settings = settings_for(redis_server)
    line = Line(settings, main_address(settings))
    await line.open()
    forbidden: list[Command] = [
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("SCRIPT", "KILL"),
        ("SCRIPT", "FLUSH"),
        ("HGET", "other:key", "field"),
        ("ACL", "LIST"),
    ]
    replies = await line.exchange([pack(words) for words in forbidden])
    line.close()
    codes = [reply.code if isinstance(reply, Refusal) else reply for reply in replies]
    assert codes == ["NOPERM"] * len(forbidden)


async def test_every_key_has_a_life_or_a_bound(asked_redis: AskedRedis) -> None:
    """I10: whatever the suite's requests leave behind ends by itself; only buckets, 64, stay."""
    await opened(asked_redis)
    await bound(asked_redis, bind(ALICE, keep=b"kept"))
    notes = SessionWrite(number=1, key=SessionKey("a", "s"), notes=SessionNotes())
    await asked_redis.ask(notes, Send(number=2, instance="alice", shard=4, blob=b"x"))
    reader = InboxReader(settings_for(asked_redis.server), Place("alice", 3))
    await reader.receive(block_ms=1)
    await reader.close()
    names = asked_redis.server.keys()
    assert len(names) == 6
    for name in names:
        life_ms = asked_redis.server.command("PTTL", name)
        assert life_ms > 0 or name.endswith(":bucket"), name

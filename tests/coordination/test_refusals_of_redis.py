"""What Redis refuses or loses is asked again, answered down, or unknown; it ends no process."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest
from coordination.asking import (
    ALICE,
    BOB,
    BUCKET,
    KEY,
    AskedRedis,
    bind,
    bound,
    opened,
    settings_for,
)
from redis_yard.server import RedisServer

from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.errors import TROUBLES, refusal
from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import Bound, Lookup, RequestKey, Touch, Touched
from pointsman_wire.coordination.scripting.packing import Packer
from pointsman_wire.coordination.scripting.replies import BadReply, decode
from pointsman_wire.coordination.scripting.resp import pack


@contextlib.asynccontextmanager
async def backing_on(server: RedisServer, **others: object) -> AsyncIterator[AskedRedis]:
    backing = RedisBacking(settings_for(server, **others))
    try:
        await backing.open()
        yield AskedRedis(server, backing)
    finally:
        await backing.close()


async def test_scripts_that_were_flushed_are_loaded_again_within_the_call(
    asked_redis: AskedRedis,
) -> None:
    """R4: SCRIPT FLUSH before every call, and each is answered as if nothing had been."""
    await opened(asked_redis)
    for number in range(50):
        asked_redis.server.command("SCRIPT", "FLUSH")
        found = await bound(asked_redis, bind(ALICE, number=number))
        assert found.outcome == ("mine" if number else "won")
    assert asked_redis.backing.asked_again_count == 50


async def test_scripts_flushed_under_way_lose_no_request(asked_redis: AskedRedis) -> None:
    """R4: whatever part of a pipeline met the flush is asked again, and only that."""
    await opened(asked_redis)

    async def flush() -> None:
        for _ in range(40):
            await asyncio.to_thread(asked_redis.server.command, "SCRIPT", "FLUSH")
            await asyncio.sleep(0.01)

    flushing = asyncio.create_task(flush())
    wins = 0
    while not flushing.done():
        answers = await asked_redis.ask(*(bind(ALICE, number=n) for n in range(20)))
        assert [answer.number for answer in answers] == list(range(20))
        outcomes = [answer.outcome for answer in answers if isinstance(answer, Bound)]
        wins += outcomes.count("won")
        assert set(outcomes) <= {"won", "mine"}
    await flushing
    assert wins == 1


async def test_two_members_that_bind_the_same_requests_at_once_agree(
    redis_server: RedisServer,
) -> None:
    """R8, I2: one script, one winner; the other follows the same job."""
    redis_server.command("FLUSHALL")
    async with backing_on(redis_server) as alice, backing_on(redis_server) as bob:
        await opened(alice, BUCKET, ALICE, BOB)
        won = {"alice": 0, "bob": 0}
        keys = same_bucket(1_000)
        for begin in range(0, len(keys), 10):
            some = keys[begin : begin + 10]
            mine, theirs = await asyncio.gather(
                alice.ask(*(bind(ALICE, key=key) for key in some)),
                bob.ask(*(bind(BOB, key=key) for key in some)),
            )
            for one, other in zip(mine, theirs, strict=True):
                assert isinstance(one, Bound)
                assert isinstance(other, Bound)
                assert {one.outcome, other.outcome} == {"won", "follows"}
                assert (one.job_id, one.owner) == (other.job_id, other.owner)
                won[one.owner.instance if one.owner else ""] += 1
        assert sum(won.values()) == 1_000


def same_bucket(count: int) -> list[RequestKey]:
    found = (KEY._replace(request_id=f"race-{n}") for n in range(count * 1_000))
    return [key for key in found if bucket_of(key) == BUCKET][:count]


@pytest.mark.parametrize("code", sorted(TROUBLES))
async def test_whatever_redis_refuses_is_answered_and_the_next_call_works(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """R11: every code of the table, as the server would word it, from a script in its place."""
    redis_server.command("FLUSHALL")
    words = {"MOVED": "MOVED 1 127.0.0.1:1", "ASK": "ASK 1 127.0.0.1:1"}.get(code, f"{code} words")
    text = f"return redis.error_reply('{words}')"
    sha = redis_server.command("SCRIPT", "LOAD", text)
    async with backing_on(redis_server) as asked:
        await opened(asked)
        with monkeypatch.context() as patch:
            patch.setattr(Packer, "pack", lambda packer, request: pack(("EVALSHA", sha, 0)))
            (refused,) = await asked.ask(bind(ALICE))
        assert isinstance(refused, Bound)
        assert refused.outcome == "down"
        assert refused.error
        treatment = TROUBLES[code].treatment
        assert asked.backing.asked_again_count == (1 if treatment == "retry" else 0)
        (after,) = await asked.ask(bind(ALICE))
        assert isinstance(after, Bound)
        assert after.outcome == "won"


async def test_real_refusals_are_told_from_broken_connections(asked_redis: AskedRedis) -> None:
    """R11: memory full, disk full, and a script of somebody's that never ends."""
    await opened(asked_redis)
    server = asked_redis.server
    server.command("CONFIG", "SET", "maxmemory", "1")
    full = await bound(asked_redis, bind(ALICE))
    server.command("CONFIG", "SET", "maxmemory", "0")
    assert (full.outcome, "OOM" in full.error) == ("down", True)
    server.command("CONFIG", "SET", "busy-reply-threshold", "1")
    endless = asyncio.create_task(asyncio.to_thread(server.command, "EVAL", "while true do end", 0))
    try:
        while (busy := await bound(asked_redis, bind(ALICE))).outcome != "down":
            assert busy.outcome in ("won", "mine")
            await asyncio.sleep(0.01)
        assert "BUSY" in busy.error
    finally:
        assert server.command("SCRIPT", "KILL") == b"OK"
        await endless
    assert (await bound(asked_redis, bind(ALICE))).outcome in ("won", "mine")


async def test_a_user_without_a_right_is_told_which_page_says_what_it_needs(
    redis_server: RedisServer,
) -> None:
    """D1: NOPERM is for the operator to mend; the answer names the page."""
    redis_server.command("FLUSHALL")
    async with backing_on(redis_server) as asked:
        await opened(asked)
        redis_server.command("ACL", "SETUSER", "pointsman", "-hset")
        try:
            refused = await bound(asked, bind(ALICE))
        finally:
            redis_server.command("ACL", "SETUSER", "pointsman", "+hset")
        assert refused.outcome == "down"
        assert "docs/redis.md" in refused.error


async def test_a_server_that_stands_still_costs_the_time_limit_and_is_unknown(
    redis_server: RedisServer,
) -> None:
    """R2, R6: sent and not answered; then the breaker spares the wait, until a good answer."""
    redis_server.command("FLUSHALL")
    async with backing_on(redis_server, timeout_ms=100, breaker_failures=3, breaker_s=0.2) as asked:
        await answers_again(asked)
        assert redis_server.process is not None
        redis_server.process.send_signal(signal.SIGSTOP)
        try:
            outcomes = [(await bound(asked, bind(ALICE))) for _ in range(6)]
        finally:
            redis_server.process.send_signal(signal.SIGCONT)
        assert outcomes[0].outcome == "unknown"
        assert {answer.outcome for answer in outcomes[1:]} == {"down"}
        assert "breaker" in outcomes[-1].error
        await answers_again(asked)


async def test_while_the_breaker_is_open_the_cause_is_told(redis_server: RedisServer) -> None:
    """R11: a primary that became a replica answers, so nobody shall hear that it does not."""
    redis_server.command("FLUSHALL")
    async with backing_on(redis_server, breaker_failures=2, breaker_s=60.0) as asked:
        await opened(asked)
        assert redis_server.command("REPLICAOF", "127.0.0.1", "1") == b"OK"
        try:
            errors = [(await bound(asked, bind(ALICE))).error for _ in range(4)]
        finally:
            assert redis_server.command("REPLICAOF", "NO", "ONE") == b"OK"
        assert "breaker" not in errors[0]
        assert "breaker" in errors[-1]
        assert all("no primary" in error for error in errors), errors


async def answers_again(asked: AskedRedis) -> None:
    async with asyncio.timeout(30):
        for _ in range(600):
            (touched,) = await asked.ask(Touch(number=1, bucket=BUCKET, owner=ALICE))
            assert isinstance(touched, Touched)
            if touched.outcome == "done":
                return
            await asyncio.sleep(0.05)
    raise AssertionError("it does not answer again")


async def test_other_tasks_go_on_while_redis_stands_still(redis_server: RedisServer) -> None:
    """R6: the loop is never held up, whatever the server does."""
    async with backing_on(redis_server, timeout_ms=300, breaker_failures=1_000) as asked:
        assert redis_server.process is not None
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        redis_server.process.send_signal(signal.SIGSTOP)
        try:
            answers = await asyncio.gather(*(bound(asked, bind(ALICE)) for _ in range(20)))
        finally:
            redis_server.process.send_signal(signal.SIGCONT)
            counting.cancel()
        assert {answer.outcome for answer in answers} <= {"unknown", "down"}
        assert turns > 100


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("ERR Error running script (call to f_1): @user_script:7: -OOM no memory", "OOM"),
        ("ERR Error running script (call to f_1): @user_script:7: -WHAT ever", "ERR"),
        ("ERR unknown command", "ERR"),
        ("-MISCONF Errors writing to the AOF file", "MISCONF"),
        ("NOVEL things happen", "ERR"),
        ("", "ERR"),
    ],
)
def test_a_refusals_code_is_found_in_its_words(text: str, code: str) -> None:
    assert refusal(text).code == code
    assert str(refusal(text)).startswith(f"Redis refused: {code} (")


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"won",
        [],
        [b"won"],
        [b"stolen", b"g", 1],
        [b"won", b"g", b"many"],
        [b"\xff\xfe", b"g", 1],
        [b"mine", b"g", 1, b"job", b"no-slashes", b"1", b"CREATED", b"0", b"0", b"1", None, None],
        [b"mine", b"g", 1, b"job", b"a/b/c", b"1", b"CREATED", b"0", b"0", b"1", None, None],
        [b"mine", b"g", 1, b"job", b"a/b/1", b"1", b"NEVER", b"0", b"0", b"1", None, None],
        [b"ended", b"g", 1, b"job", b"a/b/1", b"1", b"FINISHED", b"0", b"0", b"1", None, 7],
        {b"won": 1},
    ],
)
def test_a_reply_of_no_script_is_no_answer(reply: object) -> None:
    """D2: what Redis says is judged like network input."""
    with pytest.raises(BadReply, match="Redis answered Bind with"):
        decode(bind(ALICE), reply)


async def test_d2_what_somebody_else_wrote_under_our_names_is_refused(
    asked_redis: AskedRedis,
) -> None:
    """D2: another type, or another text, costs that call and nothing more."""
    await opened(asked_redis)
    await bound(asked_redis, bind(ALICE))
    name = next(key for key in sorted(asked_redis.server.keys()) if ":job:" in key)
    asked_redis.server.command("HSET", name, "owner", "nobody")
    looked = await bound(asked_redis, Lookup(number=1, key=KEY, owner=BOB))
    assert (looked.outcome, looked.error[:22]) == ("unknown", "Redis answered Lookup ")
    asked_redis.server.command("DEL", name)
    asked_redis.server.command("SET", name, "text")
    typed = await bound(asked_redis, Lookup(number=1, key=KEY, owner=BOB))
    assert (typed.outcome, "WRONGTYPE" in typed.error) == ("down", True)

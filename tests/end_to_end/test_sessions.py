"""Sessions of a real service: each has its worker, whoever accepts it, and none meets another."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from live.journal import Journal
from live.nodes import live_node
from live.service import LiveService
from live.sessions import session_ids

from pointsman import (
    JobRefused,
    PointsmanError,
    Session,
    Trunk,
    connect,
)
from pointsman_wire.admin_messages import Sessions, SessionsQuery
from pointsman_wire.shards import shard_of

NMT = ["nmt"]


async def test_sessions_of_every_worker_are_served_whoever_accepts_them(
    service: LiveService, journal: Journal
) -> None:
    """40 ids, 4 times each: most connections reach a worker that does not own them."""
    ids = [*session_ids(0, 20, prefix="any"), *session_ids(1, 20, prefix="any")]

    async def converse(session_id: str) -> None:
        for turn in range(4):
            async with connect(service.address, session_id=session_id, tgt="aa") as session:
                assert session.session_id == session_id
                assert session.shard == shard_of(session_id, 2)
                text = f"{session_id} {turn}"
                result = await session.submit(
                    text, src="en", services=NMT, request_id=f"{session_id}/{turn}"
                )
                assert result.text == text[::-1]

    before = (await service.counters())["handovers"]
    async with live_node(service.address, journal, "aa"):
        await asyncio.gather(*map(converse, ids))
    assert (await service.counters())["handovers"] > before
    assert {len(starts) for starts in journal.starts().values()} == {1}
    assert len(journal.starts()) == 160


async def test_a_trunk_carries_sessions_of_every_worker(
    service: LiveService, journal: Journal
) -> None:
    ids = [*session_ids(0, 20, prefix="trunk"), *session_ids(1, 20, prefix="trunk")]
    async with live_node(service.address, journal, "ab"), Trunk(service.address) as trunk:
        chosen = [await trunk.open(session_id=i, src="en", tgt="ab") for i in ids]
        made = [await trunk.open(src="en", tgt="ab") for _ in range(20)]
        assert [session.session_id for session in chosen] == ids
        assert {session.shard for session in made} == {0, 1}
        for session in (*chosen, *made):
            assert session.shard == shard_of(session.session_id, 2)
        results = await asyncio.gather(
            *(s.submit(s.session_id, services=NMT) for s in (*chosen, *made))
        )
        for session, result in zip((*chosen, *made), results, strict=True):
            assert result.text == session.session_id[::-1]
        for session in (*chosen, *made):
            await session.close()


async def test_sessions_never_meet(service: LiveService, journal: Journal) -> None:
    """The same request id in 20 sessions of both workers, and in two tenants: 40 jobs."""
    ids = [*session_ids(0, 10, prefix="own"), *session_ids(1, 10, prefix="own")]

    async def converse(session_id: str, tenant: str) -> str:
        options = {"session_id": session_id, "tenant": tenant}
        async with connect(service.address, src="en", tgt="ac", **options) as session:  # type: ignore[arg-type]
            body = f"{tenant} {session_id}"
            result = await session.submit(body, services=NMT, request_id="the-same")
            assert result.text == body[::-1]
            assert result.meta["tenant"] == tenant
            return result.job_id

    async with live_node(service.address, journal, "ac", max_concurrency=8):
        jobs = await asyncio.gather(*(converse(i, t) for i in ids for t in ("red", "blue")))
    assert len(set(jobs)) == 40


async def test_what_is_closed_at_once_leaves_no_job_running(
    service: LiveService, journal: Journal
) -> None:
    """By its method, by an exception in its block, or with its trunk; over either protocol.

    So is what has not ended when a close has waited for as long as it may.
    """

    async def begin(session: Session, count: int) -> asyncio.Task[object]:
        job = session.submit("x", src="en", tgt="ae", services=NMT, meta={"sleep_s": 60})
        waiting = asyncio.create_task(told(job))
        await journal.has("start", count=count)
        return waiting

    async def told(job: Coroutine[Any, Any, object]) -> object:
        with pytest.raises(PointsmanError) as refused:
            await job
        return refused.value.code

    waiting = []
    async with live_node(service.address, journal, "ae"):
        async with connect(service.address) as session:
            waiting.append(await begin(session, 1))
            await session.close(flush=False)
        with suppress(KeyError):
            async with connect(f"ws://{service.address}") as session:
                waiting.append(await begin(session, 2))
                raise KeyError
        async with Trunk(service.address) as trunk:
            waiting.append(await begin(await trunk.open(), 3))
        async with connect(service.address, close_timeout_s=0.2) as session:
            waiting.append(await begin(session, 4))
        assert await asyncio.gather(*waiting) == ["CANCELLED"] * 4
        await journal.has("stopped", count=4)
    await service.has_no_slots_held()


async def test_each_worker_knows_its_own_sessions_only(service: LiveService) -> None:
    ids = {0: session_ids(0, 5, prefix="own-list"), 1: session_ids(1, 5, prefix="own-list")}
    async with AsyncExitStack() as stack:
        for session_id in (*ids[0], *ids[1]):
            await stack.enter_async_context(connect(service.address, session_id=session_id))
        for shard in (0, 1):
            answer = await service.ask(f"worker-{shard}", SessionsQuery(limit=1000))
            assert isinstance(answer, Sessions)
            listed = {line.session_id for line in answer.sessions}
            assert {i for i in listed if i.startswith("own-list")} == set(ids[shard])


async def test_a_private_node_serves_its_own_tenant_only(
    service: LiveService, journal: Journal
) -> None:
    private = live_node(service.address, journal, "ad", tenant="red", accept_public_jobs=False)
    async with private, AsyncExitStack() as stack:
        tenants = {
            tenant: await stack.enter_async_context(
                connect(service.address, src="en", tgt="ad", tenant=tenant)
            )
            for tenant in ("red", "blue", "")
        }
        assert (await tenants["red"].submit("mine", services=NMT)).node_id == "n-ad"
        for stranger in ("blue", ""):
            with pytest.raises(JobRefused) as refused:
                await tenants[stranger].submit("mine", services=NMT, wait_none_s=0)
            breakdown = refused.value.breakdown
            assert breakdown is not None
            assert breakdown.counts["not_in_public_pool"] == 1
            assert sum(breakdown.counts.values()) == breakdown.total_nodes


# ---- one key, one job


async def test_a_hundred_submits_of_one_key_are_one_job(
    service: LiveService, journal: Journal
) -> None:
    """I2, N11: over many connections, while it runs and after it has ended."""

    async def ask(body: str = "x") -> str:
        async with connect(service.address, src="en", tgt="ap", session_id="one-key") as session:
            return await submit(session, body)

    async def submit(session: Session, body: str) -> str:
        meta = {"sleep_s": 0.05}
        return (await session.submit(body, services=NMT, request_id="r", meta=meta)).job_id

    async with live_node(service.address, journal, "ap"):
        async with connect(service.address, src="en", tgt="ap", session_id="one-key") as session:
            jobs = set(await asyncio.gather(*(submit(session, "x") for _ in range(90))))
        for _ in range(10):
            jobs.add(await ask())
        assert len(jobs) == 1
        with pytest.raises(JobRefused) as refused:
            await ask("another body")
        assert refused.value.code == "CONFLICT"
    assert len(journal.starts()["r"]) == 1

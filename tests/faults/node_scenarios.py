"""Faults between nodes and the service, made by a proxy: half-open, one-way, partition, slow."""

import asyncio
from contextlib import AsyncExitStack
from time import monotonic

from faults.yard import Figures, Yard
from live.raw_node import RawNode

LARGE_BYTES = 256 * 1024
# A node that was away for long tries again after 30 s at most, and gives a dead try some seconds.
PATIENT_NODE_S = 60.0


async def half_open_idle(yard: Yard) -> Figures:
    """N1: the peer is gone and nobody said so; no job was on its way."""
    proxy = await yard.proxy()
    before = yard.connections()
    node_id = await yard.node("gone", proxy)
    proxy.partition()
    took_s = await yard.is_in_state(node_id, "offline", "")
    proxy.cut()
    proxy.is_refusing = True
    await yard.is_settled(before)
    return {"dead_after_s": took_s}


async def half_open_with_unacknowledged_data(yard: Yard) -> Figures:
    """N1: jobs were sent to it and never acknowledged; another node does them, once."""
    proxy = await yard.proxy()
    gone = await yard.node("gone", proxy)
    session = await yard.session()
    proxy.down.block()
    jobs = yard.submit(session, 4)
    await asyncio.sleep(0.2)
    proxy.up.block()
    spare = await yard.node("spare")
    began_s = monotonic()
    results = await asyncio.gather(*jobs)
    took_s = monotonic() - began_s
    assert {result.node_id for result in results} == {spare}
    await yard.is_in_state(gone, "suspect", "offline", "")
    assert yard.journal.entries("start")
    assert {entry.node_id for entry in yard.journal.entries("start")} == {spare}
    proxy.heal()
    return {"elsewhere_after_s": took_s}


async def half_open_with_zero_window(yard: Yard) -> Figures:
    """N1, N5: it reads nothing any more: what waits for it is bounded, and goes to others."""
    async with AsyncExitStack() as stack:
        full = await RawNode(yard.service, stack).join(slots=64)
        session = await full.session(0)
        payload = b"x" * LARGE_BYTES
        jobs = [
            asyncio.create_task(session.submit(payload, services=["nmt"], timeout_s=30.0))
            for _ in range(32)
        ]
        # Not a byte of the lane is read from here on; the kernel's buffers fill.
        full.lanes[0].writer.transport.pause_reading()  # type: ignore[attr-defined]
        beating = asyncio.create_task(_beat_for_ever(full))
        yard.tgt = full.tgt
        await yard.node("spare", max_concurrency=32)
        began_s = monotonic()
        results = await asyncio.gather(*jobs)
        took_s = monotonic() - began_s
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        assert {result.payload for result in results} == {payload}
        return {"elsewhere_after_s": took_s}


async def _beat_for_ever(node: RawNode) -> None:
    while True:
        await node.beat()
        await asyncio.sleep(0.3)


async def one_way_from_the_node(yard: Yard) -> Figures:
    """N2: it hears us, we do not hear it: dead for us, its jobs run elsewhere, none twice over."""
    return await _one_way(yard, is_mute=True)


async def one_way_to_the_node(yard: Yard) -> Figures:
    """N2: we hear it, it does not hear us: it gets no jobs, and does not start old ones later."""
    return await _one_way(yard, is_mute=False)


async def _one_way(yard: Yard, *, is_mute: bool) -> Figures:
    proxy = await yard.proxy()
    half = await yard.node("half", proxy)
    session = await yard.session(1)
    await asyncio.gather(*yard.submit(session, 2))
    way = proxy.up if is_mute else proxy.down
    way.block()
    spare = await yard.node("spare")
    began_s = monotonic()
    jobs = yard.submit(session, 6)
    results = await asyncio.gather(*jobs)
    took_s = monotonic() - began_s
    assert spare in {result.node_id for result in results}
    figures = {"elsewhere_after_s": took_s}
    if is_mute:
        figures["dead_after_s"] = await yard.is_in_state(half, "offline", "")
    way.unblock()
    await yard.is_in_state(half, "ready")
    await asyncio.gather(*yard.submit(session, 6))
    yard.journal.check_one_job_each()
    await yard.service.has_no_slots_held()
    return figures


async def half_of_the_nodes_partitioned(yard: Yard, *, seconds: float = 2.0) -> Figures:
    """N3: I1 I3 I4 I13; all jobs come back, those nodes come back."""
    cut = [await yard.proxy(seed=n) for n in range(2)]
    nodes = [await yard.node(f"cut{n}", proxy, max_concurrency=4) for n, proxy in enumerate(cut)]
    nodes += [await yard.node(f"near{n}", max_concurrency=4) for n in range(2)]
    sessions = [await yard.session(shard) for shard in (0, 1)]
    jobs = [job for session in sessions for job in yard.submit(session, 20, sleep_s=0.3)]
    await yard.journal.has("start", count=4)
    for proxy in cut:
        proxy.partition()
    await asyncio.sleep(seconds)
    for proxy in cut:
        proxy.heal()
    began_s = monotonic()
    await asyncio.gather(*jobs)
    took_s = monotonic() - began_s
    for node_id in nodes:
        await yard.is_in_state(node_id, "ready", patience_s=PATIENT_NODE_S)
        assert yard.journal.most_at_once(node_id) <= 4, "I4"
    yard.journal.check_one_job_each()
    await yard.service.has_no_slots_held()
    return {"done_after_heal_s": took_s, "ready_after_heal_s": monotonic() - began_s}


async def half_of_the_nodes_clogged_one_after_the_other(yard: Yard) -> Figures:
    """N3, swizzle-clog: they vanish one by one and come back in another order."""
    proxies = [await yard.proxy(seed=n) for n in range(3)]
    for number, proxy in enumerate(proxies):
        await yard.node(f"clog{number}", proxy, max_concurrency=4)
    await yard.node("near", max_concurrency=4)
    session = await yard.session(0)
    jobs = yard.submit(session, 30, sleep_s=0.1)
    for proxy in proxies:
        proxy.partition()
        await asyncio.sleep(0.4)
    for number in (1, 0, 2):
        proxies[number].heal()
        await asyncio.sleep(0.4)
    began_s = monotonic()
    await asyncio.gather(*jobs)
    yard.journal.check_one_job_each()
    await yard.service.has_no_slots_held()
    return {"done_after_heal_s": monotonic() - began_s}


async def slow_node(yard: Yard) -> Figures:
    """N5: a node that reads 1 kB a second holds up nobody else; its jobs end elsewhere."""
    await yard.measured()
    before_ms = yard.meter.p99_ms()
    proxy = await yard.proxy()
    await yard.node("slow", proxy, max_concurrency=8)
    session = await yard.session(0)
    proxy.down.weather.bytes_per_s = 1_000
    memory = yard.memory_bytes()
    yard.meter.start_anew()
    payload = b"y" * LARGE_BYTES
    jobs = [
        asyncio.create_task(session.submit(payload, services=["nmt"], timeout_s=25.0))
        for _ in range(8)
    ]
    await yard.meter.has(100)
    await yard.node("spare", max_concurrency=8)
    results = await asyncio.gather(*jobs)
    assert {result.payload for result in results} == {payload}
    grown = yard.memory_bytes() - memory
    assert grown < 64 * 1024 * 1024, f"{grown} bytes more are held"
    proxy.heal()
    return {
        "others_p99_ms_before": before_ms,
        "others_p99_ms": yard.meter.p99_ms(),
        "memory_bytes_more": grown,
    }

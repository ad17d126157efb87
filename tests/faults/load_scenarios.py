"""Too much work: a tenant that wants a hundred times its share, and a worker under pressure."""

import asyncio
from time import monotonic

import msgspec
from faults.crowds.flood import Flood, Washed
from faults.yard import CONFIG, Figures, Yard, cpu_seconds, said_by
from live.sessions import session_ids

from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.errors import Code
from pointsman_workers.core.overload import SHED_LOWEST

GREEDY = "greedy"
GREEDY_PER_S = 20.0
TIMES = 100
SLOTS = 8
JOB_S = 0.05
QUEUED_MAX = 200
RECOVER_S = 10.0
# A short queue and a modest tenant's limits, so that both bounds are met within seconds.
TENANTS_CONFIG = f"""{CONFIG}
queued_per_shard_max = {QUEUED_MAX}
[[tenants.listed]]
name = "{GREEDY}"
jobs_per_s = {GREEDY_PER_S}
burst = {int(2 * GREEDY_PER_S)}
"""


async def pour(flood: Flood) -> Washed:
    """Let another process do it: who measures shall not be slowed by it."""
    words = msgspec.json.encode(flood).decode()
    return msgspec.json.decode(await said_by("faults.crowds.flood", words), type=Washed)


async def greedy_tenant(yard: Yard, *, seconds: float = 5.0) -> Figures:
    """A5: a tenant at a hundred times its limit gets its limit; what the others feel is told."""
    await yard.measured()
    yard.meter.start_anew()
    await yard.meter.has(300)
    before_ms = yard.meter.p99_ms()
    yard.meter.start_anew()
    cpu_before_s = cpu_seconds(yard.service)
    washed = await pour(
        Flood(
            port=yard.service.port,
            session_id=session_ids(0, 1, prefix=yard.tgt)[0],
            tenant=GREEDY,
            tgt=f"{yard.tgt}m",
            jobs_per_s=TIMES * GREEDY_PER_S,
            seconds=seconds,
            sleep_s=0.0,
        )
    )
    during_ms, cpu_s = yard.meter.p99_ms(), cpu_seconds(yard.service) - cpu_before_s
    yard.meter.check()
    assert washed.answered == washed.offered, washed
    assert set(washed.refused) == {Code.RATE_LIMITED}, washed
    most = GREEDY_PER_S * (seconds + 2) + 2
    assert washed.completed <= most, f"{washed} and not at most {most:.0f}"
    return {
        "offered": washed.offered,
        "completed": washed.completed,
        "service_cpu_us_each_at_most": 1e6 * cpu_s / washed.offered,
        "others_p99_ms_before": before_ms,
        "others_p99_ms": during_ms,
        "others_p99_ratio": during_ms / before_ms,
    }


async def pressed_worker(yard: Yard, *, seconds: float = 8.0) -> Figures:
    """I13, the overload ladder: five times what the nodes can do; no accepted job is lost."""
    await yard.node("works", max_concurrency=SLOTS)
    flood = Flood(
        port=yard.service.port,
        session_id=session_ids(0, 1, prefix=yard.tgt)[0],
        tgt=yard.tgt,
        jobs_per_s=5 * SLOTS / JOB_S,
        seconds=seconds,
        sleep_s=JOB_S,
    )
    pouring = asyncio.create_task(pour(flood))
    most = 0
    while not pouring.done():
        most = max(most, await _step(yard))
        await asyncio.sleep(0.05)
    washed, ended_s = await pouring, monotonic()
    while await _step(yard):
        assert monotonic() - ended_s < RECOVER_S, "I13: it stays on the ladder"
        await asyncio.sleep(0.05)
    assert most >= SHED_LOWEST, f"step {most} was the highest"
    assert washed.answered == washed.offered, washed
    assert set(washed.refused) | set(washed.failed) <= {Code.QUEUE_FULL}, washed
    session = await yard.session(0)
    await asyncio.gather(*yard.submit(session, SLOTS))
    await yard.service.has_no_slots_held()
    return {
        "highest_step": most,
        "offered": washed.offered,
        "refused": sum(washed.refused.values()),
        "shed": sum(washed.failed.values()),
        "goodput_of_capacity": washed.completed / (seconds * SLOTS / JOB_S),
        "calm_again_after_s": monotonic() - ended_s,
    }


async def _step(yard: Yard) -> int:
    status = await yard.service.ask("worker-0", StatusQuery())
    assert isinstance(status, Status)
    return int(status.gauges.get("overload_step", 0))

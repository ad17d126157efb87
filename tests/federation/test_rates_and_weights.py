"""T19's companion: rates and weights are those of the fleet, however many services there are."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from federation.services import two_services, until_node, until_so
from live.journal import Journal
from live.nodes import live_node
from live.service import PATIENCE_S, LiveService

from pointsman import JobRefused, Session, connect

RATE = 20
LISTED = f"""
[[tenants.listed]]
name = "metered"
jobs_per_s = {RATE}.0
burst = 1
[[tenants.listed]]
name = "heavy"
weight = 4.0
"""
TRIED_S = 5.0
SLOTS = 4
DEPTH = 24  # jobs that each tenant has open all the time, more than there are slots
WARM_UP = 60  # jobs that do not count
COUNTED = 400

Pair = tuple[LiveService, LiveService]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with two_services(tmp_path_factory.mktemp("fleet"), LISTED) as services:
        yield services


@asynccontextmanager
async def nodes_at(services: Pair, directory: Path, *homes: int) -> AsyncIterator[None]:
    """Nodes at these services, which both know."""
    journal = Journal(directory / "journal")
    async with AsyncExitStack() as stack:
        for number, home in enumerate(homes):
            address, name = services[home].address, f"n-{directory.name}-{number}"
            made = live_node(address, journal, "es", node_id=name, max_concurrency=SLOTS)
            await stack.enter_async_context(made)
            for service in services:
                await until_node(service, name, "ready")
        yield


async def accepted(service: LiveService, until_s: float) -> int:
    """Submit as fast as it goes until that instant; return how many were not refused."""
    count = 0
    async with connect(service.address, tenant="metered", src="en", tgt="es") as session:
        while monotonic() < until_s:
            count += await _is_accepted(session)
    return count


async def _is_accepted(session: Session) -> bool:
    try:
        await session.submit(b"x", services=["nmt"])
    except JobRefused as refused:
        is_over = refused.code == "RATE_LIMITED"
    else:
        return True
    assert is_over
    await asyncio.sleep(0.01)
    return False


async def test_rate_limits_do_not_multiply_with_instances(pair: Pair, tmp_path: Path) -> None:
    """T19: two services over one Redis admit together what one may."""
    async with nodes_at(pair, tmp_path, 0, 1):
        for service in pair:
            await until_so(lambda told: len(told.instances) == 2, service, "two live")
        await asyncio.sleep(3.0)  # what a newcomer's first share may take
        began_s = monotonic()
        counts = await asyncio.gather(*(accepted(service, began_s + TRIED_S) for service in pair))
        elapsed_s = monotonic() - began_s
    assert sum(counts) <= RATE * elapsed_s * 1.1 + 4, (counts, elapsed_s)
    assert min(counts) > 0, counts


async def _keep_asking(session: Session, ended: list[str], tenant: str) -> None:
    while len(ended) < WARM_UP + COUNTED:
        await session.submit(b"x", services=["nmt"], meta={"sleep_s": 0.02}, wait_busy_s=PATIENCE_S)
        ended.append(tenant)


async def test_four_to_one_stays_four_to_one_with_the_node_where_the_light_tenant_is(
    pair: Pair, tmp_path: Path
) -> None:
    """T19: within 5 %, each tenant's jobs coming in at one service; the harder of the two ways."""
    ended: list[str] = []
    tenants = dict(zip(("heavy", "light"), pair, strict=True))
    async with nodes_at(pair, tmp_path, 1), AsyncExitStack() as stack:
        asking = []
        for tenant, service in tenants.items():
            session = await stack.enter_async_context(
                connect(service.address, tenant=tenant, src="en", tgt="es")
            )
            asking += [_keep_asking(session, ended, tenant) for _ in range(DEPTH)]
        async with asyncio.timeout(2 * PATIENCE_S):
            await asyncio.gather(*asking)
    served = Counter(ended[WARM_UP : WARM_UP + COUNTED])
    assert abs(served["heavy"] / COUNTED - 0.8) <= 0.8 * 0.05, served

"""T19's companion: a tenant's rate is one rate, however many services it submits to."""

import asyncio
from pathlib import Path
from time import monotonic

from federation.services import two_services, until_node, until_so
from live.journal import Journal
from live.nodes import live_node
from live.service import LiveService

from pointsman import JobRefused, Session, connect

RATE = 20
LIMITED = f"""
[[tenants.listed]]
name = "metered"
jobs_per_s = {RATE}.0
burst = 1
"""
TRIED_S = 5.0


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


async def test_rate_limits_do_not_multiply_with_instances(tmp_path: Path) -> None:
    """T19: two services over one Redis admit together what one may."""
    journal = Journal(tmp_path / "journal")
    with two_services(tmp_path, LIMITED) as (here, there):
        async with (
            live_node(here.address, journal, "es", node_id="n-1"),
            live_node(there.address, journal, "es", node_id="n-2"),
        ):
            for service in (here, there):
                await until_node(service, "n-1", "ready")
                await until_so(lambda told: len(told.instances) == 2, service, "two live")
            await asyncio.sleep(3.0)  # what a newcomer's first share may take
            began_s = monotonic()
            counts = await asyncio.gather(
                *(accepted(service, began_s + TRIED_S) for service in (here, there))
            )
            elapsed_s = monotonic() - began_s
    assert sum(counts) <= RATE * elapsed_s * 1.1 + 4, (counts, elapsed_s)
    assert min(counts) > 0, counts

"""The file of a running service is edited, and one of its processes dies before that is applied."""

import asyncio
from pathlib import Path

import pytest
from live.journal import Journal
from live.nodes import live_node
from live.service import CONFIG, LiveService, started
from supervised_service import place

from pointsman import connect

pytestmark = pytest.mark.crash
NMT = ["nmt"]


async def works(service: LiveService) -> bool:
    """Does a job find its node at each of the workers?"""
    for number in range(4):
        async with connect(service.address, src="en", tgt="es") as session:
            result = await session.submit(f"j-{number}", services=NMT, wait_none_s=20)
            assert result.node_id == "n-es"
    return True


async def test_p9_another_size_of_the_fleet_in_the_file_counts_from_the_next_start_of_the_service(
    tmp_path: Path,
) -> None:
    """Whoever was restarted alone before made memory, or waited for some, that fitted nobody."""
    with place() as here, started(here) as service:
        async with live_node(service.address, Journal(tmp_path / "journal"), "es"):
            assert await works(service)
            file = here.directory / "pointsman.toml"
            file.write_text(CONFIG.replace("[nodes]", "[nodes]\nmax_nodes = 20000"))
            await service.has_replaced(service.kill("manager"))
            await asyncio.sleep(2.0)  # the node has found the new manager
            assert await works(service)
            await service.has_replaced(service.kill("worker-0", "worker-1"))
            assert await works(service)
        await asyncio.to_thread(service.stop)
        assert "made anew" not in service.process.text()


async def test_p9_a_worker_whose_file_has_a_fault_when_it_dies_is_back_when_that_is_mended(
    tmp_path: Path,
) -> None:
    with place() as here, started(here) as service:
        file = here.directory / "pointsman.toml"
        sound = file.read_text()
        file.write_text("[nodes\n")
        killed = service.kill("worker-1")
        await asyncio.to_thread(service.process.wait_for, "worker-1 ended with status 2")
        await asyncio.sleep(7.0)  # who dies again and again is given up by then
        file.write_text(sound)
        await service.has_replaced(killed)
        async with live_node(service.address, Journal(tmp_path / "journal"), "es"):
            assert await works(service)
        await asyncio.to_thread(service.stop)

"""A host short of memory (P10): the kernel takes a worker before the manager, and it comes back."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from crash.load import impatient
from live.control_groups import ControlGroup, control_group
from live.journal import Journal
from live.nodes import live_node
from live.service import started, until
from live.sessions import session_ids
from supervised_service import place

from pointsman import connect

pytestmark = pytest.mark.crash
LIMIT_BYTES = 256 * 1024 * 1024
# Several take a share each: the kernel looks for the largest, and a worker counts as half of all.
HOGS = 5
HOG = """
import time
taken = [bytearray(b"x") * (4 << 20) for _ in range(16)]
time.sleep(600)
"""


@contextmanager
def hogs(group: ControlGroup) -> Iterator[None]:
    """Some in the group who take all the memory there is, while the block runs."""
    command = group.command([sys.executable, "-c", HOG])
    processes = [subprocess.Popen(command) for _ in range(HOGS)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def test_p10_the_kernel_takes_workers_before_the_manager_and_no_job_is_lost(
    tmp_path: Path,
) -> None:
    """P10, as P2: a memory group of 256 MB that somebody fills; needs root."""
    journal = Journal(tmp_path / "journal")
    name = session_ids(0, 1, prefix="oo")[0]
    with impatient(), place() as here, control_group("memory") as group, started(here) as service:
        group.write("memory.limit_in_bytes", str(LIMIT_BYTES))
        before = service.process.pids()
        for pid in before.values():
            group.add(pid)
        async with (
            live_node(service.address, journal, "oo"),
            connect(service.address, session_id=name, src="en", tgt="oo") as session,
        ):
            job = asyncio.create_task(
                session.submit("payload", services=["nmt"], meta={"sleep_s": 1.0})
            )
            await journal.has("start")
            with hogs(group):
                await until(
                    lambda: service.process.pids() != before, "somebody dies", patience_s=60
                )
            assert service.process.pids().get("manager") == before["manager"]
            assert (await asyncio.wait_for(job, 60)).text == "daolyap"
        await asyncio.to_thread(service.stop)
    journal.check_one_job_each()

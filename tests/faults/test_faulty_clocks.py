"""C1: a wall clock that jumps by hours and years is nobody's business here.

The clock of all processes of a service and of its node is one that jumps ten times a second
(jumping_clock.c).  Jobs, deadlines, heartbeats and sessions go by the monotonic clock.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.yard import CONFIG
from live.journal import Journal
from live.nodes import NodeProcess, node_process
from live.service import LiveService, live_service

from pointsman import connect

SOURCE = Path(__file__).with_name("jumping_clock.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")
JOBS = 30

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(COMPILER is None, reason="needs a C compiler for the clock that jumps"),
]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything started from here on has the jumping clock; who asks for it says so here."""
    assert COMPILER is not None
    library, path = tmp_path / "jumping_clock.so", tmp_path / "says"
    words = (COMPILER, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", str(SOURCE), "-o")
    subprocess.run([*words, str(library)], check=True, timeout=60)
    path.touch()
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("JUMPING_CLOCK_SAYS", str(path))
    return path


@pytest.fixture
def service(says: Path) -> Iterator[LiveService]:
    with live_service(config=CONFIG) as running:
        yield running


@pytest.fixture
def node(service: LiveService, tmp_path: Path) -> Iterator[NodeProcess]:
    with node_process(service.address, Journal(tmp_path / "journal"), "cl") as running:
        yield running


async def test_c1_jobs_deadlines_and_heartbeats_do_not_go_by_a_clock_that_jumps(
    service: LiveService, node: NodeProcess, says: Path
) -> None:
    await node.ready()
    before = (await service.nodes())[node.node_id]
    async with connect(service.address, src="en", tgt="cl") as session:
        for number in range(JOBS):
            result = await session.submit(
                f"{number}", services=["nmt"], deadline_s=20.0, meta={"sleep_s": 0.05}
            )
            assert (result.text, result.attempt) == (f"{number}"[::-1], 1)
    after = (await service.nodes())[node.node_id]
    assert (after.state, after.epoch) == ("ready", before.epoch), "it was never thought dead"
    assert "offline" not in service.process.text()
    # Supervisor, manager, two workers and the node did look at it: the test can fail.
    assert len(says.read_bytes()) >= 3
    await asyncio.to_thread(node.close)

"""The throw-away service that users get for their tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pointsman.testing import ServiceTrouble, running_service

USERS_TEST = """
import asyncio
from pointsman import Node, connect

async def use(address):
    node = Node(address, services=["nmt"], nmt=[("en", "es")])

    @node.handler
    async def translate(job):
        return job.payload[::-1]

    serving = asyncio.create_task(node.run())
    async with asyncio.timeout(20), connect(address, src="en", tgt="es") as session:
        result = await session.submit(b"abc", services=["nmt"])
    await node.drain()
    await serving
    return result

def test_my_node(pointsman_service):
    result = asyncio.run(use(pointsman_service.address))
    assert result.payload == b"cba"
    assert result.attempt == 1
    assert result.placement_us > 0
"""


def traces(instance: str) -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(f"pointsman.{instance}.*")]


def test_the_fixture_gives_users_a_service_for_their_own_tests(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["pointsman.testing"]\n')
    (tmp_path / "test_mine.py").write_text(USERS_TEST)
    # A file of the user's, of the name of a library that the service alone uses.
    (tmp_path / "uvloop.py").write_text('raise RuntimeError("it is not yours")\n')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    ended = subprocess.run(
        [*command, "-W", "error", str(tmp_path)],
        cwd=tmp_path,
        # An empty part of it would be the directory itself.
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "").strip(":")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_service_leaves_nothing_behind() -> None:
    with running_service(workers=1) as service:
        assert service.address.startswith("127.0.0.1:")
        assert traces(service.instance)
    assert service.process.returncode == 0
    assert not traces(service.instance)
    assert not service.runtime_dir.exists()


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text("[nodes]\nmax_node = 5\n")
    with (
        pytest.raises(ServiceTrouble, match="max_node"),
        running_service(workers=1, config=config),
    ):
        raise AssertionError("it started")


def test_a_service_that_was_killed_is_cleared_away() -> None:
    with running_service(workers=1) as service:
        service.kill()
    assert not traces(service.instance)

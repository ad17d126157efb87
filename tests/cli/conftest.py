"""Fixtures of the command line's tests: canned processes, and a real service for each file."""

from collections.abc import Iterator

import pytest
from live.commands import Processes, canned_processes

from pointsman.testing import RunningService, running_service

# All nodes of a test share one busy machine: how busy it is must not matter.
CONFIG = "[nodes]\nresource_threshold_percent = 0\n"


@pytest.fixture
def processes() -> Iterator[Processes]:
    with canned_processes() as made:
        yield made


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    config = tmp_path_factory.mktemp("config") / "pointsman.toml"
    config.write_text(CONFIG)
    config.chmod(0o600)
    with running_service(config=config) as started:
        yield started

"""What most stories of a real service begin with; a file that needs another has its own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.journal import Journal
from live.service import LiveService, live_service


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    """One for all; a test is told from others by the language that its node speaks."""
    with live_service() as started:
        yield started
        asyncio.run(started.has_no_slots_held())


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")

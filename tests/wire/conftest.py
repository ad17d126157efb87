"""Runs the tests of sockets on both event loops that Pointsman runs on."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

SOCKET_TESTS = ("test_driver_", "test_connections_", "test_handover_", "test_admin_")


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop
    }
    if item.path.name.startswith(SOCKET_TESTS):
        factories["uvloop"] = uvloop.new_event_loop
    return factories

"""Nodes in a network of their own, whose packets vanish: kernel, service and node get over it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import namespace_scenarios as scenarios
from faults.namespace_scenarios import NetworkScenario, reachable_service
from faults.namespaces import Namespace, namespace, why_not
from faults.yard import yard
from live.service import LiveService
from supervised_service import place

REASON = why_not()
pytestmark = [pytest.mark.faults, pytest.mark.skipif(bool(REASON), reason=REASON)]


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@pytest.fixture(scope="module")
def service(network: Namespace) -> Iterator[LiveService]:
    with place() as here, reachable_service(here, network) as running:
        yield running
        running.stop()


@pytest.mark.parametrize(
    "scenario",
    [
        scenarios.blackhole_while_idle,
        scenarios.blackhole_with_unacknowledged_data,
    ],
    ids=lambda scenario: scenario.__name__,
)
async def test_n1_n2_what_vanishes_without_a_word_is_noticed(
    service: LiveService, network: Namespace, tmp_path: Path, scenario: NetworkScenario
) -> None:
    async with yard(service, tmp_path) as here:
        try:
            figures = await scenario(here, network)
        finally:
            network.heal()
    print({name: round(value, 2) for name, value in figures.items()})

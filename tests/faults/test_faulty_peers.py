"""Nodes and clients behind a network that fails: what is noticed, and who finishes the work.

Once each, and only some: all of them, and often, is what `make faults` is for.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import client_scenarios, node_scenarios
from faults.yard import CONFIG, Scenario, yard
from live.service import LiveService, live_service

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service(config=CONFIG) as started:
        yield started


@pytest.mark.parametrize(
    "scenario",
    [
        node_scenarios.half_open_idle,
        node_scenarios.half_open_with_unacknowledged_data,
        node_scenarios.half_open_with_zero_window,
        node_scenarios.one_way_to_the_node,
        node_scenarios.half_of_the_nodes_partitioned,
        client_scenarios.any_weather,
        client_scenarios.client_that_reads_nothing,
        client_scenarios.slowloris,
    ],
    ids=lambda scenario: scenario.__name__,
)
async def test_n1_n2_n3_n4_n5_n6_n14_what_happens_to_one_costs_no_other_a_job(
    service: LiveService, tmp_path: Path, scenario: Scenario
) -> None:
    async with yard(service, tmp_path) as here:
        print({name: round(value, 2) for name, value in (await scenario(here)).items()})

"""What is exposed: everything that is counted, in names that promtool accepts, in bounds."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from pointsman_sched.console.observing.exposition import (
    LABEL_VALUES_MAX,
    OTHER,
    Facts,
    capped,
    families,
)
from pointsman_sched.console.observing.names import COUNTERS, GAUGES, TIMINGS
from pointsman_sched.console.observing.process_facts import look_at
from pointsman_sched.console.observing.shared_pages import (
    CatalogFigures,
    FleetFigures,
    PoolFigures,
)
from pointsman_shm.memory.stats import StatsPage, StatsView
from pointsman_shm.memory.stats_names import REFUSAL_REASONS, SELECTORS, Counter, Gauge, Timing

NAME = re.compile(r"pointsman_(worker|manager|fleet|snapshot|process|console)_[a-z_]+")


def full_page(seed: int) -> StatsView:
    """A page on which everything has been counted, each differently."""
    page = StatsPage(bytearray(StatsPage.size()), create=True)
    page.introduce(seed)
    page.beat(seed)
    for counter in Counter:
        page.add(counter, seed + counter)
    for gauge in Gauge:
        page.gauge(gauge, seed + gauge)
    for timing in Timing:
        for duration_ns in (500, 5_000, 5_000_000, 10**12):
            page.observe(timing, duration_ns + seed)
    for selector in SELECTORS:
        for reason in REFUSAL_REASONS:
            page.refuse(selector, reason)
    return page.read()


def full_facts() -> Facts:
    return Facts(
        now_ns=10**12,
        version="1",
        instance="here",
        manager=full_page(7),
        workers={0: full_page(100), 1: full_page(1000)},
        worker_count=2,
        catalog=CatalogFigures(5, 10**11, 10**11, (PoolFigures("a", 4, 3),)),
        fleet=FleetFigures({"ready": 3}, {"paused": 1}, 12, [2, 3], 1, 10**11),
        processes=look_at({"console": os.getpid(), "gone": 2**22 + 1}),
        is_ready=True,
    )


class Shown(Collector):
    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def collect(self) -> Iterator[Metric]:
        return families(self.facts)


def shown(facts: Facts) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Shown(facts))
    return generate_latest(registry).decode()


def read(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_everything_that_is_counted_is_exposed() -> None:
    assert {*COUNTERS} == {*Counter}
    assert {*GAUGES} == {*Gauge}
    assert {*TIMINGS} == {*Timing}
    found = read(shown(full_facts()))
    for sample in [*COUNTERS.values(), *GAUGES.values()]:
        for layer in sample.family.layers:
            assert f"pointsman_{layer}_{sample.family.name}" in found
    for family in TIMINGS.values():
        assert all(f"pointsman_{layer}_{family.name}" in found for layer in family.layers)


def test_counts_are_those_of_the_pages() -> None:
    found = read(shown(full_facts()))
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in found.values()
        for sample in family.samples
    }
    ended = "pointsman_worker_jobs_ended_total"
    by = (("outcome", "failed"), ("worker", "1"))
    assert values[(ended, *by)] == 1000 + Counter.JOBS_FAILED
    assert values[("pointsman_manager_heartbeats_total",)] == 7 + Counter.HEARTBEATS
    assert values[("pointsman_manager_nodes_known",)] == 7 + Gauge.NODES
    refused = "pointsman_worker_no_available_node_total"
    why = (("reason", "no_nodes"), ("selector", "failover"), ("worker", "0"))
    assert values[(refused, *why)] == 1
    assert len(found["pointsman_worker_no_available_node"].samples) == 2 * 3 * len(REFUSAL_REASONS)


def test_buckets_only_grow_and_the_last_counts_everything() -> None:
    histogram = read(shown(full_facts()))["pointsman_manager_turn_seconds"]
    buckets = [s for s in histogram.samples if s.name.endswith("_bucket")]
    counts = [sample.value for sample in buckets]
    assert counts == sorted(counts)
    assert (counts[0], counts[-2], counts[-1]) == (1, 3, 4)
    [total] = [s.value for s in histogram.samples if s.name.endswith("_sum")]
    assert total == pytest.approx(1000.0050055, rel=1e-6)
    bounds = [float(sample.labels["le"]) for sample in buckets]
    assert bounds == sorted({*bounds})
    below = next(s for s in buckets if float(s.labels["le"]) >= 5_000_007 / 1e9)
    assert below.value == 3, "5 ms is in the first bucket whose bound is not below it"


def test_names_say_layer_and_unit() -> None:
    for name in read(shown(full_facts())):
        assert NAME.fullmatch(name), name


def test_a_label_with_many_values_is_capped_and_the_rest_is_other() -> None:
    values = [(f"pool-{number:04}", float(number)) for number in range(1_000)]
    kept = capped(values)
    assert len(kept) == LABEL_VALUES_MAX
    assert kept[0] == ("pool-0999", 999.0)
    assert kept[-1] == (OTHER, sum(range(901)))
    assert len(capped(values[:100])) == 100
    assert OTHER not in dict(capped(values[:100]))


def test_what_cannot_be_read_is_left_out_and_the_rest_is_told() -> None:
    facts = Facts(
        now_ns=1,
        version="1",
        instance="here",
        manager=None,
        workers={},
        worker_count=2,
        catalog=None,
        fleet=None,
        processes={},
        is_ready=False,
    )
    found = read(shown(facts))
    assert found["pointsman_console_ready"].samples[0].value == 0
    assert "pointsman_fleet_slots" not in found


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_criticise() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=shown(full_facts()),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (0, "", "")

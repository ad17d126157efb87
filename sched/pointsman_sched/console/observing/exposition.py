"""Makes metric families of what shared memory and the system say: pure, from copies of both."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from pointsman_sched.console.observing.names import (
    COUNTERS,
    GAUGES,
    MANAGER,
    TIMINGS,
    WORKER,
    Family,
)
from pointsman_sched.console.observing.process_facts import ProcessFacts
from pointsman_sched.console.observing.shared_pages import CatalogFigures, FleetFigures
from pointsman_shm.memory.stats import BUCKET_COUNT, StatsView, TimingView, bucket_end_ns
from pointsman_shm.paths import worker_process

LABEL_VALUES_MAX = 100
OTHER = "other"
# One bound an octave: a quarter of the buckets that the pages have.
_BOUNDS = [(bucket, f"{bucket_end_ns(bucket) / 1e9:.9g}") for bucket in range(0, BUCKET_COUNT, 4)]

Page = tuple[str, StatsView]  # its worker's number, "" for the manager


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that is exposed; what cannot be read now is None, or missing."""

    now_ns: int  # monotonic
    version: str
    instance: str
    manager: StatsView | None
    workers: Mapping[int, StatsView]
    worker_count: int
    catalog: CatalogFigures | None
    fleet: FleetFigures | None
    processes: Mapping[str, ProcessFacts]
    is_ready: bool


def families(facts: Facts) -> Iterator[Metric]:
    """Return everything, one family after another."""
    yield from _of_service(facts)
    pages = [(str(number), view) for number, view in facts.workers.items()]
    yield from _of_pages(WORKER, pages)
    yield _refusals(pages)
    yield from _of_pages(MANAGER, [("", facts.manager)] if facts.manager is not None else [])
    yield from _of_catalog(facts)
    if facts.fleet is not None:
        yield from _of_fleet(facts.fleet, facts.now_ns)
    yield from _of_processes(facts.processes)


def capped(values: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Keep as many values of a label as are allowed, the largest; the rest counts as one."""
    ranked = sorted(values, key=lambda pair: (-pair[1], pair[0]))
    if len(ranked) <= LABEL_VALUES_MAX:
        return ranked
    kept = ranked[: LABEL_VALUES_MAX - 1]
    return [*kept, (OTHER, sum(value for _, value in ranked[LABEL_VALUES_MAX - 1 :]))]


def _gauge(name: str, words: str, *values: tuple[str, float], label: str = "") -> Metric:
    family = GaugeMetricFamily(f"pointsman_{name}", words, labels=[label] if label else [])
    for value, number in values:
        family.add_metric([value] if label else [], number)
    return family


def _of_service(facts: Facts) -> Iterator[Metric]:
    build = GaugeMetricFamily(
        "pointsman_console_build_info", "Which service this is", labels=["version", "instance"]
    )
    build.add_metric([facts.version, facts.instance], 1)
    yield build
    yield _gauge("console_ready", "1 while /ready says so", ("", facts.is_ready))
    yield _gauge("console_workers_configured", "Workers that should run", ("", facts.worker_count))
    beats = [(worker_process(number), view) for number, view in facts.workers.items()]
    beats += [("manager", facts.manager)] if facts.manager is not None else []
    ages = [(name, max(0, facts.now_ns - v.beat_at_ns) / 1e9) for name, v in beats if v.beat_at_ns]
    yield _gauge("console_beat_age_seconds", "Since the last turn", *ages, label="process")


def _of_pages(layer: str, pages: list[Page]) -> Iterator[Metric]:
    own = [WORKER] if layer == WORKER else []
    found: dict[Family, Metric] = {}
    for counter, sample in COUNTERS.items():
        for number, view in pages if layer in sample.family.layers else ():
            family = found.setdefault(sample.family, _counter_family(layer, sample.family, own))
            labels = [*([number] if own else []), *sample.labels]
            assert isinstance(family, CounterMetricFamily)
            family.add_metric(labels, view.counters[counter.name.lower()])
    for gauge, (gauge_family, _) in GAUGES.items():
        if layer in gauge_family.layers:
            values = [(number, float(v.gauges[gauge.name.lower()])) for number, v in pages]
            name = f"{layer}_{gauge_family.name}"
            yield _gauge(name, gauge_family.help, *values, label=WORKER if own else "")
    yield from found.values()
    for timing, timed in TIMINGS.items():
        if layer in timed.layers:
            yield _histogram(layer, timed, timing.name.lower(), pages)


def _counter_family(layer: str, family: Family, own: list[str]) -> CounterMetricFamily:
    name = f"pointsman_{layer}_{family.name}"
    return CounterMetricFamily(name, family.help, labels=[*own, *family.labels])


def _histogram(layer: str, family: Family, timing: str, pages: list[Page]) -> Metric:
    labels = [WORKER] if layer == WORKER else []
    made = HistogramMetricFamily(f"pointsman_{layer}_{family.name}", family.help, labels=labels)
    for number, view in pages:
        seen = view.timings[timing]
        made.add_metric([number] if labels else [], _buckets(seen), seen.total_ns / 1e9)
    return made


def _buckets(seen: TimingView) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound in seconds; the last one counts everything."""
    reached: list[tuple[str, float]] = []
    total = at = 0
    for bucket, bound in _BOUNDS:
        total += sum(seen.buckets[at : bucket + 1])
        at = bucket + 1
        reached.append((bound, total))
    return [*reached, ("+Inf", total + sum(seen.buckets[at:]))]


def _refusals(pages: list[Page]) -> Metric:
    family = CounterMetricFamily(
        "pointsman_worker_no_available_node",
        "Jobs for which there was no node, by how it was looked for and what most nodes lacked",
        labels=[WORKER, "selector", "reason"],
    )
    for number, view in pages:
        for (selector, reason), count in view.refusals.items():
            family.add_metric([number, selector, reason], count)
    return family


def _of_catalog(facts: Facts) -> Iterator[Metric]:
    catalog = facts.catalog
    if catalog is None:
        return
    yield _gauge("snapshot_version", "The version published last", ("", catalog.version))
    if catalog.beat_at_ns:
        age_s = max(0, facts.now_ns - catalog.beat_at_ns) / 1e9
        yield _gauge("snapshot_age_seconds", "Since the manager's last sign of life", ("", age_s))
    if catalog.published_at_ns:
        age_s = max(0, facts.now_ns - catalog.published_at_ns) / 1e9
        yield _gauge("snapshot_unchanged_seconds", "Since the last version", ("", age_s))
    pools = catalog.pools
    online = capped((pool.name, pool.online) for pool in pools)
    yield _gauge("fleet_pool_nodes", "Members not Offline", *online, label="pool")
    ready = capped((pool.name, pool.ready) for pool in pools)
    yield _gauge("fleet_pool_nodes_ready", "Members that are Ready", *ready, label="pool")


def _of_fleet(fleet: FleetFigures, now_ns: int) -> Iterator[Metric]:
    yield _gauge("fleet_nodes", "Nodes, by state", *fleet.nodes.items(), label="state")
    flags = fleet.flagged.items()
    yield _gauge("fleet_nodes_flagged", "Nodes that have a flag", *flags, label="flag")
    yield _gauge("fleet_slots", "Slots of nodes that get jobs", ("", fleet.slots))
    held = [(str(number), float(count)) for number, count in enumerate(fleet.held)]
    yield _gauge("fleet_slots_held", "Slots held in the ledger", *held, label=WORKER)
    yield _gauge("fleet_slots_foreign", "Slots that others than us use", ("", fleet.foreign))
    if fleet.oldest_heartbeat_at_ns:
        age_s = max(0, now_ns - fleet.oldest_heartbeat_at_ns) / 1e9
        words = "The oldest last heartbeat of a node that gets jobs"
        yield _gauge("fleet_heartbeat_age_seconds", words, ("", age_s))


def _of_processes(processes: Mapping[str, ProcessFacts]) -> Iterator[Metric]:
    cpu = CounterMetricFamily(
        "pointsman_process_cpu_seconds", "User and system time", labels=["process"]
    )
    for name, found in processes.items():
        cpu.add_metric([name], found.cpu_s)
    yield cpu
    for name, words, field in _PROCESS_GAUGES:
        values = [(process, float(getattr(found, field))) for process, found in processes.items()]
        yield _gauge(f"process_{name}", words, *values, label="process")


_PROCESS_GAUGES = (
    ("resident_memory_bytes", "Resident memory", "resident_bytes"),
    ("open_fds", "Descriptors that are open", "descriptors"),
    ("max_fds", "Descriptors that may be open", "descriptors_max"),
    ("threads", "Threads", "threads"),
    ("start_time_seconds", "When it began, since the epoch", "started_at_s"),
)

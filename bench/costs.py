"""Where the time of one job goes: by stage, by feature, and the parts that have a budget.

    stage     one worker's whole turns on heap memory, as installed, with 1, 8 and 64 jobs in each
              read: decoding, the core's three steps, the journal's writes, encoding.  What a real
              worker needs above their sum (roundtrip.py) is its event loop and the kernel
    feature   the same with one thing switched on or off, eight jobs in each read; `more_us` is
              what that changes
    budget    single parts for which the service has a budget

CPU time of one thread, medians of interleaved rounds.
"""

import asyncio
import gc
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from _shared.budgets import budget_rows
from _shared.features import STAGES, Feature, Host
from _shared.report import Options, Row, median_row, report, run
from msgspec.structs import replace

from pointsman_shm.config import Config, ListedTenant, TenantsConfig

BATCHES = (1, 8, 64)
FEATURE_BATCH = 8
JOBS = 8_000
QUICK_JOBS = 800
ROUNDS = 9
QUICK_ROUNDS = 3
WARM_JOBS = 256
THRESHOLD = (10_000, 10, 1_000)  # of the collector, as in a worker once it has started
WHOLE = "all of the above"


def with_pools(**fields: object) -> Callable[[Config], Config]:
    """Change the section of pools."""
    return lambda config: replace(config, pools=replace(config.pools, **fields))


def with_hedging(config: Config) -> Config:
    """Send slow idempotent jobs twice; here none is slow, so the watching is what costs."""
    return replace(config, jobs=replace(config.jobs, hedge_after_percentile=95.0))


def with_limits(config: Config) -> Config:
    """Give the tenant of these sessions a rate and a quota."""
    tenant = ListedTenant(name="", jobs_per_s=1e6, burst=10_000_000, jobs_max=10_000_000)
    return replace(config, tenants=TenantsConfig(listed=(tenant,)))


FEATURES = (
    Feature(),
    Feature(name="without journal", has_journal=False),
    Feature(name="durability memory", submit={"durability": "memory"}),
    Feature(name="without record of decisions", has_recorder=False),
    Feature(name="explanation in every result", submit={"explain": True}),
    Feature(name="order utterance", order="utterance"),
    Feature(name="order serial", order="serial"),
    Feature(name="hedging", change_config=with_hedging, submit={"idempotent": True}),
    Feature(name="spread", change_config=with_pools(spread=True)),
    Feature(name="sticky", change_config=with_pools(sticky=True)),
    Feature(name="node_choice weighted", change_config=with_pools(node_choice="weighted")),
    Feature(name="pool_choice weighted", change_config=with_pools(pool_choice="weighted")),
    Feature(name="session_affinity", change_config=with_pools(session_affinity=True)),
    Feature(name="sample_size 2", change_config=with_pools(sample_size=2)),
    Feature(name="rate and quota of the tenant", change_config=with_limits),
    Feature(name="labels preferred", submit={"labels_preferred": {"room": "a"}}),
)


async def measure(feature: Feature, batch: int, jobs: int) -> Row:
    """Run so many jobs; return the CPU time of each by stage."""
    with TemporaryDirectory(dir=os.getcwd(), prefix=".bench-") as directory:
        host = Host(feature, Path(directory))
        for _ in range(max(2, WARM_JOBS // batch)):
            await host.run_batch(batch)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLD)
        host.parts_ns = dict.fromkeys(STAGES, 0)
        turns = max(1, jobs // batch)
        for _ in range(turns):
            await host.run_batch(batch)
        gc.unfreeze()
        host.close()
    return {stage: took_ns / turns / batch / 1e3 for stage, took_ns in host.parts_ns.items()}


def stage_rows(jobs: int, rounds: int) -> list[Row]:
    """Return a row for each stage at each number of jobs in a read."""
    found: dict[int, list[Row]] = {batch: [] for batch in BATCHES}
    for _ in range(rounds):
        for batch, rows in found.items():
            rows.append(asyncio.run(measure(FEATURES[0], batch, jobs)))
    made: list[Row] = []
    for batch, rows in found.items():
        parts = median_row(rows)
        parts[WHOLE] = sum(float(took_us) for took_us in parts.values())
        made += [
            {"kind": "stage", "jobs_a_read": batch, "stage": stage, "cpu_us_per_job": took_us}
            for stage, took_us in parts.items()
        ]
    return made


def feature_rows(jobs: int, rounds: int) -> list[Row]:
    """Return a row for each feature, and what it changes against the plain run before it."""
    plain: list[float] = []
    found: dict[str, list[float]] = {feature.name: [] for feature in FEATURES[1:]}
    more: dict[str, list[float]] = {feature.name: [] for feature in FEATURES[1:]}
    for _ in range(rounds):
        for feature in FEATURES[1:]:
            plain.append(whole_of(FEATURES[0], jobs))
            found[feature.name].append(whole_of(feature, jobs))
            more[feature.name].append(found[feature.name][-1] - plain[-1])
    what: Row = {"kind": "feature", "system": "pointsman", "jobs_a_read": FEATURE_BATCH}
    rows: list[Row] = [{**what, "cpu_us_per_job": median(plain), "more_us": 0.0}]
    for name, took in found.items():
        row = {**what, "cpu_us_per_job": median(took), "more_us": median(more[name])}
        rows.append({**row, "variant": name})
    return rows


def whole_of(feature: Feature, jobs: int) -> float:
    """Return the microseconds of a job with this feature."""
    parts = asyncio.run(measure(feature, FEATURE_BATCH, jobs))
    return sum(float(took_us) for took_us in parts.values())


def main(options: Options) -> None:
    """Measure all of it, and report."""
    jobs = QUICK_JOBS if options.is_quick else JOBS
    rounds = QUICK_ROUNDS if options.is_quick else ROUNDS
    rows = stage_rows(jobs, rounds) + feature_rows(jobs, rounds)
    rows += budget_rows(is_quick=options.is_quick)
    report("costs", rows, options)


if __name__ == "__main__":
    run("Where the time of one job goes: by stage, by feature, against the budgets.", main)

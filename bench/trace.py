"""How long jobs wait when a real service's arrivals meet a fleet of unlike nodes.

    python bench/trace.py --trace FILE [FILE ...] [--quick] [--json FILE]

The same arrivals of each file, warped to the same load, go to the real worker core and to simpler
ways to choose, on a virtual clock: a quarter of the nodes is half as fast as most, a quarter twice
as fast.
`clairvoyant` is a bound that nobody can reach.  Rows of other sample sizes have a `variant`.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time

from _replay.fleets import Done, capacity_of, figures, speeds_of
from _replay.ours import run_ours
from _replay.simple import at_random, least_connections, round_robin, run_clairvoyant, run_simple
from _replay.traces import Arrival, Replayed, TraceError, read_trace, replay
from _shared.report import Options, Row, report

NODE_COUNTS = (10, 100, 1_000, 10_000)
QUICK_NODE_COUNTS = (10, 100)
LOADS = (0.5, 0.8, 0.95)
JOBS_PER_NODE = 20
JOBS_MAX = 100_000
QUICK_JOBS = 3_000
SAMPLE_SIZE = 8  # of the product as installed
SAMPLE_SIZES = (2, 32)
SAMPLES_AT = 100  # nodes at which sample sizes are compared

Run = Callable[[Sequence[Arrival], Sequence[float]], list[Done]]


def systems(node_count: int) -> list[tuple[str, str, Run]]:
    """Return (system, variant, run) for a fleet of this size."""
    found: list[tuple[str, str, Run]] = [("pointsman", "", _ours(SAMPLE_SIZE))]
    if node_count == SAMPLES_AT:
        found += [("pointsman", f"sample_size={size}", _ours(size)) for size in SAMPLE_SIZES]
    return [
        *found,
        ("random", "", lambda jobs, speeds: run_simple(at_random(len(speeds)), jobs, speeds)),
        (
            "round_robin",
            "",
            lambda jobs, speeds: run_simple(round_robin(len(speeds)), jobs, speeds),
        ),
        (
            "least_connections",
            "",
            lambda jobs, speeds: run_simple(least_connections(len(speeds)), jobs, speeds),
        ),
        ("clairvoyant", "", run_clairvoyant),
    ]


def _ours(sample_size: int) -> Run:
    return lambda jobs, speeds: run_ours(jobs, speeds, sample_size)


def measure(
    name: str, trace: list[Arrival], *, node_count: int, load: float, jobs: int
) -> list[Row]:
    """Run every system on one fleet at one load."""
    speeds = speeds_of(node_count)
    made = replay(trace, capacity=capacity_of(speeds), load=load, jobs=jobs)
    arrivals: Row = {"trace": name}
    return [arrivals | row_of(made, node_count, load, system) for system in systems(node_count)]


def row_of(made: Replayed, node_count: int, load: float, system: tuple[str, str, Run]) -> Row:
    """Run one system."""
    name, variant, run = system
    began_s = process_time()
    done = run(made.arrivals, speeds_of(node_count))
    took_s = process_time() - began_s
    row: Row = {"system": name}
    if variant:
        row["variant"] = variant
    row |= {"nodes": node_count, "load": load, "jobs": len(done)}
    row |= {"copies": made.copies, "time_warp": made.warp}
    row |= figures(done)
    if name == "pointsman":
        row["cpu_us_per_job"] = took_s / len(done) * 1e6
    return row


def main(options: Options, paths: Sequence[Path]) -> None:
    """Replay, and report."""
    if not paths:
        print("without --trace FILE there is nothing to replay: give a CSV with the columns")
        print("TIMESTAMP, GeneratedTokens or t_s, session, output_tokens, gzipped or not")
        return
    traces = {path.name.partition(".")[0]: read_trace(path) for path in paths}
    rows: list[Row] = []
    for name, trace in traces.items():
        for node_count in QUICK_NODE_COUNTS if options.is_quick else NODE_COUNTS:
            usual = min(JOBS_MAX, 5_000 + JOBS_PER_NODE * node_count)
            jobs = QUICK_JOBS if options.is_quick else usual
            for load in LOADS:
                rows += measure(name, trace, node_count=node_count, load=load, jobs=jobs)
    report("trace", rows, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Waits and slowdowns on a real service's arrivals."
    )
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", nargs="+", default=[], help="CSVs of arrivals"
    )
    parser.add_argument("--quick", action="store_true", help="the short run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    found = parser.parse_args()
    try:
        main(Options(is_quick=found.quick, json_path=found.json), found.trace)
    except TraceError as error:
        parser.error(str(error))

"""How long jobs wait when a real service's arrivals meet a fleet of unlike nodes.

    python bench/trace.py --trace FILE [FILE ...] [--quick] [--json FILE]

fleets       the same arrivals, warped to the same load, go to the real worker core and to simpler
             ways to choose, on a virtual clock: a quarter of the nodes is half as fast as most, a
             quarter twice as fast; `clairvoyant` is a bound that nobody can reach
sample sizes the worker core again, looking at other numbers of nodes for each decision
pools        and where nodes are unlike in what they can do as well, so that there are three pools
real time    a real service, nodes that hold a slot for as long as the job takes, and a client that
             submits by the clock, all of it `time_scale` times as long as in the trace; beside it
             the worker core on a virtual clock, with the very same arrivals
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from _replay.fleets import SLOTS, Ran, capacity_of, figures, speeds_of
from _replay.live import run_live
from _replay.ours import ALIKE, THREE_POOLS, run_ours
from _replay.simple import LeastConnections, at_random, round_robin, run_clairvoyant, run_simple
from _replay.traces import Arrival, TraceError, at_scale, read_trace, replay
from _shared.report import Options, Row, report

NODE_COUNTS = (10, 100, 1_000, 10_000)
LOADS = (0.5, 0.8, 0.95)
SAMPLE_SIZE = 8  # of the product as installed
SAMPLE_SIZES = (2, 4, SAMPLE_SIZE, 32, 128)
SAMPLES_AT = 1_000  # nodes at which sample sizes are compared
SAMPLES_LOADS = (0.5, 0.95)
POOLS_AT = 1_000  # nodes at which one pool and three are compared
POOLS_LOAD = 0.8
LIVE_NODES = 10
LIVE_LOAD = 0.8
LIVE_SCALE = 0.2


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a trace a row replays."""

    jobs_per_slot: int  # wanted, in whole copies of the trace
    jobs_max: int
    live_s: float  # from the first to the last arrival in real time


FULL = Extent(jobs_per_slot=10, jobs_max=400_000, live_s=90.0)
QUICK = Extent(jobs_per_slot=5, jobs_max=80_000, live_s=22.0)

Run = Callable[[Sequence[Arrival], Sequence[float]], Ran]
Trace = tuple[str, list[Arrival]]

SYSTEMS: dict[str, Run] = {
    "pointsman": lambda jobs, speeds: run_ours(jobs, speeds, SAMPLE_SIZE),
    "random": lambda jobs, speeds: run_simple(at_random(len(speeds)), jobs, speeds),
    "round_robin": lambda jobs, speeds: run_simple(round_robin(len(speeds)), jobs, speeds),
    "least_connections": lambda jobs, speeds: run_simple(
        LeastConnections(len(speeds)), jobs, speeds
    ),
    "clairvoyant": run_clairvoyant,
}


class Stage:
    """One fleet at one load, and the arrivals that come to it."""

    def __init__(self, trace: Trace, node_count: int, load: float, extent: Extent) -> None:
        name, arrivals = trace
        self.speeds = speeds_of(node_count)
        slots = SLOTS * node_count
        self._made = replay(
            arrivals,
            capacity=capacity_of(self.speeds),
            load=load,
            jobs_wanted=extent.jobs_per_slot * slots,
            jobs_max=extent.jobs_max,
        )
        self.arrivals = self._made.arrivals
        self._name = name
        self._which: Row = {"nodes": node_count, "load": load}
        self._how: Row = {
            "jobs": len(self.arrivals),
            "jobs_max": extent.jobs_max,
            "copies": self._made.copies,
            "jobs_per_slot": len(self.arrivals) / slots,
            "time_warp": self._made.warp,
        }

    def row(self, kind: str, ran: Ran, system: str, variant: str = "") -> Row:
        """Say what came out; the product as installed has no variant."""
        row: Row = {"kind": kind, "trace": self._name, "system": system}
        if variant:
            row["variant"] = variant
        row |= self._which | self._how | figures(ran.done)
        if ran.core_s:
            row["cpu_us_per_job"] = ran.core_s / len(ran.done) * 1e6
        return row


def fleets(trace: Trace, extent: Extent) -> list[Row]:
    """Run every system on every fleet at every load."""
    stages = [Stage(trace, count, load, extent) for count in NODE_COUNTS for load in LOADS]
    return [
        stage.row("fleets", run(stage.arrivals, stage.speeds), system)
        for stage in stages
        for system, run in SYSTEMS.items()
    ]


def sample_sizes(trace: Trace, extent: Extent) -> list[Row]:
    """Run the product with samples of several sizes."""
    rows = []
    for load in SAMPLES_LOADS:
        stage = Stage(trace, SAMPLES_AT, load, extent)
        for size in SAMPLE_SIZES:
            ran = run_ours(stage.arrivals, stage.speeds, size)
            variant = "" if size == SAMPLE_SIZE else f"sample_size={size}"
            rows.append(stage.row("sample sizes", ran, "pointsman", variant))
    return rows


def pools(trace: Trace, extent: Extent) -> list[Row]:
    """Run the product where all nodes are alike, and where it prefers some of them."""
    stage = Stage(trace, POOLS_AT, POOLS_LOAD, extent)
    rows = []
    for languages, variant in ((ALIKE, ""), (THREE_POOLS, "three pools")):
        ran = run_ours(stage.arrivals, stage.speeds, SAMPLE_SIZE, languages)
        rows.append(stage.row("pools", ran, "pointsman", variant))
    return rows


def real_time(trace: Trace, extent: Extent) -> list[Row]:
    """Run the product in real time and on a virtual clock, on the same arrivals."""
    name, arrivals = trace
    work_s = sum(arrival.service_s for arrival in arrivals) / len(arrivals)
    per_s = LIVE_LOAD * capacity_of(speeds_of(LIVE_NODES)) / work_s
    jobs_max = int(per_s * extent.live_s / LIVE_SCALE)
    short = msgspec.structs.replace(extent, jobs_per_slot=0, jobs_max=jobs_max)
    stage = Stage((name, arrivals), LIVE_NODES, LIVE_LOAD, short)
    jobs = at_scale(stage.arrivals, LIVE_SCALE)
    watched = run_live(jobs, LIVE_NODES)
    live = stage.row("real time", Ran(watched.done), "pointsman", "real-time")
    live["client_late_p99_ms"] = watched.late_p99_s * 1e3
    ran = run_ours(jobs, stage.speeds, SAMPLE_SIZE)
    simulated = stage.row("real time", ran, "pointsman", "the same, simulated")
    return [row | {"time_scale": LIVE_SCALE} for row in (live, simulated)]


def main(options: Options, paths: Sequence[Path]) -> None:
    """Replay, and report."""
    if not paths:
        print("without --trace FILE there is nothing to replay: give a CSV with the columns")
        print("TIMESTAMP, GeneratedTokens or t_s, session, output_tokens, gzipped or not")
        return
    traces = [(path.name.partition(".")[0], read_trace(path)) for path in paths]
    extent = QUICK if options.is_quick else FULL
    rows = [
        row
        for measure in (fleets, sample_sizes, pools, real_time)
        for trace in traces
        for row in measure(trace, extent)
    ]
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
    except KeyboardInterrupt:
        sys.exit("interrupted: everything that was started is ended")

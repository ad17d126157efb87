"""From submit to result through real processes, beside a relay of the same frames: the floor.

The main figure is the CPU time of the worker process for each job: where the load generators share
the machine with it, they bound throughput.  The systems of a group run side by side and idle while
another is measured; each figure is the median of rounds in which every system had its turn at every
depth.  Python's own peers are a group by themselves, with a floor of their own: they do not idle
when there is nothing to do.
"""

from collections.abc import Sequence
from contextlib import ExitStack

from _load.orders import Order, Outcome
from _load.peers.python.systems import celery_redis, dask_distributed, rq_redis
from _load.systems import (
    Line,
    PeerMissing,
    System,
    floor,
    gearmand,
    nats_server,
    peer_versions,
    pointsman,
    pointsman_compiled,
    pointsman_with_sdk,
)
from _shared.report import Options, Row, median_row, report, run

DEPTHS = (1, 8, 64, 512)
# Many connections with a session each, as far as there is a job for most of them.
CONNECTIONS = (1, 100, 1_000)
DEEP = (64, 512)
GROUPS: tuple[tuple[System, ...], ...] = (
    (pointsman, pointsman_compiled, pointsman_with_sdk, floor, gearmand, nats_server),
    (floor, celery_redis, rq_redis, dask_distributed),
)
QUICK_GROUPS: tuple[tuple[System, ...], ...] = ((pointsman, floor, gearmand),)
ROUNDS = 5
QUICK_ROUNDS = 3
RUN_S = 1.5
QUICK_RUN_S = 0.7
WARM_S = 0.15
SATURATED_LOAD = 0.9


def measure(lines: Sequence[Line], *, round_count: int, run_s: float) -> list[Row]:
    """Give every line its turn at every depth in each round; return one row for each of both."""
    found: dict[tuple[int, int], list[Row]] = {}
    turns = [
        (depth, number, line)
        for depth in DEPTHS
        for number, line in enumerate(lines)
        if line.connections == 1 or depth in DEEP
    ]
    for _ in range(round_count):
        for depth, number, line in turns:
            outcome = line.run(Order(depth=depth, warm_s=WARM_S, run_s=run_s))
            found.setdefault((number, depth), []).append(row_of(line, depth, outcome))
    lacks = {line.system: line.lacks for line in lines}
    rows = [median_row(rounds) for _, rounds in sorted(found.items())]
    for row in rows:
        row["saturated"] = saturated(row)
        row["times_floor"] = cpu_of(row) / floor_of(rows, row)
        if lacks[str(row["system"])]:
            row["lacks"] = lacks[str(row["system"])]
    return rows


def row_of(line: Line, depth: int, outcome: Outcome) -> Row:
    """Return the row of one round."""
    row: Row = {"system": line.system}
    if line.variant:
        row["variant"] = line.variant
    row["depth"] = depth
    row["connections"] = line.connections
    row["cpu_us_per_job"] = outcome.cpu_s["server"] / max(1, outcome.jobs) * 1e6
    row["all_us_per_job"] = sum(outcome.cpu_s.values()) / max(1, outcome.jobs) * 1e6
    row["jobs_per_s"] = outcome.jobs / outcome.elapsed_s
    row["p50_us"] = outcome.p50_us
    row["p99_us"] = outcome.p99_us
    for name in ("server", "nodes", "client"):
        row[f"{name}_load"] = outcome.cpu_s[name] / outcome.elapsed_s
    return row


def saturated(row: Row) -> str:
    """Name the process that used a whole CPU, if one did."""
    loads = {name: float(row[f"{name}_load"]) for name in ("server", "nodes", "client")}
    busiest = max(loads, key=lambda name: loads[name])
    return busiest if loads[busiest] >= SATURATED_LOAD else "none"


def cpu_of(row: Row) -> float:
    """Return the main figure of a row."""
    return float(row["cpu_us_per_job"])


def floor_of(rows: Sequence[Row], row: Row) -> float:
    """Return the main figure of the floor for a row's load."""
    (found,) = (
        cpu_of(other)
        for other in rows
        if other["system"] == "floor"
        and (other["depth"], other["connections"]) == (row["depth"], row["connections"])
    )
    return found


def measure_group(systems: Sequence[System], options: Options, left_out: list[str]) -> list[Row]:
    """Start these systems, measure, end them all; return their rows.

    What is not there is said, and added to `left_out` with its reason.
    """
    with ExitStack() as stack:
        lines: list[Line] = []
        for start in systems:
            try:
                lines += start(stack, (1,) if options.is_quick else CONNECTIONS)
            except PeerMissing as missing:
                left_out.append(f"{start.__name__}: {missing}")
                print(f"without {left_out[-1]}")
        return measure(
            lines,
            round_count=QUICK_ROUNDS if options.is_quick else ROUNDS,
            run_s=QUICK_RUN_S if options.is_quick else RUN_S,
        )


def main(options: Options) -> None:
    """Measure group by group, and report; the floor is that of the first one."""
    first, *others = QUICK_GROUPS if options.is_quick else GROUPS
    left_out: list[str] = []
    rows = measure_group(first, options, left_out)
    for systems in others:
        found = measure_group(systems, options, left_out)
        rows += [row for row in found if row["system"] != "floor"]
    facts: Row = {"peers": peer_versions(), "left_out": "; ".join(left_out)}
    report("roundtrip", rows, options, facts)


if __name__ == "__main__":
    run("CPU, throughput and latency of jobs from submit to result.", main)

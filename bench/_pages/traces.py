"""The section of replayed arrivals: a table for each trace, sample sizes, and real time."""

from collections.abc import Sequence

import msgspec

from _pages.results import Column, Result, Results, Row, short, table
from _pages.sections import source

AS_INSTALLED = 8  # nodes that are looked at for each decision
SAMPLE_SIZE = "sample_size="  # a variant begins so
FLEETS = "fleets"
SAMPLES = "sample sizes"
REAL_TIME = "real time"
POOLS = "pools"
LEAST = 0.01  # milliseconds, or percent


class Sample(msgspec.Struct, frozen=True):
    """One sample size on one trace."""

    trace: str
    load: float
    size: int
    row: Row


def short_name(trace: str) -> str:
    """Return what tells traces apart: the last word, or the first of a name in small letters."""
    words = trace.split("_")
    return words[0] if trace.islower() else words[-1]


def replayed(results: Results) -> str:
    """Tables of all fleets, of sample sizes, and of real time beside the virtual clock."""
    result = results["trace"]
    fleets = [row for row in result.rows if row.get("kind", FLEETS) == FLEETS]
    fleets = [row for row in fleets if "variant" not in row]
    parts = [_fleets(name, fleets) for name in dict.fromkeys(row["trace"] for row in fleets)]
    parts += [_sample_sizes(result), _pools(result), _real_time(result.of_kind(REAL_TIME))]
    return "\n\n".join([part for part in parts if part] + [source(result, " --trace FILE ...")])


def _fleets(trace: str, fleets: Sequence[Row]) -> str:
    """A line for each fleet and load, a column for each system."""
    rows = [row for row in fleets if row["trace"] == trace]
    systems = dict.fromkeys(row["system"] for row in rows)
    lines: dict[tuple[int, float], Row] = {}
    for row in rows:
        head = {key: row[key] for key in ("nodes", "load", "jobs")}
        line = lines.setdefault((row["nodes"], row["load"]), head)
        keys = ("wait_mean_ms", "slowdown_mean", "missed_percent")
        line[row["system"]] = " / ".join(_at_least(row[key]) for key in keys)
    columns = [Column("nodes", "nodes"), Column("load", "load"), Column("jobs", "jobs")]
    columns += [Column(system, system.replace("_", " ")) for system in systems]
    words = f"**{trace}**: mean wait in ms / mean slowdown / missed deadlines in %."
    return f"{words}\n\n{table([*lines.values()], columns)}"


def samples_of(result: Result) -> list[Sample]:
    """Return the rows of the product with every sample size, where several were tried."""
    others = [row for row in result.rows if str(row.get("variant", "")).startswith(SAMPLE_SIZE)]
    places = {(row["nodes"], row["load"]) for row in others}
    installed = [
        row
        for row in result.rows
        if row["system"] == "pointsman"
        and "variant" not in row
        and row.get("kind", SAMPLES) == SAMPLES
        and (row["nodes"], row["load"]) in places
    ]
    found = [_sample(row, int(row["variant"].removeprefix(SAMPLE_SIZE))) for row in others]
    found += [_sample(row, AS_INSTALLED) for row in installed]
    return sorted(found, key=lambda sample: sample.size)


def _sample(row: Row, size: int) -> Sample:
    return Sample(row["trace"], row["load"], size, row)


def _sample_sizes(result: Result) -> str:
    """A line for each trace and load, a column for each size."""
    found = samples_of(result)
    lines: dict[tuple[str, float], Row] = {}
    for each in sorted(found, key=lambda each: (each.load, each.size)):
        head: Row = {"trace": each.trace, "load": each.load}
        line = lines.setdefault((each.trace, each.load), head)
        cost = f"{each.row['cpu_us_per_job']:.0f}"
        line[str(each.size)] = f"{each.row['slowdown_mean']:.3f} / {cost}"
    columns = [Column("trace", "nodes looked at:"), Column("load", "load")]
    columns += [Column(str(size), str(size)) for size in sorted({each.size for each in found})]
    words = (
        f"Quality against cost of `sample_size` ({AS_INSTALLED} as installed), "
        f"{found[0].row['nodes']:,} nodes: mean slowdown / CPU of the worker's core in µs a job."
    )
    return f"{words}\n\n{table([*lines.values()], columns)}"


def _pools(result: Result) -> str:
    """Several pools beside one."""
    rows = [{"variant": "one pool", **row} for row in result.of_kind(POOLS)]
    if not rows:
        return ""
    columns = [
        Column("trace", "trace"),
        Column("variant", "pools"),
        Column("wait_mean_ms", "mean wait, ms"),
        Column("slowdown_mean", "mean slowdown"),
        Column("cpu_us_per_job", "CPU, µs a job"),
    ]
    words = (
        f"Nodes in pools, the first of which is preferred until it is full: {rows[0]['nodes']:,} "
        f"nodes, a load of {rows[0]['load']}."
    )
    return f"{words}\n\n{table(rows, columns)}"


def _real_time(rows: Sequence[Row]) -> str:
    """A real service beside the virtual clock, on the same arrivals."""
    if not rows:
        return ""
    columns = [
        Column("trace", "trace"),
        Column("variant", "clock"),
        Column("jobs", "jobs"),
        Column("wait_mean_ms", "wait: mean, ms"),
        Column("wait_p99_ms", "p99"),
        Column("slowdown_mean", "slowdown: mean"),
        Column("slowdown_p99", "p99"),
        Column("missed_percent", "missed, %"),
        Column("client_late_p99_ms", "client late, p99, ms"),
    ]
    first = rows[0]
    words = (
        f"In real time and on a virtual clock: {first['nodes']} nodes, a load of {first['load']}, "
        f"{first['time_scale']} times the instants and services of the tables above."
    )
    return f"{words}\n\n{table(rows, columns)}"


def _at_least(value: float) -> str:
    """Return a number, and of one that is next to nothing no more than that it is not nothing."""
    return f"< {LEAST}" if 0 < value < LEAST else short(value)

"""The tables of what Redis costs: a job from submit to result, and coordination by itself."""

from _pages.results import Column, Result, Results, short, table
from _pages.sections import source, with_source

CPU_TIMES_AIM = 2.0  # of redis-benchmark asking the same script
WORKER_AIM_US = 25.0
COMMANDS_AIM = 3.0
DEPTH = 64


def end_to_end(results: Results) -> str:
    """One worker without Redis and one with it, in turns."""
    result = results["end_to_end"]
    rows = [
        {**row, "latency": f"{short(row['p50_us'])} / {short(row['p99_us'])}"}
        | (
            {"added": f"{short(row['added_p50_us'])} / {short(row['added_p99_us'])}"}
            if "added_p50_us" in row
            else {"added": "", "redis_us_per_job": ""}
        )
        for row in result.rows
    ]
    columns = [
        Column("backing", "backing"),
        Column("in_flight", "in flight"),
        Column("cpu_us_per_job", "CPU of the worker, µs a job"),
        Column("redis_us_per_job", "CPU of Redis, µs a job"),
        Column("jobs_per_s", "jobs a second"),
        Column("latency", "submit to result, p50 / p99 in µs"),
        Column("added", "added by Redis, p50 / p99 in µs"),
    ]
    note = (
        "What is added is the median of the differences of two turns in one round, so it need not "
        "be the difference of the medians beside it."
    )
    return "\n\n".join([table(rows, columns), note, source(result)])


def coordination(results: Results) -> str:
    """The layer alone, beside redis-benchmark asking the script of a bind."""
    result = results["coordination"]
    columns = [
        Column("kind", "who asks"),
        Column("in_flight", "in one pipeline"),
        Column("worker_us", "CPU of the worker, µs a job"),
        Column("redis_us", "CPU of Redis, µs a job"),
        Column("redis_bind_us", "of it to bind"),
        Column("bind_ratio", "times redis-benchmark's"),
        Column("commands", "commands a job"),
    ]
    return with_source(table(result.rows, columns), result)


def aims(result: Result) -> list[tuple[str, float, float]]:
    """Return what coordination shall cost at most: the words, the aim and what was measured."""
    row = next(r for r in result.of_kind("layer") if r["in_flight"] == DEPTH)
    return [
        (
            f"Redis' CPU to bind at {DEPTH}, times redis-benchmark's",
            CPU_TIMES_AIM,
            row["bind_ratio"],
        ),
        (f"worker's CPU to coordinate a job at {DEPTH}, µs", WORKER_AIM_US, row["worker_us"]),
        ("commands of Redis a job", COMMANDS_AIM, row["commands"]),
    ]

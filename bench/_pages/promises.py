"""Budgets and aims against what was measured, and what the figures would mean on many hosts."""

from collections.abc import Callable, Sequence

import msgspec

from _pages.hosts import aims
from _pages.results import Column, Result, Results, Row, short, table
from pointsman_workers.shell.doorway import ACCEPTS_PER_S_MAX

DEPTHS = (1, 8, 64, 512)
FLOOR_AIMS = {1: 2.0, 8: 2.0, 64: 2.5, 512: 2.5}
GEARMAND_AIMS = {1: 1.0, 8: 1.3, 64: 2.0, 512: 2.0}
BUDGET_NODES = 10_000
SMALL_NODES = 1_000
SATURATED = 0.95  # of the best goodput: there was more than the nodes could do
TALKING_MIB = 512  # of which 256 are what both keep of jobs that have ended


def line(what: str, limit: str, value: float, *, is_kept: bool) -> Row:
    """Return one line of the table."""
    return {"what": what, "limit": limit, "measured": short(value), "verdict": verdict(is_kept)}


def verdict(is_kept: bool) -> str:
    """Return the word for it."""
    return "kept" if is_kept else "**missed**"


def at_most(what: str, limit: float, unit: str, value: float) -> Row:
    """Return a line for something that shall be small."""
    return line(f"{what}, {unit}", f"< {limit:g}", value, is_kept=value < limit)


def at_least(what: str, limit: float, value: float) -> Row:
    """Return a line for something that shall be large."""
    return line(what, f"≥ {limit:g}", value, is_kept=value >= limit)


def budgets(results: Results) -> str:
    """Every budget and aim for which there is a measurement."""
    rows: list[Row] = []
    for bench, lines in LINES:
        if bench in results:
            rows += lines(results[bench])
    columns = [
        Column("what", "what"),
        Column("limit", "budget or aim"),
        Column("measured", "measured"),
        Column("verdict", "verdict"),
    ]
    return table(rows, columns)


def _parts(result: Result) -> list[Row]:
    rows = {row["part"]: row for row in result.of_kind("budget")}
    decided = rows["session decision"]
    return [
        at_most("pin a snapshot, p50", 1, "µs", rows["pin a snapshot"]["p50_us"]),
        at_most("session decision, longest", 1_000, "µs", decided["max_us"]),
        at_most("binding read, p50", 1, "µs", rows["binding read"]["p50_us"]),
        at_most("job and binding write, p50", 10, "µs", rows["job and binding write"]["p50_us"]),
    ]


def _fleet(result: Result) -> list[Row]:
    sockets = result.of_kind("sockets")
    rows = []
    for row in _large(sockets) + _large(result.of_kind("events")):
        where = f"{row['nodes']:,} nodes as {row['kind']}{_waited(row, 'manager_waited_share')}"
        rows.append(at_most(f"management turn, p99, {where}", 1_000, "µs", row["turn_p99_us"]))
        longest = max(row["turn_max_us"], row["join_turn_max_us"])
        rows.append(at_most(f"management turn, longest, {where}", 10_000, "µs", longest))
    for row in sockets:
        if row["nodes"] >= SMALL_NODES:
            where = f"request read to node chosen, p99, {row['nodes']:,} nodes that change"
            where += _waited(row, "workers_waited_share")
            rows.append(at_most(where, 5_000, "µs", row["chosen_p99_us"]))
        if row["nodes"] == SMALL_NODES:
            load = 100 * sum(row[key] for key in row if key.endswith("_idle_load"))
            rows.append(at_most("all processes idle at 1,000 nodes", 5, "% of a processor", load))
    return rows


def _waited(row: Row, key: str) -> str:
    """Say for how much of the time a process waited for a processor, where that was measured."""
    return f", by the clock, a processor awaited {row[key]:.0%} of the time" if key in row else ""


def _large(rows: Sequence[Row]) -> list[Row]:
    """Return the row that a budget for many nodes is held against, if there is one."""
    return [row for row in rows if row["nodes"] >= BUDGET_NODES][:1]


def _sessions(result: Result) -> list[Row]:
    return [
        at_most(
            f"request read to node chosen, p99, one node with {row['sessions']:,} sessions, "
            f"{row['nodes']:,} nodes beside it",
            5_000,
            "µs",
            row["chosen_p99_us"],
        )
        for row in result.of_kind("one-node")
        if "variant" not in row and row["sessions"] == 1_000
    ]


def _talking(result: Result) -> list[Row]:
    rows = []
    for row in result.of_kind("audio"):
        where = f"{row['sessions']:,} WebSocket sessions of which {row['speakers']} speak"
        memory_mib = row["talking_pss_mib"]
        rows.append(at_most(f"memory of two workers, {where}", TALKING_MIB, "MiB", memory_mib))
    return rows


def _rebuild(result: Result) -> list[Row]:
    return [
        at_most(
            f"longest turn of a rebuild, {row['nodes']:,} nodes, classes: {row['classes']}",
            10,
            "ms",
            row["turn_max_ms"],
        )
        for row in result.rows
        if row["nodes"] == BUDGET_NODES
    ]


def _roundtrip(result: Result) -> list[Row]:
    """The ratios to the floor and to gearmand."""
    found = {
        (row["system"], row["depth"]): row
        for row in result.rows
        if row["connections"] == 1 and "variant" not in row
    }
    rows = []
    for depth in DEPTHS:
        times = found["pointsman", depth]["times_floor"]
        rows.append(at_most_equal(f"times the floor, {depth} in flight", FLOOR_AIMS[depth], times))
    for depth in DEPTHS:
        if ("gearmand", depth) in found:
            theirs = found["gearmand", depth]["cpu_us_per_job"]
            times = found["pointsman", depth]["cpu_us_per_job"] / theirs
            what = f"times gearmand, {depth} in flight"
            rows.append(at_most_equal(what, GEARMAND_AIMS[depth], times))
    if ("nats-server", 1) in found:
        ours, theirs = found["pointsman", 1]["p50_us"], found["nats-server", 1]["p50_us"]
        rows.append(at_most_equal("p50 at depth 1, times nats-server's", 1.0, ours / theirs))
    return rows


def at_most_equal(what: str, limit: float, value: float) -> Row:
    """Return a line for a ratio that shall not be above an aim."""
    return line(what, f"≤ {limit:g}", value, is_kept=value <= limit)


def _cores(result: Result) -> list[Row]:
    rows = [row for row in result.rows if row["workers"] == 2 and "variant" not in row]
    return [
        made
        for row in rows
        for made in (
            at_least(
                "decisions a second, two workers by one", 1.8, row["decisions_per_s_times_one"]
            ),
            at_least(
                "decisions a CPU second, two workers by one, times two",
                1.9,
                2 * row["per_cpu_s_times_one"],
            ),
        )
    ]


def _overload(result: Result) -> list[Row]:
    (most,) = [row for row in result.rows if row["offered_of_capacity"] == "5.0"]
    shares = [row["share_of_worker_0"] for row in result.rows if row["goodput_of_best"] > SATURATED]
    least = min(min(share, 1 - share) / max(share, 1 - share) for share in shares)
    return [
        at_least("goodput at five times the capacity, of the best", 0.9, most["goodput_of_best"]),
        at_least("two workers at saturation, jobs of the one by the other's", 0.9, least),
    ]


def _reconnects(result: Result) -> list[Row]:
    rows: list[Row] = []
    for row in result.rows:
        where = f"{row['nodes']:,} nodes come back to a new manager"
        within_s = row["all_back_s"] if row["back"] == row["nodes"] else float("inf")
        rows += [
            at_most_equal(f"{where}, s", 60, within_s),
            at_most_equal(f"{where}: false deaths", 0, row["false_deaths"]),
            at_most_equal(f"{where}: a client's p99, ms", 500, row["client_p99_ms"]),
            at_most_equal(f"{where}: its memory by the old one's", 2, row["manager_rss_times"]),
        ]
    return rows


def _coordination(result: Result) -> list[Row]:
    return [at_most_equal(what, aim, value) for what, aim, value in aims(result)]


LINES: Sequence[tuple[str, Callable[[Result], list[Row]]]] = (
    ("costs", _parts),
    ("fleet", _fleet),
    ("rebuild", _rebuild),
    ("sessions", _sessions),
    ("talking", _talking),
    ("roundtrip", _roundtrip),
    ("cores", _cores),
    ("overload", _overload),
    ("reconnects", _reconnects),
    ("coordination", _coordination),
)

# ---- beyond one host

SESSIONS = (1_000_000, 100_000_000)
JOBS_PER_SESSION_S = 0.1  # an utterance every ten seconds
HOST_WORKERS = 12  # of 16 processors; the others are the manager's, the kernel's, and spare
HOST_BYTES = 64 * 2**30
USED_SHARE = 0.6  # of a processor and of the memory: the rest is for what was not foreseen
DEPTH = 64
COMMANDS_PER_JOB = 2.0  # one to bind and reserve, one to end; renewals are one for many jobs
NODE_SLOTS = 4
SERVICE_S = 1.0


def beyond(results: Results) -> str:
    """Hosts for many sessions, by what was measured on one."""
    job_us = next(
        row["cpu_us_per_job"]
        for row in results["roundtrip"].rows
        if row["system"] == "pointsman"
        and row["depth"] == DEPTH
        and row["connections"] == 1
        and "variant" not in row
    )
    opened = results["sessions"].of_kind("connections")[-1]
    trunk = results["sessions"].of_kind("trunks")[-1]
    columns = [Column("what", "what")]
    columns += [Column(str(count), f"{count:,} sessions") for count in SESSIONS]
    shared = _shared(results)
    found = [_hosts(count, job_us, (opened, trunk), shared) for count in SESSIONS]
    rows: list[Row] = [
        {"what": what} | {str(c): made[what] for c, made in zip(SESSIONS, found, strict=True)}
        for what in found[0]
    ]
    return "\n\n".join([table(rows, columns), _assumptions(job_us, (opened, trunk), shared)])


class Shared(msgspec.Struct, frozen=True):
    """What Redis makes of a job: times the worker's CPU, and its own; and how this is known."""

    times_worker: float = 2.0
    commands: float = COMMANDS_PER_JOB
    command_us: float = 20.0
    times_are_measured: bool = False
    commands_are_measured: bool = False


def _shared(results: Results) -> Shared:
    """Return it as far as it was measured, and assumed otherwise."""
    shared = Shared()
    if "end_to_end" in results:
        at_depth = [row for row in results["end_to_end"].rows if row["in_flight"] == DEPTH]
        cpu_us = {row["backing"]: row["cpu_us_per_job"] for row in at_depth}
        times = cpu_us["redis"] / cpu_us["local"]
        shared = msgspec.structs.replace(shared, times_worker=times, times_are_measured=True)
    if "coordination" in results:
        layers = results["coordination"].of_kind("layer")
        row = next(layer for layer in layers if layer["in_flight"] == DEPTH)
        shared = msgspec.structs.replace(
            shared,
            commands=row["commands"],
            command_us=row["redis_us"] / row["commands"],
            commands_are_measured=True,
        )
    return shared


def _hosts(count: int, job_us: float, idle: tuple[Row, Row], shared: Shared) -> dict[str, str]:
    opened, trunk = idle
    jobs_per_s = count * JOBS_PER_SESSION_S
    busy = jobs_per_s * job_us * shared.times_worker / 1e6
    by_cpu = busy / (HOST_WORKERS * USED_SHARE)
    room = HOST_BYTES * USED_SHARE
    by_memory = count * opened["bytes_per_session"] / room
    hosts = max(2.0, by_cpu, by_memory)
    redis = jobs_per_s * shared.commands * shared.command_us / 1e6 / USED_SHARE
    return {
        "jobs a second": f"{jobs_per_s:,.0f}",
        "slots that nodes must have, at a second a job": f"{jobs_per_s * SERVICE_S:,.0f}",
        "nodes, at four slots": f"{jobs_per_s * SERVICE_S / NODE_SLOTS:,.0f}",
        "hosts by CPU": f"{by_cpu:,.1f}",
        "hosts by memory, a connection each": f"{by_memory:,.2f}",
        "hosts by memory, on trunks": f"{count * trunk['bytes_per_session'] / room:,.2f}",
        "sessions of a worker": f"{count / hosts / HOST_WORKERS:,.0f}",
        "all connections anew after a loss of all hosts": (
            f"{count / hosts / HOST_WORKERS / ACCEPTS_PER_S_MAX:,.0f} s"
        ),
        "commands of Redis a second": f"{jobs_per_s * shared.commands:,.0f}",
        "processors of Redis": f"{redis:,.1f}",
    }


def _assumptions(job_us: float, idle: tuple[Row, Row], shared: Shared) -> str:
    opened, trunk = idle
    known = {True: "measured", False: "assumed"}
    return (
        f"Measured: {short(job_us)} µs of a worker for a job with {DEPTH} in flight; "
        f"{short(opened['bytes_per_session'])} bytes for an idle session with a connection of its "
        f"own, {short(trunk['bytes_per_session'])} on a trunk, what the kernel keeps of a "
        "connection not among them. Assumed: a job every "
        f"{1 / JOBS_PER_SESSION_S:g} s in each session; hosts of 16 processors ({HOST_WORKERS} "
        f"workers) and 64 GiB, both used to {USED_SHARE:.0%}; jobs of a "
        f"second on nodes of four slots. With Redis: {shared.times_worker:.3g} times the work of "
        f"a worker for a job ({known[shared.times_are_measured]}), {shared.commands:g} commands a "
        f"job of {shared.command_us:.3g} µs each ({known[shared.commands_are_measured]})."
    )

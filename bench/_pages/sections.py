"""The tables of docs/performance.md, each made of saved measurements by a function of its name."""

from collections.abc import Callable, Sequence

from _pages.results import Column, Result, Results, Row, program_of, short, table

DEPTHS = (1, 8, 64, 512)
STAGES_OF_DEPTH = (1, 8, 64)
WHOLE = "all of the above"
Section = Callable[[Results], str]


def source(result: Result, more: str = "") -> str:
    """Say by which command, when and on what a table was measured."""
    options = f" {result.machine['options']}".rstrip()
    saved = f"docs/performance/results/{result.bench}.json"
    words = program_of(result.bench)
    where = "PYTHONPATH=bench:tests " if words[0] == "-m" else ""
    command = f"{where}.venv/bin/python {' '.join(words)}{options}{more} --json {saved}"
    return f"`{command}`: {result.where()}."


def with_source(told: str, result: Result) -> str:
    """Put under what is told by which command it was measured."""
    return f"{told}\n\n{source(result)}"


def _plain(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if "variant" not in row]


# ---- roundtrip


def roundtrip(results: Results) -> str:
    """CPU and latency beside the floor and peers, on one trunk; then many connections."""
    result = results["roundtrip"]
    rows = [row for row in _plain(result.rows) if row["connections"] == 1]
    made = [_by_depth(rows, system) for system in dict.fromkeys(row["system"] for row in rows)]
    columns = [Column("system", "CPU of the server, µs a job, in flight:")]
    columns += [Column(f"cpu_us_per_job {depth}", str(depth)) for depth in DEPTHS]
    latency = [Column("system", "submit to result, p50 / p99 in µs, in flight:")]
    latency += [Column(f"latency {depth}", str(depth)) for depth in DEPTHS]
    everything = [Column("system", "CPU of server, nodes and client, µs a job, in flight:")]
    everything += [Column(f"all_us_per_job {depth}", str(depth)) for depth in DEPTHS]
    lacks = dict.fromkeys((row["system"], row["lacks"]) for row in rows if "lacks" in row)
    parts = [table(made, columns), _saturated(rows), table(made, latency), table(made, everything)]
    parts += [_others(result), "\n".join(f"- **{system}** {words}." for system, words in lacks)]
    if result.machine.get("left_out"):
        parts.append(f"Left out: {result.machine['left_out']}.")
    return "\n\n".join([part for part in parts if part] + [source(result)])


def _by_depth(rows: Sequence[Row], system: str) -> Row:
    made: Row = {"system": system}
    for row in rows:
        if row["system"] == system:
            depth = row["depth"]
            for key in ("cpu_us_per_job", "all_us_per_job", "times_floor"):
                made[f"{key} {depth}"] = row[key]
            made[f"latency {depth}"] = f"{short(row['p50_us'])} / {short(row['p99_us'])}"
    return made


def _saturated(rows: Sequence[Row]) -> str:
    """Say where something was a bottleneck: there throughput says nothing of the others."""
    found = [
        f"{row['system']} at {row['depth']}: its {row['saturated']}"
        for row in rows
        if row["saturated"] != "none"
    ]
    return f"Saturated (at least 0.9 of a processor): {', '.join(found) or 'nothing'}."


def _others(result: Result) -> str:
    """The rows with many connections, and those of variants."""
    rows = [row for row in result.rows if row["connections"] > 1 or "variant" in row]
    columns = [
        Column("system", "system"),
        Column("variant", "variant"),
        Column("connections", "connections"),
        Column("depth", "in flight"),
        Column("cpu_us_per_job", "CPU, µs a job"),
        Column("times_floor", "times the floor"),
        Column("jobs_per_s", "jobs a second"),
        Column("p50_us", "p50, µs"),
        Column("p99_us", "p99, µs"),
        Column("saturated", "saturated"),
    ]
    return table([{"variant": "", **row} for row in rows], columns) if rows else ""


# ---- where time goes


def stages(results: Results) -> str:
    """One job by stage, with what the process needs above it."""
    result = results["costs"]
    found: dict[str, Row] = {}
    for row in result.of_kind("stage"):
        line = found.setdefault(row["stage"], {"stage": row["stage"].replace("_", " ")})
        line[str(row["jobs_a_read"])] = row["cpu_us_per_job"]
    rows = list(found.values())
    if "roundtrip" in results:
        rows.append(_process_above(results["roundtrip"], found[WHOLE]))
    columns = [Column("stage", "µs a job; jobs a read:")]
    columns += [Column(str(batch), str(batch)) for batch in STAGES_OF_DEPTH]
    note = (
        "The last line is the CPU time of the real worker with as many jobs in flight, less the "
        "line above it: the event loop, the kernel, and reads that bring fewer jobs than are in "
        "flight. The two are measured by different programs."
    )
    return "\n\n".join([table(rows, columns), note, source(result)])


def _process_above(roundtrip: Result, whole: Row) -> Row:
    """What the real process needs for a job above the stages."""
    made: Row = {"stage": "the rest of the process"}
    for row in _plain(roundtrip.rows):
        depth = str(row["depth"])
        if row["system"] == "pointsman" and row["connections"] == 1 and depth in whole:
            made[depth] = row["cpu_us_per_job"] - whole[depth]
    return made


def features(results: Results) -> str:
    """What each feature costs a job."""
    result = results["costs"]
    rows = [{"variant": "as installed", **row} for row in result.of_kind("feature")]
    columns = [
        Column("variant", "eight jobs a read"),
        Column("cpu_us_per_job", "µs a job"),
        Column("more_us", "more than as installed, µs", "+.1f"),
    ]
    return with_source(table(rows, columns), result)


# ---- cores, fleet, sessions


def cores(results: Results) -> str:
    """Decisions a second by workers and variants."""
    result = results["cores"]
    columns = [
        Column("variant", "variant"),
        Column("workers", "workers"),
        Column("decisions_per_s", "decisions a second"),
        Column("decisions_per_s_times_one", "times one worker"),
        Column("per_cpu_s", "decisions a CPU second"),
        Column("per_cpu_s_times_one", "times one worker"),
        Column("workers_load", "CPU that each worker got"),
        Column("publisher_load", "the publisher"),
    ]
    rows = [{"variant": "as installed", **row} for row in result.rows]
    return with_source(table(rows, columns), result)


FLEET_LINES = (
    ("register_all_s", "all registered, s"),
    ("manager_us_per_node", "manager's CPU for each, µs"),
    ("join_turn_p99_us", "turns of the manager meanwhile: p99, µs"),
    ("join_turn_max_us", "longest, µs"),
    ("join_manager_waited_share", "share of the time in which it waited for a processor"),
    ("manager_idle_load", "manager's load when idle, of a processor"),
    ("workers_idle_load", "workers' load when idle"),
    ("console_idle_load", "console's load when nobody watches"),
    ("publish_p50_ms", "change visible in every worker: p50, ms"),
    ("publish_p99_ms", "p99, ms"),
    ("turn_p99_us", "turns of the manager: p99, µs"),
    ("turn_max_us", "longest, µs"),
    ("manager_waited_share", "share of the time in which it waited for a processor"),
    ("management_wait_p99_us", "event read to applied: p99, µs"),
    ("refresh_p50_us", "refresh stall of a worker: p50, µs"),
    ("refresh_max_us", "longest, µs"),
    ("decision_p50_us", "decision: p50, µs"),
    ("decision_p99_us", "p99, µs"),
    ("chosen_p99_us", "request read to node chosen: p99, µs"),
    ("workers_waited_share", "share of the time in which workers waited for a processor"),
    ("manager_rss_mib", "manager's memory, MiB"),
    ("worker_rss_mib", "a worker's memory, MiB"),
    ("console_rss_mib", "the console's, MiB"),
    ("supervisor_rss_mib", "the supervisor's, MiB"),
    ("fresh_sees_s", "a killed worker's successor has read the fleet, s"),
    ("fresh_has_lanes_s", "and has a lane to every node, s"),
    ("load_average", "load average of the machine at the end"),
    ("commit", "commit"),
)


def fleet(results: Results) -> str:
    """A line for each figure, a column for each size of the fleet."""
    result = results["fleet"]
    columns = [Column("what", "nodes")]
    columns += [
        Column(str(number), f"{row['nodes']:,} {row['kind']}")
        for number, row in enumerate(result.rows)
    ]
    lines: list[Row] = [
        {"what": words} | {str(n): row[key] for n, row in enumerate(result.rows) if key in row}
        for key, words in FLEET_LINES
        if any(key in row for row in result.rows)
    ]
    is_whole = len({row.get("commit") for row in result.rows}) == 1
    added = "" if is_whole else " Sizes of other commits were added to it by `--nodes N --add`."
    return "\n\n".join([table(lines, columns), source(result) + added])


def sessions(results: Results) -> str:
    """A table for each kind of rows."""
    result = results["sessions"]
    one = [
        Column("variant", "one node"),
        Column("nodes", "nodes beside it"),
        Column("sessions", "sessions"),
        Column("jobs_per_s", "jobs a second"),
        Column("unanswered", "never answered"),
        Column("chosen_p50_us", "read to chosen: p50, µs"),
        Column("chosen_p95_us", "p95"),
        Column("chosen_p99_us", "p99"),
        Column("accepted_p99_us", "submit to accepted: p99"),
        Column("server_load", "CPU, of a processor"),
    ]
    idle = [
        Column("kind", "idle"),
        Column("sessions", "sessions"),
        Column("bytes_per_session", "bytes of a worker each"),
        Column("opens_per_s", "opened a second"),
        Column("open_p99_us", "p99 of one, µs"),
        Column("workers_us_per_open", "workers' CPU for each, µs"),
        Column("workers_idle_load", "workers' load when idle"),
    ]
    skew = [
        Column("hot_share", "share of one session"),
        Column("busier_jobs_share", "busier worker's share of jobs"),
        Column("busier_cpu_share", "of CPU time"),
        Column("busier_chosen_p99_us", "its read to chosen: p99, µs"),
        Column("calmer_chosen_p99_us", "the other's"),
    ]
    rows = [{"variant": "pointsman", **row} for row in result.of_kind("one-node")]
    opened = result.of_kind("connections") + result.of_kind("trunks")
    handed = [
        Column("at_once", "connections that come to the wrong worker, dialling at once"),
        Column("sessions", "opened"),
        Column("handed_over", "handed over"),
        Column("open_cpu_us", "CPU of an open, both workers, µs"),
        Column("handed_cpu_us", "more when handed over"),
        Column("open_mean_us", "time of an open, µs"),
        Column("handed_latency_us", "more when handed over"),
    ]
    tables = [table(rows, one), table(opened, idle), table(result.of_kind("hand-over"), handed)]
    tables.append(table(result.of_kind("skew"), skew))
    return "\n\n".join([*tables, source(result) + _in_parts(result)])


def _in_parts(result: Result) -> str:
    """Say at which commit each kind of rows was taken, where they were not taken together."""
    taken = {
        row["kind"]: f"{row['kind']} at {row['commit']}, load average {row['load_average']}"
        for row in result.rows
        if "commit" in row
    }
    if len({row.get("commit") for row in result.rows}) <= 1:
        return ""
    return f" Taken in parts: {'; '.join(taken.values())}."


# ---- the others


def overload(results: Results) -> str:
    """A line for each stretch."""
    columns = [
        Column("offered_of_capacity", "offered, of capacity"),
        Column("goodput_per_s", "completed a second"),
        Column("goodput_of_best", "of the best stretch"),
        Column("refused", "refused"),
        Column("expired", "expired"),
        Column("p99_ms", "p99 of accepted, ms"),
        Column("refusal_cpu_us", "CPU of a refusal, µs"),
        Column("recovery_s", "recovered after, s"),
        Column("share_of_worker_0", "share of worker 0"),
    ]
    result = results["overload"]
    return with_source(table(result.rows, columns), result)


def recovery(results: Results) -> str:
    """A line for each event, as the bench has them."""
    return _as_is(results["recovery"])


def rebuild(results: Results) -> str:
    """A line for each fleet."""
    return _as_is(results["rebuild"])


RETURN_LINES = (
    Column("nodes", "nodes"),
    Column("load_average", "load average"),
    Column("joined_s", "all joined, s"),
    Column("all_back_s", "all back within, s"),
    Column("back", "back"),
    Column("false_deaths", "false deaths"),
    Column("jobs", "jobs meanwhile"),
    Column("jobs_failed", "failed"),
    Column("client_calm_p99_ms", "client p99, calm, ms"),
    Column("client_p99_ms", "storm"),
    Column("client_max_ms", "longest"),
    Column("turn_max_ms", "longest turn of the manager, ms"),
    Column("manager_rss_mib", "manager's memory, MiB"),
    Column("manager_rss_times", "times that before"),
)


def reconnects(results: Results) -> str:
    """The fleet that came back to a new manager."""
    result = results["reconnects"]
    return with_source(table(result.rows, RETURN_LINES), result)


def snapshot(results: Results) -> str:
    """What is published of a fleet, and what reading it costs a worker."""
    columns = [
        Column("nodes", "nodes"),
        Column("classes", "classes"),
        Column("change", "change"),
        Column("manager_us_per_node", "manager, µs a node"),
        Column("publish_turn_p50_us", "turns that publish: p50, µs"),
        Column("publish_turn_max_us", "longest"),
        Column("pages", "pages read"),
        Column("read_us", "a worker reads them, µs"),
        Column("decode_us", "decodes them"),
        Column("index_us", "its index"),
        Column("worker_refresh_us", "its whole refresh"),
        Column("first_candidates_us", "its first candidates"),
    ]
    result = results["snapshot"]
    return with_source(table(result.rows, columns), result)


def journal(results: Results) -> str:
    """A line for each way to write."""
    return _as_is(results["journal"])


def _as_is(result: Result) -> str:
    keys = dict.fromkeys(key for row in result.rows for key in row)
    columns = [Column(key, key.replace("_", " ")) for key in keys]
    rows = [{**dict.fromkeys(keys, ""), **row} for row in result.rows]
    return with_source(table(rows, columns), result)

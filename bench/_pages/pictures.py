"""The plots of docs/performance.md, each from saved measurements."""

from collections.abc import Callable, Sequence

from _pages.plot import Axis, Series, draw
from _pages.results import Results, Row
from _pages.traces import AS_INSTALLED, samples_of, short_name

Picture = Callable[[Results], str]
DEPTHS = (1, 8, 64, 512)
COMPILED = "compiled"  # the variant that is shown beside the product as installed


def points_of(rows: Sequence[Row], x: str, y: str) -> list[tuple[float, float]]:
    """Return the points of rows that have both keys."""
    return [(row[x], row[y]) for row in rows if x in row and row.get(y)]


def filled(series: Sequence[Series]) -> list[Series]:
    """Leave out lines without a point."""
    return [each for each in series if each.points]


def cpu_by_depth(results: Results) -> str:
    """CPU time of the server for each job, on one trunk."""
    rows = [
        row
        for row in results["roundtrip"].rows
        if row["connections"] == 1 and row.get("variant") in (None, COMPILED)
    ]
    colors = {system: n for n, system in enumerate(dict.fromkeys(row["system"] for row in rows))}
    series = []
    for system, variant in dict.fromkeys((row["system"], row.get("variant")) for row in rows):
        chosen = [row for row in rows if (row["system"], row.get("variant")) == (system, variant)]
        series.append(
            Series(
                label=f"{system}, {variant}" if variant else system,
                points=points_of(chosen, "depth", "cpu_us_per_job"),
                color=colors[system],
                is_dashed=bool(variant),
            )
        )
    across = Axis(label="jobs in flight", ticks=DEPTHS)
    return draw("CPU time of the server for each job", across, Axis(label="µs a job"), series)


def decision_by_fleet(results: Results) -> str:
    """One decision and the whole way to it, by the size of the fleet."""
    fleet = results["fleet"]
    series = []
    for number, kind in enumerate(("sockets", "events")):
        rows = fleet.of_kind(kind)
        for key, is_dashed in (("p50", False), ("p99", True)):
            points = points_of(rows, "nodes", f"decision_{key}_us")
            label = f"decision {key}, {kind}"
            series.append(Series(label=label, points=points, color=number, is_dashed=is_dashed))
    points = points_of(fleet.of_kind("sockets"), "nodes", "chosen_p99_us")
    series.append(Series(label="read to chosen p99", points=points, color=2, is_dashed=True))
    return draw(
        "Choosing a node, by the size of the fleet",
        Axis(label="nodes"),
        Axis(label="µs"),
        filled(series),
    )


def cores(results: Results) -> str:
    """Decisions a second by workers, beside what would be ideal, and the controls."""
    rows = results["cores"].rows
    product = points_of([row for row in rows if "variant" not in row], "workers", "decisions_per_s")
    alone = dict(product)[1]
    ideal = [(workers, alone * workers) for workers, _ in product]
    series = [
        Series(label="pointsman", points=product, color=0),
        Series(label="ideal", points=ideal, color=6, is_dashed=True),
    ]
    variants = dict.fromkeys(row["variant"] for row in rows if "variant" in row)
    for number, variant in enumerate(variants):
        chosen = [row for row in rows if row.get("variant") == variant]
        points = points_of(chosen, "workers", "decisions_per_s")
        if points[0][0] > 1:  # a control that is, with one worker, the product
            points = [(1.0, alone), *points]
        series.append(Series(label=variant, points=points, color=number + 1))
    workers = sorted({workers for workers, _ in product})
    return draw(
        "Decisions a second, by workers",
        Axis(label="workers", is_log=False, ticks=[float(count) for count in workers]),
        Axis(label="a second", is_log=False),
        series,
    )


def memory_by_nodes(results: Results) -> str:
    """Resident memory of a manager and a worker, by nodes."""
    fleet = results["fleet"]
    sockets, events = fleet.of_kind("sockets"), fleet.of_kind("events")
    series = [
        Series(label="manager", points=points_of(sockets, "nodes", "manager_rss_mib"), color=0),
        Series(label="one worker", points=points_of(sockets, "nodes", "worker_rss_mib"), color=1),
        Series(
            label="manager's core, as events",
            points=points_of(events, "nodes", "manager_rss_mib"),
            color=0,
            is_dashed=True,
        ),
    ]
    return draw("Resident memory, by nodes", Axis(label="nodes"), Axis(label="MiB"), filled(series))


def memory_by_sessions(results: Results) -> str:
    """What idle sessions make two workers grow by."""
    series = []
    for number, (kind, label) in enumerate(
        (("connections", "each its connection"), ("trunks", "on two trunks"))
    ):
        rows = results["sessions"].of_kind(kind)
        points = [
            (row["sessions"], row["sessions"] * row["bytes_per_session"] / 2**20) for row in rows
        ]
        series.append(Series(label=label, points=points, color=number))
    return draw(
        "Growth of two workers, by idle sessions",
        Axis(label="sessions"),
        Axis(label="MiB"),
        filled(series),
    )


def one_lock(results: Results) -> str:
    """One node with many sessions: the product beside one lock for everything."""
    rows = results["sessions"].of_kind("one-node")
    fleets = sorted({row["nodes"] for row in rows})
    series = []
    for number, nodes in enumerate(fleets):
        for variant, is_dashed in (("", False), ("global-lock", True)):
            chosen = [
                row for row in rows if row["nodes"] == nodes and row.get("variant", "") == variant
            ]
            points = points_of(chosen, "sessions", "chosen_p99_us")
            label = f"{variant or 'pointsman'}, {nodes:,} nodes"
            series.append(Series(label=label, points=points, color=number, is_dashed=is_dashed))
    return draw(
        "Request read to node chosen, p99, one node serving",
        Axis(label="sessions", ticks=(1, 10, 100, 1_000)),
        Axis(label="µs"),
        filled(series),
    )


def sample_sizes(results: Results) -> str:
    """What other sample sizes give and cost, of what the size as installed does."""
    found = samples_of(results["trace"])
    load = min(sample.load for sample in found)
    series = []
    for number, trace in enumerate(dict.fromkeys(sample.trace for sample in found)):
        rows = {each.size: each.row for each in found if (each.trace, each.load) == (trace, load)}
        for key, label in (("slowdown_mean", "slowdown"), ("cpu_us_per_job", "CPU")):
            points = [(size, row[key] / rows[AS_INSTALLED][key]) for size, row in rows.items()]
            words = f"{label}, {short_name(trace)}"
            series.append(
                Series(label=words, points=points, color=number, is_dashed=label == "CPU")
            )
    return draw(
        f"Mean slowdown and CPU of a job by sample size, at a load of {load}",
        Axis(label="nodes that are looked at", ticks=sorted({each.size for each in found})),
        Axis(label=f"times that of {AS_INSTALLED}, as installed", is_log=False),
        series,
    )


# By the name of the file: what it is drawn from, and by what.
PICTURES: dict[str, tuple[str, Picture]] = {
    "cpu_by_depth": ("roundtrip", cpu_by_depth),
    "decision_by_fleet": ("fleet", decision_by_fleet),
    "cores": ("cores", cores),
    "memory_by_nodes": ("fleet", memory_by_nodes),
    "memory_by_sessions": ("sessions", memory_by_sessions),
    "one_lock": ("sessions", one_lock),
    "sample_sizes": ("trace", sample_sizes),
}


def draw_all(results: Results) -> dict[str, str]:
    """Return every picture for which there is a measurement, by its name."""
    return {
        name: draw_it(results) for name, (bench, draw_it) in PICTURES.items() if bench in results
    }

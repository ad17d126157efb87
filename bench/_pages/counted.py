"""The tables of what is counted instead of timed: instructions, and what the processor counts."""

from _pages.results import Column, Results, Row, short, table
from _pages.sections import DEPTHS, with_source

KIND = "hardware"
DEPTH = 64


def instructions(results: Results) -> str:
    """Instructions of a job by jobs in flight, and of a heartbeat."""
    result = results["counting"]
    made: dict[str, Row] = {}
    for row in result.rows:
        if "instructions" in row and row.get("kind") != KIND and "depth" in row:
            name = row["system"]
            made.setdefault(name, {"system": name})[str(row["depth"])] = round(row["instructions"])
    if not made:
        return ""
    columns = [Column("system", "instructions a job, in flight:")]
    columns += [Column(str(depth), str(depth)) for depth in DEPTHS]
    parts = [table(list(made.values()), columns)]
    parts += [
        f"A heartbeat of one of {row['nodes']:,} nodes: {row['instructions']:,.0f}."
        for row in result.rows
        if row["system"] == "manager core"
    ]
    return with_source("\n\n".join(parts), result)


def hardware(results: Results) -> str:
    """What the processor counts for a job, beside the floor; nothing where it was not counted."""
    result = results["counting"]
    rows = [{"variant": "", **row} for row in result.of_kind(KIND)]
    if not rows:
        return ""
    cache = "L2 misses" if "AMD" in result.machine["cpu"] else "cache misses"
    misses = [
        Column("l1_instruction_misses", "L1 instruction misses"),
        Column("cache_misses", cache),
        Column("branch_misses", "mispredicted branches"),
    ]
    columns = [
        Column("system", "system"),
        Column("variant", "variant"),
        Column("depth", "in flight"),
        Column("cycles", "cycles a job"),
        Column("instructions", "instructions"),
        Column("instructions_per_cycle", "instructions a cycle"),
        *misses,
        Column("kernel_cycles", "the kernel's cycles"),
    ]
    return with_source(f"{table(rows, columns)}{_beside_the_floor(rows, misses)}", result)


def _beside_the_floor(rows: list[Row], misses: list[Column]) -> str:
    """Say how much of the distance is instructions, and how much is that each takes longer."""
    found = {row["system"]: row for row in rows if row["depth"] == DEPTH and not row["variant"]}
    ours, floor = found.get("pointsman", {}), found.get("floor", {})
    if not {"cycles", "instructions"} <= ours.keys() & floor.keys():
        return ""
    times = {key: short(ours[key] / floor[key]) for key in ("cycles", "instructions")}
    rates = ", ".join(
        f"{_rate(ours, column)} and {_rate(floor, column)} {column.heading}"
        for column in misses
        if column.key in ours.keys() & floor.keys()
    )
    among = f"; among a thousand instructions of either are {rates}" if rates else ""
    return (
        f"\n\nWith {DEPTH} in flight a job takes {times['instructions']} times the floor's "
        f"instructions, and {times['cycles']} times its cycles{among}."
    )


def _rate(row: Row, column: Column) -> str:
    return short(row[column.key] / row["instructions"] * 1_000)

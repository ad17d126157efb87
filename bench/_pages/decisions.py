"""Writes docs/decisions.md and its plot from what decisions.py measured: pass it the JSON file."""

import sys
from math import log10
from pathlib import Path
from typing import Any

import msgspec

DOCS = Path(__file__).resolve().parents[2] / "docs"
COLORS = {"free": "#1b7f4d", "half": "#2f6fb3", "saturated": "#c2571a", "churn": "#7a4fa3"}
WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 24, 52
X_DECADES = (1, 5)  # 10 to 100,000 nodes
Y_DECADES = (0, 3)  # 1 to 1,000 µs

PAGE = """# What one decision costs

The time from the idempotency check to the reservation, by the real worker core in fleets of 10 to
100,000 nodes of three capability classes in three pools; eight of ten nodes can do the job. CPU
time of the thread, in microseconds; {decisions:,} decisions a row, {rounds}.
Measured by `bench/decisions.py` on {date}, commit {commit}: {cpu}, {cpu_count} processors, load
average {load}, Python {python}.

| nodes | state | p50 | p99 | p99.9 |
|---|---|---|---|---|
{table}

![Decision time by fleet size](decisions.svg)

- **free**: every slot is free. **half**: half of all slots are held, unevenly.
- **saturated**: every slot is held. A decision is then finding that out and queueing, and later
  giving the slot that is freed to the job that has waited longest; both are added.
- **churn**: half, and in every tenth turn a node leaves or comes back: the next decision follows a
  new snapshot and makes its candidates anew.

The machine was shared with other work meanwhile, which lengthens everything and the tail most; what
is to be compared is one row with another. Run it again with
`.venv/bin/python bench/decisions.py --json FILE`, and write this page with
`.venv/bin/python bench/_pages/decisions.py FILE`.
"""


def across(nodes: float) -> float:
    """Return where a number of nodes lies."""
    first, last = X_DECADES
    return LEFT + (log10(nodes) - first) / (last - first) * (WIDTH - LEFT - RIGHT)


def down(microseconds: float) -> float:
    """Return where a time lies."""
    first, last = Y_DECADES
    share = (log10(microseconds) - first) / (last - first)
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def grid() -> list[str]:
    """Return the axes with a line for each decade."""
    parts = []
    for decade in range(X_DECADES[0], X_DECADES[1] + 1):
        x = across(10.0**decade)
        parts.append(f'<line x1="{x:.0f}" y1="{TOP}" x2="{x:.0f}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 18}">{10**decade:,}</text>')
    for decade in range(Y_DECADES[0], Y_DECADES[1] + 1):
        y = down(10.0**decade)
        parts.append(f'<line x1="{LEFT}" y1="{y:.0f}" x2="{WIDTH - RIGHT}" y2="{y:.0f}"/>')
        parts.append(f'<text x="{LEFT - 24}" y="{y + 4:.0f}">{10**decade:,}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}">nodes</text>')
    parts.append(f'<text x="{LEFT - 24}" y="{TOP - 8}">µs</text>')
    return parts


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line of p50 and a dashed one of p99 for each state, and their legend."""
    parts = []
    for at, (state, color) in enumerate(COLORS.items()):
        found = [row for row in rows if row["state"] == state]
        for key, dashes in (("p50_us", ""), ("p99_us", ' stroke-dasharray="6 4"')):
            points = " ".join(f"{across(row['nodes']):.1f},{down(row[key]):.1f}" for row in found)
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{color}" '
                f'stroke-width="2"{dashes}/>'
            )
        y = TOP + 16 + 22 * at
        x = WIDTH - RIGHT + 16
        parts.append(f'<rect x="{x}" y="{y - 9}" width="12" height="12" fill="{color}"/>')
        parts.append(f'<text x="{x + 18}" y="{y + 2}" text-anchor="start">{state}</text>')
    legend = TOP + 16 + 22 * len(COLORS)
    for offset, words in ((0, "solid: p50"), (18, "dashed: p99")):
        x = WIDTH - RIGHT + 16
        parts.append(f'<text x="{x}" y="{legend + offset}" text-anchor="start">{words}</text>')
    return parts


def plot(rows: list[dict[str, Any]]) -> str:
    """Return the whole picture."""
    body = "\n".join([*grid(), *lines(rows)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" text-anchor="middle">\n'
        "<title>Time of one decision by size of the fleet</title>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n'
        f"<style>line {{ stroke: #dddddd }} text {{ fill: #333333 }}</style>\n{body}\n</svg>\n"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table."""
    return "\n".join(
        f"| {row['nodes']:,} | {row['state']} "
        f"| {row['p50_us']:.1f} | {row['p99_us']:.0f} | {row['p99_9_us']:.0f} |"
        for row in rows
    )


def write(path: Path) -> None:
    """Read the JSON and write both files."""
    whole = msgspec.json.decode(path.read_bytes())
    rows, machine = whole["rows"], whole["machine"]
    rounds = rows[0]["rounds"]
    page = PAGE.format(
        decisions=rows[0]["decisions"],
        rounds="in one go" if rounds == 1 else f"the median of {rounds} rounds",
        date=machine["date"],
        commit=machine["commit"],
        cpu=machine["cpu"],
        cpu_count=machine["cpu_count"],
        load=machine["load_average_1min"],
        python=machine["python"],
        table=table(rows),
    )
    (DOCS / "decisions.md").write_text(page, encoding="utf-8")
    (DOCS / "decisions.svg").write_text(plot(rows), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

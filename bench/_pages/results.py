"""Saved measurements: one JSON file a bench, as `--json` writes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RESULTS = DOCS / "performance" / "results"

Row = dict[str, Any]


# Benches that lie in folders of their own are run as modules, with tests/ to start servers.
MODULES = {
    "coordination": "hosts.coordination",
    "end_to_end": "hosts.end_to_end",
    "talking": "web_sessions.talking",
}


def program_of(bench: str) -> list[str]:
    """Return the words after the interpreter that run a bench from the project's folder."""
    module = MODULES.get(bench)
    return ["-m", module] if module else [f"bench/{bench}.py"]


class Result(msgspec.Struct, frozen=True):
    """What one bench has measured, and on what."""

    bench: str
    machine: Row
    rows: list[Row]

    def of_kind(self, kind: str) -> list[Row]:
        """Return the rows of one kind."""
        return [row for row in self.rows if row.get("kind") == kind]

    def where(self) -> str:
        """Say on what, and when, it was measured."""
        machine = self.machine
        libraries = ", ".join(f"{name} {machine[name]}" for name in ("msgspec", "uvloop"))
        if machine.get("peers"):
            libraries += f", {machine['peers']}"
        return (
            f"{machine['date']}, commit {machine['commit']}, {machine['cpu']}, "
            f"{machine['cpu_count']} processors, {machine['system']}, Python {machine['python']}, "
            f"{libraries}, load average {machine['load_average_1min']}"
        )


Results = dict[str, Result]


def load_results() -> Results:
    """Read every saved measurement, by the name of its bench."""
    found = [msgspec.json.decode(path.read_bytes(), type=Result) for path in RESULTS.glob("*.json")]
    return {result.bench: result for result in found}


class Column(msgspec.Struct, frozen=True):
    """A column of a table: the key of a row, its heading, and a format of its numbers."""

    key: str
    heading: str
    form: str = ""


def table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Return rows as a table; numbers to the right, nothing where a row has no such key."""
    is_text = [isinstance(rows[0].get(column.key), str) for column in columns]
    lines = [
        "| " + " | ".join(column.heading for column in columns) + " |",
        "|" + "|".join("---" if left else "--:" for left in is_text) + "|",
    ]
    lines += ["| " + " | ".join(cell(row, column) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def cell(row: Row, column: Column) -> str:
    """Return one cell."""
    value = row.get(column.key, "")
    if isinstance(value, str):
        return value
    if column.form:
        return format(value, column.form)
    return f"{value:,}" if isinstance(value, int) else short(value)


def short(value: float) -> str:
    """Return a number with three digits that say something."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"

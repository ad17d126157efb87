"""Writes the table of events into docs/logs.md: `python tests/logs/log_table.py --write`."""

import sys
from pathlib import Path

from pointsman_shm.logs.events import KINDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "logs.md"
BEGIN, END = "<!-- table events -->\n", "<!-- end -->"


def current_text(document: str) -> str:
    """Return the document with the table as the code has it."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{DOCUMENT} has no place for the table"
    assert end, f"{DOCUMENT}: the table has no end"
    lines = ["| event | level | meaning |", "|---|---|---|"]
    lines += [
        f"| `{event}` | {kind.level.name.lower()} | {kind.meaning} |"
        for event, kind in KINDS.items()
    ]
    return before + begin + "\n".join(lines) + "\n" + end + after


if __name__ == "__main__" and "--write" in sys.argv:
    DOCUMENT.write_text(current_text(DOCUMENT.read_text("utf-8")), "utf-8")

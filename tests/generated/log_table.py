"""The table of events in docs/logs.md, from the code."""

from pointsman_shm.logs.events import KINDS

BEGIN, END = "<!-- table events -->\n", "<!-- end -->"


def log_page(document: str) -> str:
    """Return the document with the table as the code has it."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, "docs/logs.md has no place for the table"
    assert end, "docs/logs.md: the table has no end"
    lines = ["| event | level | meaning |", "|---|---|---|"]
    lines += [
        f"| `{event}` | {kind.level.name.lower()} | {kind.meaning} |"
        for event, kind in KINDS.items()
    ]
    return before + begin + "\n".join(lines) + "\n" + end + after

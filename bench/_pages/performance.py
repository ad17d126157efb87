"""Writes the tables and plots of docs/performance.md from docs/performance/results/*.json.

    .venv/bin/python bench/_pages/performance.py

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what stands between them is
replaced when what it is made of has been measured, and left alone otherwise.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _pages import counted, hosts, promises, sections, traces, web
from _pages.pictures import draw_all
from _pages.results import DOCS, Results, load_results
from _pages.sections import Section

PAGE = DOCS / "performance.md"
PICTURES = DOCS / "performance"
_TABLE = re.compile(r"<!-- table: (?P<name>[a-z_]+) -->\n.*?<!-- end -->", re.DOTALL)
# By name: the benches that a table needs, and what makes it.
TABLES: dict[str, tuple[Sequence[str], Section]] = {
    "roundtrip": (("roundtrip",), sections.roundtrip),
    "stages": (("costs",), sections.stages),
    "features": (("costs",), sections.features),
    "instructions": (("counting",), counted.instructions),
    "hardware": (("counting",), counted.hardware),
    "cores": (("cores",), sections.cores),
    "fleet": (("fleet",), sections.fleet),
    "sessions": (("sessions",), sections.sessions),
    "talking": (("talking",), web.talking),
    "overload": (("overload",), sections.overload),
    "recovery": (("recovery",), sections.recovery),
    "rebuild": (("rebuild",), sections.rebuild),
    "reconnects": (("reconnects",), sections.reconnects),
    "snapshot": (("snapshot",), sections.snapshot),
    "journal": (("journal",), sections.journal),
    "end_to_end": (("end_to_end",), hosts.end_to_end),
    "coordination": (("coordination",), hosts.coordination),
    "trace": (("trace",), traces.replayed),
    "budgets": (("costs",), promises.budgets),
    "beyond": (("roundtrip", "sessions"), promises.beyond),
}


def fill(page: str, results: Results) -> str:
    """Return the page with every table that can be made."""

    def made(found: re.Match[str]) -> str:
        name = found["name"]
        needed, make = TABLES[name]
        if not all(bench in results for bench in needed):
            return found[0]
        told = make(results)
        return f"<!-- table: {name} -->\n{told}\n<!-- end -->" if told else found[0]

    return _TABLE.sub(made, page)


def main() -> None:
    """Write the page and its pictures."""
    results = load_results()
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    for name, picture in draw_all(results).items():
        (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")
    print(f"{PAGE.relative_to(DOCS.parent)}: from {', '.join(sorted(results)) or 'nothing'}")


if __name__ == "__main__":
    main()

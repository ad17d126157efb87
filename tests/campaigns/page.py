"""Write docs/reliability.md: every id, which tests show it, and what long runs have counted.

PYTHONPATH=tests python -m campaigns.page [--root .] [--check]
"""

import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path

from campaigns.shown_by import told_by_id

from pointsman_sim.campaign_ledger import Tally, campaigns, sums, upper_bound

PROMISES = Path(__file__).with_name("promises.toml")
LEDGER = "docs/reliability.jsonl"
TESTS_TOLD = 3
KINDS = {
    "I": "What holds, always",
    "P": "Processes",
    "S": "Shared memory",
    "N": "Network, nodes, clients",
    "R": "Redis",
    "C": "Clock, disk, host",
    "E": "Enrolment of nodes",
    "X": "Transport",
    "A": "Clients and tenants",
    "U": "Local users",
    "D": "Redis as an attacker's way in",
    "G": "Programs that run jobs",
    "H": "Hardening",
    "Q": "Supply",
    "T": "Traps that are known from the field",
}
HEAD = """# Reliability: what is shown, and how often

Every promise and every fault has an id. A test shows an id by naming it. Long runs (`make crash`,
`make faults`, `make weather` and others, with `LEDGER=docs/reliability.jsonl`) count how often a
fault was made and how often anything was bad afterwards, and their counts add up; `make again`
counts the tests that make a fault which has no long form of its own. "At most" is the
95 % upper bound of the share of bad ones: 3/n with none bad of n. This page is written by
`python -m campaigns.page`.
"""
TABLE_HEAD = (
    "| id | what | shown by | runs | bad | at most | wanted |",
    "|---|---|---|--:|--:|--:|--:|",
)

CAMPAIGN_HEAD = ("| day | machine | minutes | ids |", "|---|---|--:|---|")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; 1 when --check finds it would change."""
    parser = ArgumentParser(prog="python -m campaigns.page")
    parser.add_argument("--root", type=Path, default=Path.cwd())
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    options = parser.parse_args(arguments)
    page = options.root / "docs" / "reliability.md"
    text = render(options.root)
    if options.check:
        return 0 if page.exists() and page.read_text(encoding="utf-8") == text else 1
    page.write_text(text, encoding="utf-8")
    return 0


def render(root: Path) -> str:
    """Return the page for a source tree."""
    promises = read_promises()
    shown = told_by_id(root / "tests", promises)
    counted = sums(root / LEDGER)
    lines = [HEAD]
    missing = [id_ for id_ in promises if id_ not in shown]
    for letter, title in KINDS.items():
        ids = [id_ for id_ in promises if id_[0] == letter and id_ in shown]
        if ids:
            lines += ["", f"## {title}", "", *_table(ids, promises, shown, counted)]
    lines += ["", "## Campaigns", "", *CAMPAIGN_HEAD, *_campaigns(root / LEDGER)]
    lines += ["", "## Not yet held", "", "No test of `make test` shows these yet:", ""]
    lines += [f"- **{id_}** {promises[id_]['words']}{_counted(counted, id_)}" for id_ in missing]
    return "\n".join(lines) + "\n"


def read_promises() -> Mapping[str, Mapping[str, str]]:
    """Return id -> words, and wanted: how many runs a release asks for."""
    return tomllib.loads(PROMISES.read_text(encoding="utf-8"))


def _table(
    ids: Sequence[str],
    promises: Mapping[str, Mapping[str, str]],
    shown: Mapping[str, Sequence[str]],
    counted: Mapping[str, Tally],
) -> list[str]:
    rows = [*TABLE_HEAD]
    for id_ in ids:
        total = counted.get(id_)
        counts = (
            f"{total.runs:,} | {total.bad} | {upper_bound(total):.2%}" if total else "- | - | -"
        )
        wanted = promises[id_].get("wanted", "")
        rows.append(
            f"| {id_} | {promises[id_]['words']} | {_tests(shown[id_])} | {counts} | {wanted} |"
        )
    return rows


def _counted(counted: Mapping[str, Tally], id_: str) -> str:
    """Say what long runs have come to without a test."""
    total = counted.get(id_)
    return f" (in long runs {total.runs:,} times, {total.bad} bad)" if total else ""


def _campaigns(ledger: Path) -> list[str]:
    """Say when, for how long and on which machines the counts above were made."""
    return [
        f"| {run.day} | {run.machine} | {run.minutes:g} | {', '.join(run.ids)} |"
        for run in campaigns(ledger)
    ]


def _tests(tests: Sequence[str]) -> str:
    told = [f"`{test.partition(': ')[2] or test}`" for test in tests[:TESTS_TOLD]]
    more = len(tests) - len(told)
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    sys.exit(main())

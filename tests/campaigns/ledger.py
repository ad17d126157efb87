"""Where campaigns write down how often they tried what: one JSON line for each id and run."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import NamedTuple


class Tally(NamedTuple):
    """How often something was tried, and how often it went wrong."""

    runs: int
    bad: int


class Campaign(NamedTuple):
    """One run that counted something."""

    day: str
    machine: str
    minutes: float
    ids: list[str]


def append(path: Path | None, tallies: Mapping[str, Tally], minutes: float) -> None:
    """Add a line for each id to the ledger; without a path to nothing."""
    if path is None:
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [
        {
            "id": name,
            "runs": tally.runs,
            "bad": tally.bad,
            "minutes": round(minutes, 2),
            "date": now,
            "machine": machine(),
        }
        for name, tally in tallies.items()
        if tally.runs
    ]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def sums(path: Path) -> dict[str, Tally]:
    """Return what each id has come to in all campaigns of a ledger, which may be missing."""
    found: dict[str, Tally] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        one = json.loads(line)
        before = found.get(one["id"], Tally(0, 0))
        found[one["id"]] = Tally(before.runs + one["runs"], before.bad + one["bad"])
    return found


def campaigns(path: Path) -> list[Campaign]:
    """Return the runs of a ledger in the order in which they ended."""
    found: dict[tuple[str, str], Campaign] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        one = json.loads(line)
        first = Campaign(one["date"][:10], one["machine"], one["minutes"], [])
        found.setdefault((one["date"], one["machine"]), first).ids.append(one["id"])
    return [found[key] for key in sorted(found)]


def upper_bound(tally: Tally) -> float:
    """Return the 95 % upper bound of how often it goes wrong: three in n, when it never did.

    With k bad ones (k + 3 + 2 sqrt(k)) in n, which lies above the exact bound of Poisson.
    """
    if not tally.runs:
        return 1.0
    return min(1.0, (tally.bad + 3 + 2 * sqrt(tally.bad)) / tally.runs)


def machine() -> str:
    """Describe this machine in a few words."""
    python = platform.python_version()
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {python}"

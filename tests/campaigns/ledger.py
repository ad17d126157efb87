"""Where campaigns write down how often they tried what: one JSON line for each id and run."""

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple


class Tally(NamedTuple):
    """How often something was tried, and how often it went wrong."""

    runs: int
    bad: int


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
            "machine": platform.node(),
        }
        for name, tally in tallies.items()
        if tally.runs
    ]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def upper_bound(tally: Tally) -> float:
    """Return the 95 % upper bound of how often it goes wrong, when it never did: three in n."""
    return min(1.0, 3 / tally.runs) if tally.runs else 1.0

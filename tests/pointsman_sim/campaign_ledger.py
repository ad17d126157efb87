"""Where campaigns write down how often they tried what: one JSON line for each id and run.

{"id": "P4", "runs": 812, "bad": 0, "minutes": 30.0, "date": "2026-01-31T12:00:00+00:00",
"machine": "..."}; for the simulator `runs` counts faults done, not seeds, and `bad` the runs that
broke a promise while the fault was among what was done.
"""

import os
import platform
from collections import Counter
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import msgspec

from pointsman_sim.simulation import Report
from pointsman_sim.wall_clock import today

# What each kind of simulated fault counts for; some are no entry of the list by themselves.
IDS: dict[str, tuple[str, ...]] = {
    "agent_amnesia": ("P3",),
    "agent_crash": ("P3", "P4"),
    "agent_lies": ("N10",),
    "agent_power_loss": ("N1",),
    "agent_stall": ("N5",),
    "agent_wishes": (),
    "client_crash": ("N12",),
    "client_slow": ("N6",),
    "connection_drop": (),
    "connection_half_open": ("N1", "N2"),
    "dial_failure": (),
    "disk_full": ("C3",),
    "flapping": ("N8",),
    "half_partition": ("N3",),
    "host_pause": ("C2", "T9"),
    "lane_stall": ("T8",),
    "lane_stranded": ("N1",),
    "long_stall": ("P6", "P7"),
    "manager_crash": ("P1", "P4"),
    "manager_stall": ("P7",),
    "partition": ("N3",),
    "power_loss": ("P5",),
    "service_crash": ("P5",),
    "worker_crash": ("P2", "P4"),
    "worker_stall": ("P6",),
    "worker_stop": ("P13",),
}


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


class Counts:
    """What was done in all runs so far."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.bad: Counter[str] = Counter()

    def add(self, report: Report) -> None:
        """Count one run."""
        done: dict[str, int] = {"L2": 1, "N11": report.counts.get("repeats", 0)}
        for kind, ids in IDS.items():
            for name in ids:
                done[name] = done.get(name, 0) + report.counts.get(f"fault {kind}", 0)
        for name, count in done.items():
            self.runs[name] += count
            self.bad[name] += bool(count and report.violation)

    def tallies(self) -> dict[str, Tally]:
        """Return what each id has come to."""
        return {name: Tally(runs, self.bad[name]) for name, runs in sorted(self.runs.items())}


def append(path: Path | None, tallies: Mapping[str, Tally], minutes: float) -> None:
    """Add a line for each id that was tried; without a path to nothing.  Raises OSError."""
    if path is None:
        return
    now = today()
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
    with path.open("ab") as file:
        file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def sums(path: Path) -> dict[str, Tally]:
    """Return what each id has come to in all campaigns of a ledger, which may be missing."""
    found: dict[str, Tally] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        one = msgspec.json.decode(line)
        before = found.get(one["id"], Tally(0, 0))
        found[one["id"]] = Tally(before.runs + one["runs"], before.bad + one["bad"])
    return found


def campaigns(path: Path) -> list[Campaign]:
    """Return the runs of a ledger in the order in which they ended."""
    found: dict[tuple[str, str], Campaign] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        one = msgspec.json.decode(line)
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

"""How often a campaign tried what: one JSON line for each id of the fault list.

{"id": "P4", "runs": 812, "bad": 0, "minutes": 30.0, "date": "2026-01-31T12:00:00+00:00",
"machine": "..."}; `runs` counts faults done, not seeds, and `bad` the runs that broke a promise
while the fault was among what was done.
"""

import os
import platform
from collections import Counter
from pathlib import Path

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


def append(path: Path, counts: Counts, minutes: float) -> None:
    """Add a line for each id that was tried.  Raises OSError."""
    lines = [
        {
            "id": name,
            "runs": runs,
            "bad": counts.bad[name],
            "minutes": round(minutes, 2),
            "date": today(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        }
        for name, runs in sorted(counts.runs.items())
        if runs
    ]
    with path.open("ab") as file:
        file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

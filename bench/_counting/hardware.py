"""What the processor counts for a job: perf's counters of a real server's process under load.

Instructions say how much is done; these say how much of the time goes to waiting for code and data,
and to work that a wrong guess threw away.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from _load.orders import Order
from _load.systems import Line, PeerMissing, System, floor, pointsman, pointsman_compiled
from _shared.report import Row, median_row

KIND = "hardware"
SYSTEMS: Sequence[System] = (pointsman, pointsman_compiled, floor)
ATTACH_S = 0.3
WARM_S = 0.3
RUN_S = 1.5
ROUNDS = 3
# perf's name for it counts, on newer processors of AMD, an event that their manual does not have:
# 50,000 in a loop over 128 KiB of code that has to be fetched 25 million times.  The other one is
# what their second level was asked for instructions.
IS_AMD = "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
L1_INSTRUCTION_MISSES = "r0764" if IS_AMD else "L1-icache-load-misses"
# Few at a time: a virtual machine may have fewer counters than it says, and then some count next
# to nothing without a word (seen with six).
GROUPS = (
    {"cycles": "cycles:u", "instructions": "instructions:u"},
    {
        "l1_instruction_misses": f"{L1_INSTRUCTION_MISSES}:u",
        "cache_misses": "cache-misses:u",
        "branch_misses": "branch-misses:u",
        "kernel_cycles": "cycles:k",
    },
)
CLOCK = "task-clock"


def count_hardware(depths: Iterable[int]) -> list[Row]:
    """Return what the processor counts for a job of each system; says so where it does not."""
    if shutil.which("perf") is None:
        print(
            "the processor's counters: perf is not installed (Debian: apt-get install linux-perf)"
        )
        return []
    with ExitStack() as stack:
        lines = [line for start in SYSTEMS for line in _started(stack, start)]
        tried = [_counted(lines[0], 1, group) for group in GROUPS]
        missing = [
            key for group, found in zip(GROUPS, tried, strict=True) for key in group.keys() - found
        ]
        if missing:
            print(
                f"the processor's counters: perf does not count {', '.join(sorted(missing))} here"
            )
        if not any(tried):
            return []
        rounds = [[_row(line, depth) for depth in depths for line in lines] for _ in range(ROUNDS)]
    return [_together(rows) for rows in zip(*rounds, strict=True)]


def _together(rows: Sequence[Row]) -> Row:
    """Return the median of those rounds in which all was counted that ever was."""
    most = max(map(len, rows))
    return median_row([row for row in rows if len(row) == most])


def _started(stack: ExitStack, start: System) -> list[Line]:
    try:
        return start(stack, (1,))
    except PeerMissing as missing:
        print(f"the processor's counters, left out: {missing}")
        return []


def _row(line: Line, depth: int) -> Row:
    row: Row = {"kind": KIND, "system": line.system, "depth": depth}
    if line.variant:
        row["variant"] = line.variant
    for group in GROUPS:
        row |= _counted(line, depth, group)
    if "cycles" in row and "instructions" in row:
        row["instructions_per_cycle"] = float(row["instructions"]) / float(row["cycles"])
    return row


def _counted(line: Line, depth: int, group: dict[str, str]) -> dict[str, float]:
    """Return each event for one job: by the time that was counted, and what a job has of it."""
    with TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        events = ",".join((CLOCK, *group.values()))
        command = ["perf", "stat", "-x,", "-e", events, "-p", str(line.server_pid), "-o", str(out)]
        perf = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            time.sleep(ATTACH_S)
            outcome = line.run(Order(depth=depth, warm_s=WARM_S, run_s=RUN_S))
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()
        counts = read_counts(out.read_text(encoding="utf-8")) if out.exists() else {}
    if CLOCK not in counts:
        return {}
    jobs = counts[CLOCK] / 1_000 * outcome.jobs / outcome.cpu_s["server"]
    named = {key: event.partition(":")[0] for key, event in group.items()}
    return {key: counts[event] / jobs for key, event in named.items() if event in counts}


def read_counts(table: str) -> dict[str, float]:
    """Read perf's table, by the names of events; what was not counted is not in it."""
    rows = [line.split(",") for line in table.splitlines()]
    return {
        row[2].partition(":")[0]: float(row[0])
        for row in rows
        if len(row) > 2 and row[0].replace(".", "", 1).isdigit()
    }

"""Instructions and calls of the system for one job of a worker, and for a node's heartbeat.

Instructions are callgrind's count of what the worker does for a job at 1 to 512 in flight, and
the manager for a heartbeat, all but the event loop and the kernel (`turns.py`, `beats.py`); with
one seed they are the same in every run, whatever else the machine
does.  They need a CPython with symbols.  Calls are counted by strace, of a real worker under load
(not with --quick), beside those of the floor, which gathers frames in the same way; so are the
processor's own counters, by perf (`hardware.py`).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from _counting.calls import calls_of
from _counting.hardware import count_hardware
from _load.systems import floor, pointsman
from _shared.report import Options, Row, report, run

JOBS = {1: 200, 8: 320, 64: 640, 512: 1_024}
# Nodes that beat once a second, and for how long.
BEATING_NODES = 1_000
BEAT_S = 3  # about as long as it takes until each was looked at
COUNTED = {
    "pointsman core": "_counting.turns",
    "pointsman core, through Redis": "_counting.shared_turns",
}
BENCH = Path(__file__).resolve().parent


def count_instructions(module: str, wanted: Sequence[str]) -> list[int]:
    """Return the instructions of each part that a module plays; ends the process without."""
    with TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        options = ["--toggle-collect=_operator_call", "--dump-before=_operator_length_hint"]
        command = ["valgrind", "--tool=callgrind", *options, f"--callgrind-out-file={out}"]
        command += [sys.executable, "-m", module, *wanted]
        path = os.pathsep.join(filter(None, (str(BENCH), os.environ.get("PYTHONPATH", ""))))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        ended = subprocess.run(
            command, cwd=BENCH, env=environment, capture_output=True, text=True, check=False
        )
        # One dump ends before what is measured of a part, and the next one after it.
        dumps = [Path(f"{out}.{2 * number}") for number in range(1, 1 + len(wanted))]
        if ended.returncode or not all(dump.exists() for dump in dumps):
            sys.exit(f"callgrind counted nothing:\n{ended.stderr[-2000:]}")
        return [_total(dump) for dump in dumps]


def _total(dump: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", dump.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, dump
    return int(found[1])


def count_calls() -> list[Row]:
    """Return the calls of the system for a job, of the worker and of the floor."""
    rows: list[Row] = []
    with ExitStack() as stack:
        lines = [line for start in (pointsman, floor) for line in start(stack, (1,))]
        for line in lines:
            for depth in JOBS:
                calls = calls_of(line, depth)
                row: Row = {"system": line.system, "depth": depth}
                rows.append(row | {f"{name}_calls": count for name, count in calls.items()})
    return rows


def main(options: Options) -> None:
    """Count, and report."""
    rows: list[Row] = []
    if not options.is_quick:
        if has("strace", "calls of the system"):
            rows += count_calls()
        rows += count_hardware(JOBS)
    if has("valgrind", "instructions"):
        rows += count_all_instructions()
    if rows:
        report("counting", rows, options)


def has(program: str, counted: str) -> bool:
    """Is this program installed?  If not, what it would count is told."""
    if shutil.which(program) is not None:
        return True
    print(f"{counted}: {program} is not installed (Debian: apt-get install {program})")
    return False


def count_all_instructions() -> list[Row]:
    """Return the instructions of a job and of a heartbeat."""
    rows: list[Row] = []
    for system, module in COUNTED.items():
        counts = count_instructions(module, [f"{depth}={n}" for depth, n in JOBS.items()])
        for (depth, jobs), count in zip(JOBS.items(), counts, strict=True):
            rows.append({"system": system, "depth": depth, "instructions": count / jobs})
    [count] = count_instructions("_counting.beats", [f"{BEATING_NODES}={BEAT_S}"])
    beat: Row = {"system": "manager core", "nodes": BEATING_NODES}
    return [*rows, beat | {"instructions": count / (BEATING_NODES * BEAT_S)}]


if __name__ == "__main__":
    run("Instructions and calls of the system for one job, and for a heartbeat.", main)

"""Instructions and calls of the system for one job of a worker, at 1 to 512 in flight.

Instructions are callgrind's count of what the worker does for a job, all but the event loop and
the kernel (`turns.py`); with one seed they are the same in every run, whatever else the machine
does.  They need a CPython with symbols.  Calls are counted by strace, of a real worker under load
(not with --quick), beside those of the floor, which gathers frames in the same way.
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from _counting.calls import calls_of
from _load.systems import floor, pointsman
from _shared.report import Options, Row, report, run

JOBS = {1: 200, 8: 320, 64: 640, 512: 1_024}
BENCH = Path(__file__).resolve().parent


def count_instructions() -> dict[int, float]:
    """Return the instructions for each job, by depth.  Ends the process when callgrind cannot."""
    wanted = [f"{depth}={jobs}" for depth, jobs in JOBS.items()]
    with TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        options = ["--toggle-collect=_operator_call", "--dump-before=_operator_length_hint"]
        command = ["valgrind", "--tool=callgrind", *options, f"--callgrind-out-file={out}"]
        command += [sys.executable, "-m", "_counting.turns", *wanted]
        path = os.pathsep.join(filter(None, (str(BENCH), os.environ.get("PYTHONPATH", ""))))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        ended = subprocess.run(
            command, cwd=BENCH, env=environment, capture_output=True, text=True, check=False
        )
        # One part ends before what is measured at a depth, and the next one after it.
        parts = [Path(f"{out}.{2 * number}") for number in range(1, 1 + len(JOBS))]
        if ended.returncode or not all(part.exists() for part in parts):
            sys.exit(f"callgrind counted nothing:\n{ended.stderr[-2000:]}")
        return {
            depth: _total(part) / jobs
            for part, (depth, jobs) in zip(parts, JOBS.items(), strict=True)
        }


def _total(part: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", part.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, part
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
    missing = [program for program in ("valgrind", "strace") if shutil.which(program) is None]
    if missing:
        print(f"counts nothing without {', '.join(missing)}")
        return
    rows: list[Row] = [] if options.is_quick else count_calls()
    instructions = count_instructions()
    for depth, count in instructions.items():
        rows.append({"system": "pointsman core", "depth": depth, "instructions": count})
    report("counting", rows, options)


if __name__ == "__main__":
    run("Instructions and calls of the system for one job.", main)

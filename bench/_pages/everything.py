"""Runs benches one after another, keeps what they measured, and writes docs/performance.md.

    .venv/bin/python bench/_pages/everything.py [--only NAME ...] [--trace FILE ...] [--short]
    .venv/bin/python bench/_pages/everything.py --glance

`--short` takes the short form of each; `--glance` takes some of them, short, keeps and writes
nothing, and tells the ratios to the floor: less than three minutes where nothing else runs.  A
bench that fails is named at the end, and the others' figures count all the same.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _pages import decisions, performance, promises
from _pages.results import RESULTS, ROOT, Result, Results, program_of

# Where the benches of many hosts find each other, and the servers of Redis that tests start.
MODULE_PATH = (str(ROOT / "bench"), str(ROOT / "tests"))
# The longest last, so that most is there when somebody loses patience.
ORDER = (
    "roundtrip",
    "costs",
    "counting",
    "cores",
    "decisions",
    "journal",
    "snapshot",
    "rebuild",
    "sessions",
    "talking",
    "fleet",
    "overload",
    "recovery",
    "reconnects",
    "coordination",
    "end_to_end",
    "trace",
)
GLANCE: tuple[tuple[str, Sequence[str]], ...] = (
    ("roundtrip", ("--quick",)),
    ("cores", ("--quick",)),
    ("costs", ("--quick",)),
    ("fleet", ("--quick", "--nodes", "1000")),
    ("coordination", ("--quick",)),
    ("end_to_end", ("--quick",)),
)


def run_bench(name: str, more: Sequence[str], directory: Path) -> bool:
    """Run one bench and keep its JSON; say how long it took."""
    print(f"== {name} {' '.join(more)}".rstrip(), flush=True)
    began_s = time.monotonic()
    path = directory.resolve() / f"{name}.json"
    where = os.pathsep.join([*MODULE_PATH, *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, *program_of(name), *more, "--json", str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": where},
        check=False,
    )
    print(f"== {name}: {time.monotonic() - began_s:.0f} s", flush=True)
    return ended.returncode == 0


def keep_all(names: Sequence[str], traces: Sequence[Path], *, is_short: bool) -> int:
    """Run benches, write the pages; return the exit status."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        more = ["--quick"] if is_short else []
        if name == "trace":
            if not traces:
                print("== trace: left out, as no --trace FILE was given")
                continue
            more += ["--trace", *(str(path.resolve()) for path in traces)]
        if not run_bench(name, more, RESULTS):
            failed.append(name)
    performance.main()
    decided = RESULTS / "decisions.json"
    if decided.exists():
        decisions.write(decided)
    print(f"failed: {', '.join(failed)}" if failed else "every bench has ended well")
    return 1 if failed else 0


def glance() -> int:
    """Run the short ones and tell the ratios; return the exit status."""
    with TemporaryDirectory(prefix="pointsman-bench-") as name:
        directory = Path(name)
        is_well = [run_bench(bench, more, directory) for bench, more in GLANCE]
        found: Results = {
            bench: msgspec.json.decode((directory / f"{bench}.json").read_bytes(), type=Result)
            for (bench, _), well in zip(GLANCE, is_well, strict=True)
            if well
        }
    print(promises.budgets(found))
    return 0 if all(is_well) else 1


def main() -> int:
    """Read the options and do it."""
    parser = argparse.ArgumentParser(description="All benches, and the page of performance.")
    parser.add_argument("--only", nargs="+", choices=ORDER, default=ORDER, help="these alone")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", nargs="+", default=[], help="arrivals for trace.py"
    )
    parser.add_argument("--short", action="store_true", help="the short form of each")
    parser.add_argument("--glance", action="store_true", help="ratios to the floor, soon")
    found = parser.parse_args()
    try:
        if found.glance:
            return glance()
        return keep_all(found.only, found.trace, is_short=found.short)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

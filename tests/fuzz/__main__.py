"""The fuzzing campaign: every target for its share of the time, counted by id.

    PYTHONPATH=tests python -m fuzz --minutes 30 --ledger ledger.jsonl
    PYTHONPATH=tests python -m fuzz --minutes 5 --only framing,client --plain

Where atheris is installed its coverage guides the cases; without it, or with --plain, they are made
from the seeds by mutator.py.  Each target runs in a process of its own.  A case that went wrong is
kept in the folder named by --keep, and is fed again with --case.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.mutator import Mutator
from fuzz.targets import TARGETS

from pointsman_sim.campaign_ledger import Tally, append

CASE_TIMEOUT_S = 20
# Reading and preparing every module takes a minute on a machine that is busy with other things.
GRACE_S = 300.0
RUNS = re.compile(r"^fuzz: (\d+) runs, (\d+) bad$", re.MULTILINE)
GUIDED_RUNS = re.compile(r"^(?:Done |#)(\d+)", re.MULTILINE)  # libFuzzer's, growing


def feed_plain(name: str, seconds: float, keep: Path) -> int:
    """Feed mutated cases for so long; return how many went wrong."""
    target = TARGETS[name]
    feed = target.make()
    mutator = Mutator(target.seeds(), time.time_ns())
    until_s = time.monotonic() + seconds
    runs = bad = 0
    while time.monotonic() < until_s:
        case = mutator.case()
        runs += 1
        try:
            feed(case)
        except Exception as error:
            bad += 1
            path = keep / f"crash-{name}-{bad}"
            path.write_bytes(case)
            print(f"{name}: {type(error).__name__}: {error}; the case is {path}", flush=True)
            feed = target.make()
    print(f"fuzz: {runs} runs, {bad} bad")
    return bad


def feed_one(name: str, path: Path) -> None:
    """Feed a kept case again; what it raises is seen."""
    TARGETS[name].make()(path.read_bytes())
    print(f"{name}: {path} does no harm")


def run_target(name: str, seconds: float, *, is_guided: bool, keep: Path) -> Tally:
    """Run a target in a process of its own and count."""
    command = [sys.executable, "-m", "fuzz.guided" if is_guided else "fuzz", name]
    with TemporaryDirectory(prefix="pm-fuzz-") as folder:
        if is_guided:
            for number, seed in enumerate(TARGETS[name].seeds()):
                (Path(folder) / f"seed-{number}").write_bytes(seed)
            command += [
                f"-max_total_time={max(1, round(seconds))}",
                f"-timeout={CASE_TIMEOUT_S}",
                f"-artifact_prefix={keep}/{name}-",
                "-max_len=8192",
                "-rss_limit_mb=2048",
                folder,
            ]
        else:
            command += ["--seconds", str(seconds), "--keep", str(keep)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds + GRACE_S,
                check=False,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        except subprocess.TimeoutExpired:
            print(f"{name}: did not end in time")
            return Tally(1, 1)
    return _count(done)


def _count(done: subprocess.CompletedProcess[str]) -> Tally:
    found = RUNS.search(done.stdout)
    if found:
        runs, bad = int(found[1]), int(found[2])
    else:
        runs = max(map(int, GUIDED_RUNS.findall(done.stderr)), default=1)
        bad = int(done.returncode != 0)
    if bad:
        print("\n".join((done.stdout + done.stderr).splitlines()[-60:]))
    return Tally(runs, bad)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS), help="this one, in here")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--case", type=Path, help="feed this file to the target")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--only", default="", help="targets with commas between them")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--keep", type=Path, default=Path(".fuzz"))
    parser.add_argument("--ledger", type=Path, default=None)
    given = parser.parse_args()
    given.keep.mkdir(exist_ok=True)
    if given.target and given.case:
        feed_one(given.target, given.case)
        return 0
    if given.target:
        return 1 if feed_plain(given.target, given.seconds, given.keep) else 0
    is_guided = not given.plain and importlib.util.find_spec("atheris") is not None
    names = given.only.split(",") if given.only else list(TARGETS)
    print(f"{len(names)} targets, {'guided by coverage' if is_guided else 'mutated seeds'}")
    bad = 0
    for name in names:
        seconds = 60 * given.minutes / len(names)
        tally = run_target(name, seconds, is_guided=is_guided, keep=given.keep.resolve())
        print(f"{TARGETS[name].id:4} {name:20} {tally.runs:12,} runs, {tally.bad} bad", flush=True)
        # At once: what was counted stays, also when the rest is cut short.
        append(given.ledger, {TARGETS[name].id: tally}, seconds / 60)
        bad += tally.bad
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

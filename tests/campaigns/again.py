"""The tests that show some ids, run again and again, and counted for each id.

    PYTHONPATH=tests python -m campaigns.again --ids P8,P9,S5 --minutes 10 --ledger ledger.jsonl

Most faults have a long form that makes them by the hundred.  Those that have none are made by
their tests: a run is one test that names the id, by itself or in its module's docstring, and was
not skipped.  Without ids it is all that a release wants runs of and that were never counted.  Who
has as many as are wanted is left out, and when all have, it ends.
"""

import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from xml.etree import ElementTree

from campaigns.page import LEDGER, read_promises
from campaigns.shown_by import told_by_id

from pointsman_sim.campaign_ledger import Tally, append, sums

NOTHING = Tally(0, 0)
TAIL_LINES = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; 1 when anything was bad."""
    parser = ArgumentParser(prog="python -m campaigns.again", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path.cwd())
    parser.add_argument("--ids", default="", help="such as P8,S5; if not given, all without runs")
    parser.add_argument("--named", default="", help="only tests whose file or name has this in it")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--ledger", type=Path, help="a file to add the counts to")
    options = parser.parse_args(arguments)
    tests, began_s = options.root / "tests", monotonic()
    done = sums(options.root / LEDGER)
    lacking = lacking_runs(done)
    never = [id_ for id_ in lacking if id_ not in done]
    shown = {
        id_: [place for place in places if options.named in place]
        for id_, places in told_by_id(tests, read_promises()).items()
    }
    ids = [id_ for id_ in (options.ids.split(",") if options.ids else never) if shown.get(id_)]
    counted: dict[str, Tally] = {}
    while open_ids := [id_ for id_ in ids if _runs(counted, id_) < lacking.get(id_, 1)]:
        for place, is_good in outcomes(tests, sorted({p for i in open_ids for p in shown[i]})):
            for id_ in (id_ for id_ in open_ids if is_named(shown[id_], place)):
                runs, bad = counted.get(id_, NOTHING)
                counted[id_] = Tally(runs + 1, bad + (not is_good))
        print(*(f"{id_} {_runs(counted, id_)}" for id_ in ids), sep=", ", flush=True)
        if monotonic() - began_s > 60 * options.minutes or not counted:  # or all were skipped
            break
    append(options.ledger, counted, (monotonic() - began_s) / 60)
    return 1 if any(tally.bad for tally in counted.values()) else 0


def lacking_runs(done: Mapping[str, Tally]) -> dict[str, int]:
    """Return id -> how many runs of those that a release wants are still to be done.

    What is wanted in words (`unit`, `sim`, `all offsets`) is there once it was run at all.
    """
    lacking = {}
    for id_, promise in read_promises().items():
        wanted = promise.get("wanted", "").split(" ")[0].replace(",", "")
        count = int(wanted) if wanted.isdecimal() else 1 if wanted else 0
        if count > done.get(id_, NOTHING).runs:
            lacking[id_] = count - done.get(id_, NOTHING).runs
    return lacking


def outcomes(tests: Path, places: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Run tests ("file.py: name", or all of "file.py"); return where each is and if it was good."""
    with TemporaryDirectory(prefix="pm-again-") as folder:
        told = Path(folder) / "told.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        chosen = [str(tests / place.replace(": ", "::")) for place in places]
        done = subprocess.run(
            [*command, "--junitxml", told, *chosen],
            cwd=tests.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            print("\n".join(done.stdout.splitlines()[-TAIL_LINES:]), flush=True)
        if told.exists():
            yield from read_outcomes(told.read_text(encoding="utf-8"), tests.name)


def read_outcomes(told: str, folder: str) -> Iterator[tuple[str, bool]]:
    """Read what pytest has written of the tests in a folder, without those that were skipped."""
    for case in ElementTree.fromstring(told).iter("testcase"):  # noqa: S314 - pytest wrote it
        module = case.get("classname", "").removeprefix(f"{folder}.").replace(".", "/")
        name = case.get("name", "").partition("[")[0]
        if case.find("skipped") is None:
            is_good = case.find("failure") is None and case.find("error") is None
            yield f"{module}.py: {name}", is_good


def is_named(places: Sequence[str], place: str) -> bool:
    """Is this test, or all of its module, among those that show an id?"""
    return place in places or place.partition(": ")[0] in places


def _runs(counted: Mapping[str, Tally], id_: str) -> int:
    return counted.get(id_, NOTHING).runs


if __name__ == "__main__":
    sys.exit(main())

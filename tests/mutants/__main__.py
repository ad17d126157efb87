"""Test of the tests (L8): put every bug of the table in, one by one, and see that it is caught.

    PYTHONPATH=tests python -m mutants

Prints a table, bug -> caught by; exit status 1 when one was not caught, or not by what it should.
"""

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

from mutants.table import NAMED, WEATHER, Named, caught_in_weather

TESTS = Path(__file__).resolve().parents[1]
TEST_S = 180.0
FAILED = 1  # what pytest says when a test has failed, and nothing else was wrong


def caught_by_test(mutant: Named) -> str:
    """Return the test, "" when it passes all the same."""
    command = [sys.executable, "-m", "mutants.one_test", mutant.bug.__name__, mutant.test]
    ended = subprocess.run(
        command,
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(TESTS)])},
        capture_output=True,
        text=True,
        timeout=TEST_S,
        check=False,
    )
    if ended.returncode == FAILED:
        return mutant.test.partition("::")[2]
    return "" if ended.returncode == 0 else f"? {ended.stdout[-500:]}{ended.stderr[-500:]}"


def main() -> int:
    """Try them all."""
    missed = 0
    for weather in WEATHER:
        began_s = monotonic()
        found = caught_in_weather(weather)
        missed += found not in weather.promises
        tell(weather.bug.__name__, found and f"{found} in a simulation", monotonic() - began_s)
    for named in NAMED:
        began_s = monotonic()
        found = caught_by_test(named)
        missed += found != named.test.partition("::")[2]
        tell(named.bug.__name__, found, monotonic() - began_s)
    print(f"{len(WEATHER) + len(NAMED)} bugs, {missed} not caught as they should")
    return 1 if missed else 0


def tell(bug: str, found: str, took_s: float) -> None:
    """Print one line."""
    print(f"{bug.replace('_', ' '):<52} {found or 'NOT CAUGHT'}  ({took_s:.1f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Run a test with a seeded bug in place: `python -m mutants.one_test BUG TEST`."""

import sys
from pathlib import Path

import pytest
from mutants import tested_bugs

TESTS = Path(__file__).resolve().parents[1]


def main() -> int:
    """Return pytest's status: 1 when the test fails, as it should."""
    bug, test = sys.argv[1:]
    with pytest.MonkeyPatch.context() as patch:
        getattr(tested_bugs, bug)(patch)
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
        return int(pytest.main([*options, f"--rootdir={TESTS.parent}", str(TESTS / test)]))


if __name__ == "__main__":
    sys.exit(main())

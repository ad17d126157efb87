"""Judge histories: `python -m pointsman_sim.checker client.jsonl nodes.jsonl faults.jsonl`.

Exit status 0 when no promise was broken, 1 when one was, 2 when a history cannot be read.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from pointsman_sim.checker.judging import as_json, judge, table
from pointsman_sim.checker.recording import HistoryError, load
from pointsman_sim.checker.verdicts import Limits


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the files of one history together."""
    parser = ArgumentParser(
        prog="python -m pointsman_sim.checker",
        description="Hold what clients and nodes recorded (--history) against the promises.",
    )
    parser.add_argument("files", nargs="+", type=Path, help="files of one history")
    parser.add_argument("--json", action="store_true", help="the verdict as JSON")
    parser.add_argument("--recover-s", type=float, default=Limits().recover_s)
    options = parser.parse_args(arguments)
    try:
        facts = load(options.files)
    except (HistoryError, OSError) as error:
        print(f"pointsman_sim.checker: {error}", file=sys.stderr)
        return 2
    judgement = judge(facts, Limits(recover_s=options.recover_s))
    print(as_json(judgement).decode() if options.json else table(judgement))
    return 0 if judgement.is_kept else 1


if __name__ == "__main__":
    sys.exit(main())

"""Chaos: `python -m pointsman_sim.chaos --minutes 5`, or `pointsman chaos --minutes 5`.

Starts a service of its own beside whatever runs, with nodes and clients, kills and stops parts
of it, and gives the history checker's verdict.  Needs no root.  Exit status 0 when every promise
was kept, 1 when one was broken, 2 for a wrong command line, 130 when it was interrupted.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pointsman_sim.chaos.campaign import Outcome, run
from pointsman_sim.chaos.plan import FAULTS, Plan
from pointsman_sim.chaos.processes import ChaosTrouble
from pointsman_sim.checker.judging import as_json, table

INTERRUPTED = 130


def parser() -> ArgumentParser:
    """Return the command line."""
    found = ArgumentParser(
        prog="pointsman chaos",
        description="Do faults to a throw-away local service, and judge what came of it.",
        epilog=f"Faults: {', '.join(FAULTS)}.",
    )
    found.add_argument("--minutes", type=float, default=1.0, help="how long faults are done")
    found.add_argument("--workers", type=int, default=2)
    found.add_argument("--nodes", type=int, default=4)
    found.add_argument("--sessions", type=int, default=8)
    found.add_argument("--faults", default="all", help="all, none, or kinds with commas between")
    found.add_argument("--seed", type=int, default=0, help="of the order and times of faults")
    found.add_argument("--keep", type=Path, help="a folder that gets the histories")
    found.add_argument("--json", action="store_true", help="the verdict as JSON")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and tell the verdict."""
    options = parser().parse_args(arguments)
    words: dict[str, tuple[str, ...]] = {"all": FAULTS, "none": ()}
    try:
        plan = Plan(
            minutes=options.minutes,
            workers=options.workers,
            nodes=options.nodes,
            sessions=options.sessions,
            faults=words.get(options.faults, tuple(options.faults.split(","))),
            seed=options.seed,
            keep=options.keep,
        )
    except ValueError as error:
        parser().error(str(error))
    if not options.json:
        print(f"{', '.join(plan.faults) or 'no faults'} for {plan.minutes:g} min ...", flush=True)
    try:
        outcome = run(plan)
    except ChaosTrouble as error:
        print(f"pointsman chaos: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pointsman chaos: interrupted; nothing is left of it", file=sys.stderr)
        return INTERRUPTED
    print(told(outcome, is_json=options.json))
    return 0 if outcome.is_kept else 1


def told(outcome: Outcome, *, is_json: bool) -> str:
    """Return the outcome for people or programs."""
    if is_json:
        verdict = msgspec.json.decode(as_json(outcome.judgement))
        whole = {**verdict, "kept": outcome.is_kept, "troubles": outcome.troubles}
        return msgspec.json.encode(whole).decode()
    end = "every promise was kept" if outcome.is_kept else "A PROMISE WAS BROKEN"
    return "\n".join([table(outcome.judgement), *outcome.troubles, end])


if __name__ == "__main__":
    sys.exit(main())

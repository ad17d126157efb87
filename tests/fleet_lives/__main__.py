"""Run lives: `PYTHONPATH=tests:tests/sharing python -m fleet_lives --seed 7 --minutes 10`.

Prints each life that ended badly, with the last of what happened in it with --tail.  Exit status 1
when there was one.
"""

import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Sequence
from time import monotonic

from fleet_lives.life import Life

STEPS = 500


def lived(seed: int, steps: int, tail: int) -> bool:
    """Live one life; say what was wrong with it."""
    life = Life(seed)
    try:
        life.live(steps)
        wrong = life.left_over()
    except Exception:
        traceback.print_exc()
        wrong = ["an error"]
    if wrong:
        for line in life.diary[-tail:] if tail else ():
            print(line)
        print(f"seed {seed}, {steps} steps:", *wrong, sep="\n  ", flush=True)
    return not wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Live one life after the other."""
    parser = ArgumentParser(prog="python -m fleet_lives", description="Live lives of a fleet.")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--minutes", type=float, default=0.0, help="0: one life")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--tail", type=int, default=0, help="of what happened in a bad one")
    options = parser.parse_args(arguments)
    ends_at_s = monotonic() + 60 * options.minutes
    seed, bad = options.seed, 0
    while seed == options.seed or monotonic() < ends_at_s:
        bad += not lived(seed, options.steps, options.tail)
        seed += 1
    print(f"{seed - options.seed} lives from seed {options.seed} on, {bad} of them bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

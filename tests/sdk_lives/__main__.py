"""Run lives: `PYTHONPATH=tests python -m sdk_lives --seed 7 --minutes 10`."""

import logging
import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Sequence
from time import monotonic

from sdk_lives.life import Life, settings_of


def lived(seed: int, tail: int) -> bool:
    """Live one life; say what was wrong with it."""
    life = Life(settings_of(seed))
    try:
        life.live()
    except Exception:
        for line in life.history.tail_lines()[-tail:] if tail else ():
            print(line)
        print(f"seed {seed}: {life.settings}")
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Live one life after the other."""
    parser = ArgumentParser(prog="python -m sdk_lives", description="Live lives of the SDK.")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--minutes", type=float, default=0.0, help="0: one life")
    parser.add_argument("--tail", type=int, default=0, help="lines of what happened in a bad one")
    options = parser.parse_args(arguments)
    logging.disable()  # handlers raise on purpose, and say so
    ends_at_s = monotonic() + 60 * options.minutes
    seed, bad = options.seed, 0
    while seed == options.seed or monotonic() < ends_at_s:
        bad += not lived(seed, options.tail)
        seed += 1
    print(f"{seed - options.seed} lives from seed {options.seed} on, {bad} of them bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

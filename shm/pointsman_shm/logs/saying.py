"""What a program that runs once says goes to standard error, if anybody still listens."""

import sys


def say(speaker: str, text: str) -> None:
    """Print one line.  A reader that is gone must never keep a process from what it is doing."""
    try:
        print(f"{speaker}: {text}", file=sys.stderr, flush=True)
    except OSError:
        return

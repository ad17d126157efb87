"""What a program that runs once says: to standard error, if anybody still listens; answers to
standard output.
"""

import os
import sys

STDOUT = 1


def say(speaker: str, text: str) -> None:
    """Print one line.  A reader that is gone must never keep a process from what it is doing."""
    try:
        print(f"{speaker}: {text}", file=sys.stderr, flush=True)
    except OSError:
        return


def answer(text: str) -> None:
    """Print what was asked for; a reader that has seen enough, as `head`, is told no more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left would be tried again, and complained of, when the program ends.
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, STDOUT)
        os.close(nowhere)

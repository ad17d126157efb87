"""Probes: callables that say whether the owner wants the node to pause, and why.

    def game_runs():                       # plain: called in a thread, so it may take its time
        return Path("/run/game.pid").exists() and "a game runs"

A text is the reason to pause; True pauses for the probe's name; None, False and "" do not pause.
An `async def` will do as well.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

Wish = str | bool | None
Probe = Callable[[], Wish | Awaitable[Wish]]

PROBES_MAX = 16
WORDS_LENGTH_MAX = 128


def probe_words(probe: Probe) -> str:
    """Return what a probe is called: the text of a built-in one, the name of a function."""
    if inspect.isroutine(probe):
        words = getattr(probe, "__name__", "") or repr(probe)
    else:
        words = str(probe)
    return printable(words)


def reason_of(answer: object, words: str) -> str:
    """Return why a probe wants a pause, "" when it does not.  Raises TypeError for no answer."""
    if isinstance(answer, str):
        return printable(answer)
    if answer is True:
        return words
    if answer is None or answer is False:
        return ""
    raise TypeError(
        f"a probe answers with a text, True, False or None, not {type(answer).__name__}"
    )


def printable(words: str) -> str:
    """Return words as they may travel: one line, without what cannot be printed, not too long."""
    kept = "".join(mark if mark.isprintable() else " " for mark in words)
    return " ".join(kept.split())[:WORDS_LENGTH_MAX]


def checked_probes(probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """Return the probes of a policy.  Raises ValueError for what is none, and for too many."""
    if len(probes) > PROBES_MAX:
        raise ValueError(f"owner_policy: {len(probes)} probes, at most {PROBES_MAX} are taken")
    for probe in probes:
        if not callable(probe):
            raise ValueError(
                f"owner_policy: {probe!r} cannot be called; a probe is a function without "
                "arguments, or QuietHours, ForeignCpu, PauseFile"
            )
    return tuple(probes)


class PauseFile:
    """Pauses while a file is there: `touch` it to pause, remove it to work on."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return f"while {self.path} is there"

    def __call__(self) -> str:
        """Return why, or "" when there is no such file."""
        return f"{self.path} is there" if self.path.exists() else ""

"""Named points at which a test kills this process: POINTSMAN_CRASHPOINT=name:k, the k-th passing.

Random kills rarely hit a window of microseconds; these always do.  The variable is read once, in
main, by manager, worker, node and client alike: a name belongs to one program, so it may be set
for a whole service.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from enum import Enum, auto

import msgspec

VARIABLE = "POINTSMAN_CRASHPOINT"


class CrashPointError(ValueError):
    """The variable is set to something that is not name:k."""


def pass_by(point: str) -> None:
    """Go on: no crash was asked for."""


def read_crash_point(environment: Mapping[str, str]) -> "Callable[[str], None] | CrashPoint":
    """Return what to call at each point.  Raises CrashPointError."""
    wish = environment.get(VARIABLE, "")
    if not wish:
        return pass_by
    name, _, count = wish.rpartition(":")
    if not name or not count.isdecimal() or int(count) < 1:
        raise CrashPointError(f"{VARIABLE}={wish!r}: write NAME:K, such as manager-mid-sweep:1")
    return CrashPoint(name, int(count))


class CrashPoint:
    """Counts passings of one point and ends the process, as `kill -9` would, at the last."""

    def __init__(self, name: str, passings: int) -> None:
        self.name = name
        self._left = passings

    def __call__(self, point: str) -> None:
        """Pass a point."""
        if self.is_last(point):
            die()

    def is_last(self, point: str) -> bool:
        """Pass a point and say whether this is where it shall die, for who has to prepare it."""
        if point != self.name:
            return False
        self._left -= 1
        return self._left == 0


def die() -> None:
    """End this process at once, as `kill -9` would: nothing is flushed, closed or said."""
    if sys.platform != "win32":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)


class Moment(Enum):
    """How much of a driver's turn has happened.

    facts arrived      HEARD      the core has not stepped: nothing of it has happened yet
    the core steps
    wishes carried out DONE       one of them, such as a journal's write; no frame has left
                       UNSENT     all of them; no frame has left
    frames leave       HALF_SENT  half of one connection's bytes, perhaps amid a frame
                       SENT       all of one connection's bytes, and nothing of the others
    """

    HEARD = auto()
    DONE = auto()
    UNSENT = auto()
    HALF_SENT = auto()
    SENT = auto()


class CrashSpot(msgspec.Struct, frozen=True):
    """A point: the moment of a turn in which one of these messages, events or commands is met."""

    name: str
    moment: Moment
    kinds: tuple[type, ...]

"""Named points at which a test kills this process: POINTSMAN_CRASHPOINT=name:k, the k-th passing.

Random kills rarely hit a window of microseconds; these always do.  Read once, in main.
"""

import os
import signal
from collections.abc import Callable, Mapping

VARIABLE = "POINTSMAN_CRASHPOINT"


class CrashPointError(ValueError):
    """The variable is set to something that is not name:k."""


def pass_by(point: str) -> None:
    """Go on: no crash was asked for."""


def read_crash_point(environment: Mapping[str, str]) -> Callable[[str], None]:
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
        self._name = name
        self._left = passings

    def __call__(self, point: str) -> None:
        """Pass a point."""
        if point != self._name:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

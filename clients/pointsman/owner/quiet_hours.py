"""Quiet hours: times of day, by the clock on the wall, in which the owner wants no jobs."""

import re
from collections.abc import Callable

from pointsman.owner.wall_clock import MINUTES_A_DAY, minute_of_day

WINDOWS_MAX = 16
_WINDOW = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


class QuietHours:
    """Pauses in windows such as "22:00-07:00"; the start belongs to a window, the end does not.

    Raises ValueError for what is no window.
    """

    def __init__(self, *windows: str, now: Callable[[], int] = minute_of_day) -> None:
        if not 1 <= len(windows) <= WINDOWS_MAX:
            raise ValueError(f"quiet hours: name 1 to {WINDOWS_MAX} windows, as in 22:00-07:00")
        self.windows = windows
        self._spans = [_span(window) for window in windows]
        self._now = now

    def __str__(self) -> str:
        return f"quiet hours {', '.join(self.windows)}"

    def __call__(self) -> str:
        """Return the window that it is in now, "" outside of all."""
        now = self._now()
        for window, (start, end) in zip(self.windows, self._spans, strict=True):
            length = (end - start) % MINUTES_A_DAY or MINUTES_A_DAY
            if (now - start) % MINUTES_A_DAY < length:
                return f"quiet hours {window}"
        return ""


def _span(window: str) -> tuple[int, int]:
    """Return (start, end) in minutes of the day; over midnight the end is the smaller one."""
    match = _WINDOW.fullmatch(window.strip())
    if match is None:
        raise ValueError(f"quiet hours {window!r}: write FROM-TO as in 22:00-07:00")
    hours_from, minutes_from, hours_to, minutes_to = map(int, match.groups())
    start, end = 60 * hours_from + minutes_from, 60 * hours_to + minutes_to
    is_of_day = minutes_from < 60 and minutes_to < 60 and max(start, end) <= MINUTES_A_DAY
    if not is_of_day or start == MINUTES_A_DAY:
        raise ValueError(f"quiet hours {window!r}: a day goes from 00:00 to 24:00")
    if start == end:
        raise ValueError(f"quiet hours {window!r}: the window is empty; all day is 00:00-24:00")
    return start, end

"""The one place of this package that reads the wall clock: quiet hours are told in local time."""

import time

MINUTES_A_DAY = 24 * 60


def minute_of_day() -> int:
    """Return the minutes since midnight, by the clock on this machine's wall."""
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min

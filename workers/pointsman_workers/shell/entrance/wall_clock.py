"""The one place of this package that reads the wall clock: tokens end at an instant of it."""

import time


def wall_clock_s() -> float:
    """Return seconds since 1970."""
    return time.time()

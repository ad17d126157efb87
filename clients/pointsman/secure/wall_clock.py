"""The one place here that reads the wall clock: certificates begin and end by it."""

import time


def wall_clock_s() -> float:
    """Return seconds since 1970."""
    return time.time()

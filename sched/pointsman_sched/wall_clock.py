"""The one place of this package that reads the wall clock: server's time, ends of secrets."""

import time


def wall_clock_offset_ns() -> int:
    """Return wall clock minus monotonic clock; nothing is ever timed by it."""
    return time.time_ns() - time.monotonic_ns()


def wall_clock_s() -> int:
    """Return seconds since 1970, in which the life of certificates and tokens is written."""
    return int(time.time())

"""The one place of this package that reads the wall clock: to tell nodes the server's time."""

import time


def wall_clock_offset_ns() -> int:
    """Return wall clock minus monotonic clock; nothing is ever timed by it."""
    return time.time_ns() - time.monotonic_ns()

"""The wall clock, for the date of a campaign and nothing else."""

from datetime import UTC, datetime


def today() -> str:
    """Return this moment, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

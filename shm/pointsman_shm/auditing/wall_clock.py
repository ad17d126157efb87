"""The one place of this package that reads the wall clock: for people, never for a decision."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Return the time of day as ISO 8601 writes it, in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

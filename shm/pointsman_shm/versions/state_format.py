"""The form of a state directory: who wrote it, and how an older one becomes today's.

      format
    +----------+--------------------------------------------------------------------------+
    | 2        | the number of the form                                                   |
    | by 0.1.0 | the version that started there last, which can read it if another cannot |
    +----------+--------------------------------------------------------------------------+

    1  the number alone
    2  the version beside it

Steps lead from each older form to the next, and there is no way back: a version that finds a
newer form than it knows refuses, and names the version that wrote it.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

STATE_FORMAT = 2
MARKER = "format"
_SIZE_MAX = 256

Replace = Callable[[Path, bytes], None]


class FormatRefused(Exception):
    """The directory is of a form that this version cannot take over; the text says what to do."""


class Marker(msgspec.Struct, frozen=True):
    """What the file says; `version` is "" in form 1."""

    number: int
    version: str = ""


def read_marker(directory: Path) -> Marker | None:
    """Return what the directory says of itself; None where it says nothing yet.

    Raises FormatRefused for what no version has written.
    """
    try:
        text = (directory / MARKER).read_text(encoding="ascii", errors="replace")[:_SIZE_MAX]
    except FileNotFoundError:
        return None
    number, *rest = text.splitlines() or [""]
    version = next((line.removeprefix("by ") for line in rest if line.startswith("by ")), "")
    if not number.isdecimal():
        raise FormatRefused(
            f"directory {directory} has format {number[:16]!r}, which is no number: move it away, "
            "or bring a backup back with `pointsman restore FILE`"
        )
    return Marker(int(number), version)


def marker_text(version: str) -> bytes:
    """Return the file of a directory in today's form."""
    return f"{STATE_FORMAT}\nby {version}\n".encode("ascii")


def check_readable(directory: Path, marker: Marker) -> None:
    """Raise FormatRefused for a form that cannot be migrated to today's."""
    if marker.number == STATE_FORMAT or marker.number in STEPS:
        return
    by = f"pointsman {marker.version}" if marker.version else "a newer version"
    raise FormatRefused(
        f"directory {directory} has format {marker.number}, written by {by}; this version reads "
        f"{min(STEPS)} to {STATE_FORMAT}: install {by} again (`pip install WHEEL`), or bring back "
        "what was backed up before it, into an empty place: `pointsman restore FILE`"
    )


def settle_format(directory: Path, version: str, replace: Replace) -> str:
    """Bring the directory to today's form; return what to say of it, "" when it had it.

    The caller holds the instance's lock; `replace` writes a file whole.  Every step writes its
    number last, so that one which was cut short begins anew.  Raises FormatRefused.
    """
    marker = read_marker(directory)
    if marker is None:
        replace(directory / MARKER, marker_text(version))
        return ""
    check_readable(directory, marker)
    for number in range(marker.number, STATE_FORMAT):
        STEPS[number](directory, version, replace)
    if marker.number < STATE_FORMAT:
        news = f"migrated from format {marker.number} to {STATE_FORMAT}"
        return f"state directory {directory}: {news}"
    if marker.version != version:
        replace(directory / MARKER, marker_text(version))
    return ""


def _name_the_writer(directory: Path, version: str, replace: Replace) -> None:
    """1 to 2: from now on the marker says whose directory it is."""
    replace(directory / MARKER, marker_text(version))


# Number of a form -> what makes the next one of it, and writes that number last.
STEPS: dict[int, Callable[[Path, str, Replace], None]] = {1: _name_the_writer}

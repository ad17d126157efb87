"""One line of the log, and its three forms: for people, for programs, for journald.  Pure.

What others choose (node ids, reasons, addresses) is in lines: characters that would begin a new
line or steer a terminal are written as escapes, and words are cut at a length.
"""

import json
from datetime import UTC, datetime

import msgspec

from pointsman_shm.logs.events import Fields, Level

WORDS_MAX = 8_000
FIELD_MAX = 256
FIELDS_MAX = 16
# Of syslog(3): debug, info, warning, error.
PRIORITIES = {Level.DEBUG: 7, Level.INFO: 6, Level.WARNING: 4, Level.ERROR: 3}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Who says what of which event; `at_s` is the wall clock's."""

    at_s: float
    level: Level
    event: str
    process: str
    instance: str
    pid: int
    words: str
    fields: Fields = ()


def human(line: Line) -> bytes:
    """Return the form for people: when, who, what, and the fields in brackets."""
    named = " ".join(f"{name}={plain(str(value), FIELD_MAX)}" for name, value in _fields(line))
    grave = f"{line.level.name} " if line.level > Level.INFO else ""
    about = f" [{grave}{line.event}{' ' if named else ''}{named}]"
    # Of several lines (a traceback) the others are indented: none can pass for a line of its own.
    parts = line.words[:WORDS_MAX].splitlines() or [""]
    words = "\n    ".join(plain(part, WORDS_MAX) for part in parts)
    return f"{_when(line)} {speaker(line)}: {words}{about}\n".encode()


def machine(line: Line) -> bytes:
    """Return one line of JSON."""
    told: dict[str, str | int] = {
        "time": _when(line),
        "level": line.level.name.lower(),
        "event": line.event,
        "process": line.process,
        "instance": line.instance,
        "pid": line.pid,
        "message": line.words[:WORDS_MAX],
    }
    for name, value in _fields(line):
        told.setdefault(name, value[:FIELD_MAX] if isinstance(value, str) else value)
    return json.dumps(told, ensure_ascii=True).encode("ascii") + b"\n"


def journal(line: Line) -> bytes:
    """Return one datagram of journald's own protocol (systemd: JOURNAL_NATIVE_PROTOCOL)."""
    pairs: list[tuple[str, str]] = [
        ("PRIORITY", str(PRIORITIES[line.level])),
        ("SYSLOG_IDENTIFIER", f"pointsman-{line.process}"),
        ("MESSAGE", line.words[:WORDS_MAX]),
        ("POINTSMAN_EVENT", line.event),
        ("POINTSMAN_PROCESS", line.process),
        ("POINTSMAN_INSTANCE", line.instance),
    ]
    for name, value in _fields(line):
        pairs.append((f"POINTSMAN_{name.upper()}", str(value)[:FIELD_MAX]))
    return b"".join(_journal_field(name, value) for name, value in pairs)


def _journal_field(name: str, value: str) -> bytes:
    """A value with a line in it is written with its length; any other after an equals sign."""
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return name.encode("ascii") + b"=" + data + b"\n"
    return name.encode("ascii") + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


def speaker(line: Line) -> str:
    """Return who says it: `pointsman` for the whole service, or `pointsman worker 3`."""
    is_all = line.process == "supervisor"
    return "pointsman" if is_all else f"pointsman {line.process.replace('-', ' ')}"


def plain(text: str, length_max: int) -> str:
    """Return the text on one line, with escapes for what a terminal would obey."""
    cut = text if len(text) <= length_max else f"{text[:length_max]}..."
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def _when(line: Line) -> str:
    when = datetime.fromtimestamp(line.at_s, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(line: Line) -> Fields:
    return line.fields[:FIELDS_MAX]

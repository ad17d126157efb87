"""Who ordered what: a file for each process, one JSON object a line, and a line in its log.

Lines are only ever appended (0600); a file that is full becomes the next older one, and the oldest
goes.  A record that cannot be written is said in the log: an order that was carried out is not
undone for it.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from pointsman_shm.auditing.wall_clock import utc_now

FILE_BYTES_MAX = 1024 * 1024
OLDER_MAX = 4
FIELD_LENGTH_MAX = 500
TAIL_BYTES = 256 * 1024


class AuditFile:
    """The record of one process; `say` is its log."""

    def __init__(self, state_dir: Path, process: str, say: Callable[[str], None]) -> None:
        self._path = state_dir / f"audit-{process}.jsonl"
        self._process = process
        self._say = say

    def saw(self, who: str, order: str, fields: dict[str, str], outcome: str) -> None:
        """Write down an order and its outcome."""
        record = {
            "at": utc_now(),
            "process": self._process,
            "who": who[:FIELD_LENGTH_MAX],
            "order": order,
            "fields": {name: value[:FIELD_LENGTH_MAX] for name, value in fields.items()},
            "outcome": outcome[:FIELD_LENGTH_MAX],
        }
        named = ", ".join(f"{name}={value}" for name, value in fields.items() if value)
        self._say(_one_line(f"{who}: {order}{named and ' '}{named}: {outcome}"))
        try:
            self._append(json.dumps(record).encode() + b"\n")
        except OSError as error:
            self._say(f"{self._path} cannot be written: {error.strerror}; make room for it")

    def latest(self, count: int) -> list[dict[str, object]]:
        """Return the newest records of this file and the one before it, the newest first."""
        found: list[dict[str, object]] = []
        for path in (self._path, self._older(1)):
            lines = _tail(path).splitlines()
            found += [record for line in reversed(lines) if (record := _read(line)) is not None]
        return found[:count]

    def _append(self, line: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":  # a line was cut off
                line = b"\n" + line
            left = memoryview(line)
            while left:
                left = left[os.write(file, left) :]
        finally:
            os.close(file)
        if size + len(line) >= FILE_BYTES_MAX:
            self._rotate()

    def _rotate(self) -> None:
        for age in range(OLDER_MAX - 1, 0, -1):
            if self._older(age).exists():
                self._older(age).replace(self._older(age + 1))
        self._path.replace(self._older(1))

    def _older(self, age: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{age}")


def _tail(path: Path) -> bytes:
    """Return the whole lines at the end of a file, nothing when there is none to read."""
    try:
        with open(path, "rb") as file:
            start = max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES)
            file.seek(start)
            data = file.read(TAIL_BYTES)
    except OSError:
        return b""
    return data.partition(b"\n")[2] if start else data


def _read(line: bytes) -> dict[str, object] | None:
    """A line that was cut off by a crash is no record."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _one_line(text: str) -> str:
    return " ".join(text.split())

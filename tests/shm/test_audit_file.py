"""The record of orders: appended, bounded, private, and readable after a crash."""

import errno
import os
from pathlib import Path

import pytest

from pointsman_shm.auditing import audit_file
from pointsman_shm.auditing.audit_file import OLDER_MAX, AuditFile


class Log:
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_an_order_is_written_down_and_said_in_one_line(tmp_path: Path) -> None:
    log = Log()
    audit = AuditFile(tmp_path, "manager", log.say)
    audit.saw("uid 0, pid 7", "drain_order", {"node_id": "a\nb", "pool": ""}, "done")
    [record] = audit.latest(10)
    assert (record["who"], record["order"], record["outcome"]) == (
        "uid 0, pid 7",
        "drain_order",
        "done",
    )
    assert str(record["at"]).endswith("Z")
    assert record["fields"] == {"node_id": "a\nb", "pool": ""}
    assert log.lines == ["uid 0, pid 7: drain_order node_id=a b: done"]
    path = tmp_path / "audit-manager.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().count("\n") == 1


def test_the_newest_come_first_also_from_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "FILE_BYTES_MAX", 1_000)
    audit = AuditFile(tmp_path, "w", Log().say)
    for number in range(200):
        audit.saw("me", f"order-{number}", {}, "done")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) <= OLDER_MAX + 1
    assert all(path.stat().st_size < 1_200 for path in tmp_path.iterdir())
    orders = [str(record["order"]) for record in audit.latest(8)]
    assert orders == [f"order-{number}" for number in range(199, 191, -1)]


def test_a_line_that_a_crash_cut_off_is_passed_over(tmp_path: Path) -> None:
    audit = AuditFile(tmp_path, "w", Log().say)
    audit.saw("me", "first", {}, "done")
    with open(tmp_path / "audit-w.jsonl", "ab") as file:
        file.write(b'{"at": "20')
    assert [record["order"] for record in audit.latest(5)] == ["first"]
    audit.saw("me", "second", {}, "done")
    assert [record["order"] for record in audit.latest(5)] == ["second", "first"]


def test_a_record_that_fits_only_in_part_is_said_and_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    audit = AuditFile(tmp_path, "w", log.say)
    write, room = os.write, 20

    def write_what_fits(file: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(file, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", write_what_fits)
    audit.saw("me", "first", {}, "done")
    assert "No space left on device; make room for it" in log.lines[-1]
    room = 10_000
    audit.saw("me", "second", {}, "done")
    assert [record["order"] for record in audit.latest(5)] == ["second"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    log = Log()
    AuditFile(tmp_path / "no-such", "w", log.say).saw("me", "x", {}, "done")
    assert "cannot be written" in log.lines[-1]


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "audit-w.jsonl").symlink_to(target)
    log = Log()
    AuditFile(tmp_path, "w", log.say).saw("me", "x", {}, "done")
    assert not target.exists()
    assert "cannot be written" in log.lines[-1]

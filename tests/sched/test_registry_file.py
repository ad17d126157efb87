"""The registry file: what it keeps, and what a torn or damaged end does to it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from manager_harness import SECOND, Harness, config_with, registration

from pointsman_sched.core.events import RegistryEntry
from pointsman_sched.core.state import KNOWN_PER_NODE
from pointsman_sched.manager import registry_file
from pointsman_sched.manager.registry_file import NAME, RegistryFile, encode_record
from pointsman_wire.control_messages import Leave
from pointsman_wire.sockets.crash_points import (
    CrashPoint,
    CrashPointError,
    pass_by,
    read_crash_point,
)


def entry(number: int, epoch: int = 1) -> RegistryEntry:
    return RegistryEntry(f"n{number}", bytes([number]) * 32, epoch)


def reopened(directory: Path, say: Callable[[str], None] = print) -> tuple[RegistryEntry, ...]:
    file = RegistryFile(directory, say)
    file.close()
    return file.entries()


def test_what_was_appended_is_there_after_a_restart_the_latest_of_each_id(tmp_path: Path) -> None:
    file = RegistryFile(tmp_path, print)
    assert file.entries() == ()
    file.append((entry(1), entry(2)))
    file.append((entry(1, 7),))
    file.close()
    assert reopened(tmp_path) == (entry(2), entry(1, 7))
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / NAME).stat().st_size == len(encode_record(entry(1))) * 2, "compacted"


def test_a_tail_torn_at_any_byte_loses_only_the_last_entry(tmp_path: Path) -> None:
    """C4, for this file."""
    whole = b"".join(encode_record(entry(number)) for number in range(3))
    start = len(whole) - len(encode_record(entry(2)))
    for end in range(start, len(whole)):
        (tmp_path / NAME).write_bytes(whole[:end])
        assert reopened(tmp_path) == (entry(0), entry(1)), end
    (tmp_path / NAME).write_bytes(whole + bytes(100))
    said: list[str] = []
    assert len(reopened(tmp_path, said.append)) == 3
    assert not said, "zeros after a power cut are no loss"


def test_damage_in_the_middle_is_told_and_a_copy_is_kept(tmp_path: Path) -> None:
    whole = bytearray(b"".join(encode_record(entry(number)) for number in range(3)))
    whole[len(whole) // 2] ^= 1
    (tmp_path / NAME).write_bytes(whole)
    said: list[str] = []
    assert reopened(tmp_path, said.append) == (entry(0),)
    assert "not readable" in said[0]
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == whole


def test_history_is_dropped_when_it_outgrows_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_file, "HISTORY_MIN", 50)
    file = RegistryFile(tmp_path, print)
    for epoch in range(1, 200):
        file.append((entry(1, epoch), entry(2, epoch)))
    size = (tmp_path / NAME).stat().st_size
    file.close()
    assert size <= 51 * len(encode_record(entry(1, 200)))
    assert reopened(tmp_path) == (entry(1, 199), entry(2, 199))


def test_ids_that_are_longest_gone_leave_the_file_too_and_never_one_that_is_here(
    tmp_path: Path,
) -> None:
    """I9, I12, N7: machines that come each time under a new name would fill it for ever."""
    h = Harness(config_with(max_nodes=2, remember_offline_s=1.0))
    file = RegistryFile(tmp_path, print)
    stays = h.make_ready(registration("stays"))
    for number in range(60):
        h.say(h.make_ready(registration(f"n{number}")), Leave())
        h.advance(2 * SECOND)
        h.beat(stays)
        if number == 30:
            h.start()
            stays = h.make_ready(registration("stays"))
    file.append(tuple(h.registry))
    file.close()
    known = reopened(tmp_path)
    assert len(known) == len(h.core.state.identities) == KNOWN_PER_NODE * 2
    assert {"stays", "n59", "n41"} <= {entry.node_id for entry in known}


def test_what_a_full_disk_took_half_of_is_written_whole_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3: behind half a record nothing is read."""
    entries = tuple(RegistryEntry(f"n{n}", b"k", 1, True) for n in range(3))
    file = RegistryFile(tmp_path, print)
    write, calls = os.write, []

    def write_half(descriptor: int, content: memoryview) -> int:
        calls.append(descriptor)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content[: len(content) // 2])

    with monkeypatch.context() as full:
        full.setattr(os, "write", write_half)
        with pytest.raises(OSError, match="No space"):
            file.append(entries)
    file.append(entries)
    file.close()
    assert RegistryFile(tmp_path, print).entries() == entries


def test_a_registry_that_cannot_be_written_anew_for_want_of_room_is_appended_to_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_file, "HISTORY_MIN", 1)
    file = RegistryFile(tmp_path, print)
    entry = RegistryEntry("n", b"k", 1, True)

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(registry_file, "replace_file", no_room)
        for _ in range(4):
            file.append((entry,))
        with pytest.raises(OSError, match="No space"):
            file.append((entry,))
    file.append((entry,))
    file.close()
    assert RegistryFile(tmp_path, print).entries() == (entry,)


def test_c6_a_sync_that_fails_names_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RegistryFile(tmp_path, print)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(OSError, match=f"Input/output error: '{tmp_path / NAME}'"):
        file.append((RegistryEntry("n", b"k", 1, True),))
    file.close()


def test_a_file_that_cannot_be_replaced_is_an_error_not_a_silence(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(OSError, match="directory"):
        RegistryFile(tmp_path, print)


def test_a_crash_point_is_read_once_and_wrong_ones_are_refused() -> None:
    assert read_crash_point({}) is pass_by
    assert isinstance(read_crash_point({"POINTSMAN_CRASHPOINT": "catalog-x:3"}), CrashPoint)
    for wrong in ("point", "point:", ":1", "point:0", "point:-1", "point:x"):
        with pytest.raises(CrashPointError, match="NAME:K"):
            read_crash_point({"POINTSMAN_CRASHPOINT": wrong})


def test_every_crash_point_of_the_manager_is_passed_by_some_test() -> None:
    """P1: the list is generated from the source."""
    root = Path(__file__).resolve().parents[2]
    sources = [
        *(root / "sched" / "pointsman_sched" / "core").rglob("*.py"),
        root / "shm" / "pointsman_shm" / "memory" / "catalog_writer.py",
    ]
    named = set()
    for source in sources:
        for piece in source.read_text(encoding="utf-8").split('crash("')[1:]:
            named.add(piece.partition('"')[0])
    tested = (root / "tests" / "sched" / "test_manager_recovery.py").read_text(encoding="utf-8")
    assert len(named) >= 9
    assert not [name for name in sorted(named) if f'"{name}"' not in tested]

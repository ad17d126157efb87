"""The files that outlive every process: made once, replaced whole, never guessed at."""

import errno
import os
from pathlib import Path

import pytest

from pointsman_shm.paths import InstancePaths
from pointsman_shm.state_files import (
    EPOCH_MAX,
    StateFileError,
    begin_epoch,
    disk_hint,
    epoch_file,
    instance_uid_file,
    make_state_files,
    read_instance_uid,
    read_ticket_key,
    replace_file,
    ticket_key_file,
)


@pytest.fixture
def paths(tmp_path: Path) -> InstancePaths:
    return InstancePaths(instance="t", state_dir=tmp_path, runtime_dir=tmp_path)


def test_name_and_key_are_made_once(paths: InstancePaths) -> None:
    make_state_files(paths, os.urandom)
    made = read_instance_uid(paths), read_ticket_key(paths)
    assert (len(made[0]), len(made[1])) == (32, 32)
    make_state_files(paths, os.urandom)
    assert (read_instance_uid(paths), read_ticket_key(paths)) == made
    assert ticket_key_file(paths).stat().st_mode & 0o777 == 0o600


def test_epochs_count_up_and_shards_do_not_share_them(paths: InstancePaths) -> None:
    assert [begin_epoch(paths, 0) for _ in range(3)] == [1, 2, 3]
    assert begin_epoch(paths, 1) == 1
    assert begin_epoch(paths, 0) == 4


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "\u0661", str(EPOCH_MAX), "9" * 40])
def test_a_damaged_epoch_is_refused_in_words(paths: InstancePaths, text: str) -> None:
    epoch_file(paths, 0).write_text(text, encoding="utf-8")
    with pytest.raises(StateFileError, match="is damaged"):
        begin_epoch(paths, 0)
    assert epoch_file(paths, 0).read_text(encoding="utf-8") == text


def test_damaged_names_and_keys_are_refused_in_words(paths: InstancePaths) -> None:
    make_state_files(paths, os.urandom)
    instance_uid_file(paths).write_text("nonsense")
    ticket_key_file(paths).write_bytes(b"short")
    with pytest.raises(StateFileError, match="is damaged"):
        read_instance_uid(paths)
    with pytest.raises(StateFileError, match="is damaged"):
        read_ticket_key(paths)


def test_what_a_crash_left_beside_a_file_does_not_stand_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    path.with_name("file.new").write_bytes(b"half of the ne")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_link_is_not_followed(paths: InstancePaths, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("7\n")
    epoch_file(paths, 0).symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        begin_epoch(paths, 0)


def fails(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("call", ["fsync", "rename", "unlink"])
def test_c6_who_ends_because_the_disk_fails_says_which_file_it_was_and_what_to_do(
    paths: InstancePaths, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The system's own words are "Input/output error", of no file at all."""
    begin_epoch(paths, 0)
    monkeypatch.setattr(os if call == "fsync" else Path, call, fails)
    with pytest.raises(OSError, match=f"Input/output error: '{epoch_file(paths, 0)}'") as raised:
        begin_epoch(paths, 0)
    assert "put the state directory on a sound one" in disk_hint(raised.value)


def test_c6_the_disk_is_blamed_for_nothing_else() -> None:
    assert disk_hint(OSError(errno.EACCES, "no")) == disk_hint(ValueError()) == ""
    raised = ValueError("of the journal")
    raised.__cause__ = OSError(errno.EIO, "of the disk")
    assert disk_hint(raised)

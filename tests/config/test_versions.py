"""What a version finds of another one's: state directories are migrated or refused, memory fits."""

import gzip
import os
import tarfile
from pathlib import Path

import pytest

from pointsman_sched.state_archive import ArchiveError, backup, restore
from pointsman_sched.supervisor.grounds import take_directories
from pointsman_shm.memory import stats
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.header import open_words
from pointsman_shm.memory.ledger import Ledger
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.paths import InstancePaths, PathError
from pointsman_shm.state_files import read_instance_uid, replace_file
from pointsman_shm.versions import upgrade_check
from pointsman_shm.versions.state_format import (
    STATE_FORMAT,
    STEPS,
    FormatRefused,
    Marker,
    read_marker,
    settle_format,
)


@pytest.fixture
def paths(tmp_path: Path) -> InstancePaths:
    return InstancePaths(f"v-{os.getpid()}", tmp_path / "s", tmp_path / "r")


def as_format_1(paths: InstancePaths) -> str:
    """A state directory as the first builds left it; return its name."""
    take_directories(paths).close()
    (paths.state_dir / "format").write_text("1\n")
    return read_instance_uid(paths)


def test_a_new_directory_says_which_version_made_it(tmp_path: Path) -> None:
    assert settle_format(tmp_path, "0.3.0", replace_file) == ""
    assert read_marker(tmp_path) == Marker(STATE_FORMAT, "0.3.0")
    assert settle_format(tmp_path, "0.4.0", replace_file) == "", "no news: its form is the same"
    assert read_marker(tmp_path) == Marker(STATE_FORMAT, "0.4.0")


def test_a_directory_of_an_older_form_is_migrated_at_the_start_and_keeps_its_content(
    paths: InstancePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """P14"""
    uid = as_format_1(paths)
    take_directories(paths).close()
    marker = read_marker(paths.state_dir)
    assert marker is not None
    assert marker.number == STATE_FORMAT
    assert marker.version
    assert read_instance_uid(paths) == uid
    assert f"migrated from format 1 to {STATE_FORMAT}" in capsys.readouterr().err


def test_every_older_form_has_a_step_to_the_next() -> None:
    assert sorted(STEPS) == [*range(1, STATE_FORMAT)]


def test_a_newer_form_is_refused_with_what_to_run_and_nothing_is_changed(
    paths: InstancePaths,
) -> None:
    """P14"""
    take_directories(paths).close()
    (paths.state_dir / "format").write_text("9\nby 7.1.0\n")
    wanted = r"format 9, written by pointsman 7\.1\.0;.*`pip install WHEEL`.*`pointsman restore"
    with pytest.raises(PathError, match=wanted):
        take_directories(paths)
    assert (paths.state_dir / "format").read_text() == "9\nby 7.1.0\n"


def test_a_damaged_marker_is_refused(tmp_path: Path) -> None:
    (tmp_path / "format").write_text("what?\n")
    with pytest.raises(FormatRefused, match="which is no number"):
        read_marker(tmp_path)


@pytest.mark.parametrize("offset", [-1, -6], ids=["cut off", "another checksum"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(
    paths: InstancePaths, tmp_path: Path, offset: int
) -> None:
    as_format_1(paths)
    backup(paths, tmp_path / "whole.tar.gz")
    content = (tmp_path / "whole.tar.gz").read_bytes()
    if offset == -1:
        content = content[: len(content) // 2]
    else:
        content = content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :]
    (tmp_path / "damaged.tar.gz").write_bytes(content)
    elsewhere = InstancePaths(paths.instance, tmp_path / "s2", tmp_path / "r2")
    with pytest.raises((ArchiveError, OSError), match=r"damaged|CRC"):
        restore(elsewhere, tmp_path / "damaged.tar.gz")
    assert not [*tmp_path.glob("s2*")]


def test_an_archive_of_a_kilobyte_that_says_it_holds_terabytes_is_refused(
    paths: InstancePaths, tmp_path: Path
) -> None:
    """Nor is anything of it taken into memory."""
    member = tarfile.TarInfo("format")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    size = b"\x80" + (1 << 42).to_bytes(11, "big")  # where its only piece begins, and its end
    header[386:410], header[483:495] = size + b"\x80" + bytes(11), size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "lie.tar.gz").write_bytes(gzip.compress(bytes(header) + bytes(1024)))
    with pytest.raises(ArchiveError, match="not put there by backup"):
        restore(paths, tmp_path / "lie.tar.gz")


def test_a_backup_of_an_older_form_is_restored_and_one_of_a_newer_form_is_not(
    paths: InstancePaths, tmp_path: Path
) -> None:
    as_format_1(paths)
    backup(paths, tmp_path / "old.tar.gz")
    (paths.state_dir / "format").write_text("9\nby 7.1.0\n")
    backup(paths, tmp_path / "new.tar.gz")
    elsewhere = InstancePaths(paths.instance, tmp_path / "s2", tmp_path / "r2")
    with pytest.raises(ArchiveError, match=r"written by pointsman 7\.1\.0"):
        restore(elsewhere, tmp_path / "new.tar.gz")
    restore(elsewhere, tmp_path / "old.tar.gz")
    take_directories(elsewhere).close()
    marker = read_marker(elsewhere.state_dir)
    assert marker is not None
    assert marker.number == STATE_FORMAT


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """The segments of an instance with 16 nodes and two workers, as files."""
    layout = CatalogLayout(16)
    catalog = bytearray(layout.size)
    open_words(catalog, layout.shape, create=True)
    rows = bytearray(NodeRows.size(16))
    NodeRows(rows, max_nodes=16, create=True)
    ledger = bytearray(Ledger.size(max_nodes=16, worker_count=2))
    Ledger(ledger, max_nodes=16, worker_count=2, create=True)
    waiting = bytearray(WaitingWords.size(2))
    WaitingWords(waiting, worker_count=2, create=True)
    page = bytearray(StatsPage.size())
    StatsPage(page, create=True)
    found = {"catalog": catalog, "rows": rows, "ledger": ledger, "waiting": waiting}
    for name, content in {**found, "stats-manager": page, "stats-worker-0": page}.items():
        (tmp_path / f"pointsman.a.{name}").write_bytes(content)
    return tmp_path


def test_memory_of_this_version_fits(memory: Path) -> None:
    assert upgrade_check.memory_faults("a", memory) == []


def test_memory_that_nobody_made_does_not_fit(memory: Path) -> None:
    assert upgrade_check.memory_faults("b", memory) == ["there is no shared memory of instance 'b'"]


@pytest.mark.parametrize(
    "name", ["catalog", "rows", "ledger", "waiting", "stats-manager", "stats-worker-0"]
)
@pytest.mark.parametrize("word", [1, 2])
def test_memory_of_another_layout_or_size_does_not_fit(memory: Path, name: str, word: int) -> None:
    """P14: seen before a process of the new version has touched it."""
    path = memory / f"pointsman.a.{name}"
    content = bytearray(path.read_bytes())
    words = memoryview(content).cast("Q")
    words[word] += 1 << 48 if word == 1 else 8
    path.write_bytes(content)
    (fault,) = upgrade_check.memory_faults("a", memory)
    assert fault.startswith(f"shared memory {name}: ")


def test_a_cut_segment_does_not_fit(memory: Path) -> None:
    path = memory / "pointsman.a.catalog"
    path.write_bytes(path.read_bytes()[:1024])
    (fault,) = upgrade_check.memory_faults("a", memory)
    assert "it has 1024 bytes" in fault
    path.write_bytes(b"")
    assert "is no segment" in upgrade_check.memory_faults("a", memory)[0]


def test_a_version_that_counts_something_more_does_not_fit(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "LAYOUT", stats.LAYOUT + 1)
    faults = upgrade_check.memory_faults("a", memory)
    assert [fault.split(":")[0] for fault in faults] == [
        "shared memory stats-manager",
        "shared memory stats-worker-0",
    ]


def test_a_state_that_only_a_whole_start_would_migrate_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "format").write_text("1\n")
    assert "only a start of the whole service" in upgrade_check.state_faults(tmp_path)[0]
    settle_format(tmp_path, "1", replace_file)
    assert upgrade_check.state_faults(tmp_path) == []
    assert "not found" in upgrade_check.state_faults(None)[0]

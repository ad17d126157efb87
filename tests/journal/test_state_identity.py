"""A state directory and its copies are told apart; backups are restored as new instances."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from journal.journal_samples import abandon, accepted, jobs_of, open_shard, place_in
from msgspec.structs import replace

from pointsman_shm.memory.ownership import acquire_lock, boot_hash
from pointsman_shm.paths import InstancePaths, prepare_directories
from pointsman_shm.state_files import (
    StateFileError,
    begin_epoch,
    instance_uid_file,
    make_state_files,
    read_instance_uid,
    read_ticket_key,
    replace_file,
    write_worker_count,
)
from pointsman_shm.state_identity import (
    FORMERS_MAX,
    home_of,
    read_identity,
    renew_identity,
    settle_identity,
)
from pointsman_shm.versions.state_format import settle_format
from pointsman_workers.journal.judging import JournalOwner
from pointsman_workers.journal.segment_files import JournalPlace


@pytest.fixture
def paths(tmp_path: Path) -> InstancePaths:
    return begun(tmp_path, "state")


def begun(folder: Path, name: str) -> InstancePaths:
    """A state directory as the first start makes it."""
    made = InstancePaths("t", folder / name, folder / "run")
    prepare_directories(made, user_id=os.geteuid())
    settle_format(made.state_dir, "0.1.0", replace_file)
    make_state_files(made, os.urandom)
    assert settle_identity(made, os.urandom) == ""
    write_worker_count(made, 1)
    return made


def journal_place(paths: InstancePaths) -> JournalPlace:
    owner = JournalOwner(read_identity(paths).uids, 0, 1, boot_hash())
    place = place_in(paths.state_dir, owner=owner)
    return replace(place, directory=paths.journal(0, 1), epoch=begin_epoch(paths, 0))


def archive(act: str, paths: InstancePaths, file: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pointsman", act, str(file), "--instance", "t"]
    command += ["--state-dir", str(paths.state_dir), "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_directory_that_stays_keeps_its_name_also_when_it_is_renamed(
    paths: InstancePaths, tmp_path: Path
) -> None:
    uid = read_instance_uid(paths)
    assert settle_identity(paths, os.urandom) == ""
    moved = replace(paths, state_dir=tmp_path / "moved")
    paths.state_dir.rename(moved.state_dir)
    assert settle_identity(moved, os.urandom) == ""
    assert read_instance_uid(moved) == uid


def test_a_copied_directory_gets_a_new_name_and_remembers_the_old_one(
    paths: InstancePaths, tmp_path: Path
) -> None:
    """I3: two directories never give out the same fences."""
    uid = read_instance_uid(paths)
    copied = replace(paths, state_dir=tmp_path / "copy")
    shutil.copytree(paths.state_dir, copied.state_dir)
    assert "was copied or restored: it is a new instance" in settle_identity(copied, os.urandom)
    assert read_instance_uid(copied) != uid
    assert read_identity(copied).formers == (uid,)
    assert settle_identity(copied, os.urandom) == ""
    assert read_instance_uid(paths) == uid


def test_a_directory_put_where_another_was_is_not_taken_for_it(tmp_path: Path) -> None:
    """File systems use the number of a removed directory again at once."""
    homes = set()
    for _ in range(5):
        directory = tmp_path / "again"
        directory.mkdir()
        homes.add(home_of(directory))
        directory.rmdir()
    if all(home.endswith("-0") for home in homes):
        pytest.skip("this file system gives inodes no generation")
    assert len(homes) == 5


def test_the_names_remembered_are_bounded(paths: InstancePaths) -> None:
    for _ in range(FORMERS_MAX + 5):
        last = read_instance_uid(paths)
        renew_identity(paths, os.urandom)
    assert len(read_identity(paths).formers) == FORMERS_MAX
    assert read_identity(paths).formers[0] == last


@pytest.mark.parametrize("line", [b"nonsense\n", b"home \xff\n", b"former \xe1\n"])
def test_a_damaged_identity_is_refused_in_words(paths: InstancePaths, line: bytes) -> None:
    file = instance_uid_file(paths)
    file.write_bytes(file.read_bytes() + line)
    with pytest.raises(StateFileError, match="is damaged"):
        settle_identity(paths, os.urandom)


async def test_a_copys_journal_is_its_own(paths: InstancePaths, tmp_path: Path) -> None:
    shard = open_shard(journal_place(paths))
    shard.write(accepted(1))
    shard.store.close()
    copied = replace(paths, state_dir=tmp_path / "copy")
    shutil.copytree(paths.state_dir, copied.state_dir)
    assert settle_identity(copied, os.urandom)
    again = open_shard(journal_place(copied))
    assert jobs_of(again.recovered) == [1]
    again.store.close()


async def test_a_backup_is_restored_with_all_that_it_held_as_a_new_instance(
    paths: InstancePaths, tmp_path: Path
) -> None:
    shard = open_shard(journal_place(paths))
    shard.write(accepted(1), accepted(2))
    abandon(shard)
    file = tmp_path / "backup.tar.gz"
    ended = archive("backup", paths, file)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["bytes"] == file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_size < 100_000  # allocated room is not in it
    uid, key = read_instance_uid(paths), read_ticket_key(paths)
    shutil.rmtree(paths.state_dir)
    ended = archive("restore", paths, file)
    assert ended.returncode == 0, ended.stderr
    assert "new instance" in json.loads(ended.stdout)["words"]
    assert settle_identity(paths, os.urandom)
    assert read_instance_uid(paths) != uid
    assert read_ticket_key(paths) == key
    again = open_shard(journal_place(paths))
    assert jobs_of(again.recovered) == [1, 2]
    again.store.close()


def test_backup_wants_a_stopped_service_and_restore_an_empty_place(
    paths: InstancePaths, tmp_path: Path
) -> None:
    file = tmp_path / "backup.tar.gz"
    with acquire_lock(paths.instance_lock):
        ended = archive("backup", paths, file)
    assert (ended.returncode, "the service runs" in ended.stderr) == (1, True), ended.stderr
    assert not file.exists()
    assert archive("backup", paths, file).returncode == 0
    before = sorted(path.name for path in paths.state_dir.iterdir())
    ended = archive("restore", paths, file)
    assert (ended.returncode, "has something in it" in ended.stderr) == (1, True), ended.stderr
    assert sorted(path.name for path in paths.state_dir.iterdir()) == before
    missing = archive("restore", paths, tmp_path / "none.tar.gz")
    assert missing.returncode == 2
    assert "none.tar.gz: No such file" in missing.stderr


@pytest.mark.parametrize("name", ["../outside", "/absolute"])
def test_an_archive_that_backup_did_not_write_is_refused(
    paths: InstancePaths, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "evil.tar.gz"
    with tarfile.open(file, "w:gz") as evil:
        evil.addfile(tarfile.TarInfo(name))
    target = replace(paths, state_dir=tmp_path / "restored")
    ended = archive("restore", target, file)
    assert (ended.returncode, "was not put there by backup" in ended.stderr) == (1, True)
    assert not target.state_dir.exists()
    assert not (tmp_path / "outside").exists()

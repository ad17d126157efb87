"""Locks live exactly as long as their holder, and a tag names one process for ever."""

import os
import signal
from pathlib import Path

import pytest
from memory_peer import PATIENCE_S, start_peer

from pointsman_shm.memory.header import OwnerTag
from pointsman_shm.memory.ownership import (
    LockHeld,
    acquire_lock,
    boot_hash,
    current_owner,
    is_alive,
    start_ticks,
)


def test_a_lock_is_held_by_one_at_a_time_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "manager.lock"
    with acquire_lock(path):
        with pytest.raises(LockHeld, match=f"pid {os.getpid()} started at tick") as held:
            acquire_lock(path)
        assert held.value.holder == current_owner()
    acquire_lock(path).release()


def test_releasing_twice_does_nothing(tmp_path: Path) -> None:
    lock = acquire_lock(tmp_path / "manager.lock")
    lock.release()
    other = acquire_lock(tmp_path / "manager.lock")
    lock.release()
    with pytest.raises(LockHeld):
        acquire_lock(tmp_path / "manager.lock")
    other.release()


@pytest.mark.crash
def test_p7_a_frozen_holder_keeps_its_lock_and_a_killed_one_loses_it(tmp_path: Path) -> None:
    path = tmp_path / "shard-0.lock"
    with start_peer("keep", path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(LockHeld) as held:
            acquire_lock(path)
        assert held.value.holder is not None
        assert held.value.holder.pid == holder.pid
        assert is_alive(held.value.holder)
        os.kill(holder.pid, signal.SIGKILL)
        with acquire_lock(path, wait=True):
            holder.wait(PATIENCE_S)
            assert not is_alive(held.value.holder)


def test_a_lock_file_that_was_replaced_meanwhile_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "manager.lock"
    first = acquire_lock(path)
    path.unlink()
    with acquire_lock(path):
        first.release()
        with pytest.raises(LockHeld):
            acquire_lock(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "manager.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        acquire_lock(tmp_path / "manager.lock")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("content", [b"", b"rubbish\n", b"1 2\n", b"1 2 x\n", b"\xff" * 4000])
def test_an_unreadable_holder_is_nobody_and_not_a_failure(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manager.lock"
    with acquire_lock(path):
        path.write_bytes(content)
        with pytest.raises(LockHeld, match="unnamed") as held:
            acquire_lock(path)
        assert held.value.holder is None


def test_s11_a_pid_that_was_used_again_is_another_process() -> None:
    tag = current_owner()
    assert is_alive(tag)
    assert not is_alive(tag._replace(started_at_ticks=tag.started_at_ticks - 1))
    assert not is_alive(tag._replace(boot_hash=tag.boot_hash ^ 1))


def test_a_process_whose_name_is_no_text_is_known_by_its_start_all_the_same() -> None:
    naming = Path("/proc/self/comm")
    name = naming.read_bytes()
    before = start_ticks(os.getpid())
    naming.write_bytes(b"\xff) Z (\xfe")
    try:
        assert start_ticks(os.getpid()) == before
    finally:
        naming.write_bytes(name)


def test_s11_a_dead_process_and_a_zombie_are_not_alive(tmp_path: Path) -> None:
    with start_peer("keep", tmp_path / "lock") as peer:
        assert peer.stdout is not None
        assert peer.stdout.readline() == "held\n"
        started_at_ticks = start_ticks(peer.pid)
        assert started_at_ticks is not None
        tag = OwnerTag(peer.pid, started_at_ticks, boot_hash())
        assert is_alive(tag)
        peer.kill()
        # Dead and not yet waited for: the pid is still taken, by a zombie.
        os.waitid(os.P_PID, peer.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(tag)
    assert not is_alive(tag)

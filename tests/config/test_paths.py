"""Names and directories of an instance."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from pointsman_shm.paths import (
    LONGEST_SOCKET_NAME,
    InstancePaths,
    PathError,
    prepare_directories,
    resolve_paths,
    worker_process,
)
from pointsman_wire.places import admin_socket

ME = os.getuid()
USER = {"HOME": "/home/u", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/run/user/5"}


def resolved(
    environment: dict[str, str], user_id: int = 5, instance: str = "default"
) -> InstancePaths:
    return resolve_paths(instance, environment=environment, user_id=user_id)


@pytest.mark.parametrize(
    ("environment", "user_id", "state", "runtime"),
    [
        (USER, 0, "/var/lib/pointsman/default", "/run/pointsman/default"),
        (USER, 5, "/s/pointsman/default", "/run/user/5/pointsman/default"),
        ({"HOME": "/h"}, 5, "/h/.local/state/pointsman/default", "/tmp/pointsman-5/default"),
        (
            {"HOME": "/h", "XDG_STATE_HOME": "relative", "XDG_RUNTIME_DIR": "relative"},
            5,
            "/h/.local/state/pointsman/default",
            "/tmp/pointsman-5/default",
        ),
    ],
)
def test_directories_are_the_customary_ones(
    environment: dict[str, str], user_id: int, state: str, runtime: str
) -> None:
    paths = resolved(environment, user_id)
    assert (paths.state_dir, paths.runtime_dir) == (Path(state), Path(runtime))


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    with pytest.raises(PathError, match=r"set directories\.state_dir"):
        resolved({})


def test_everything_is_named_after_the_instance() -> None:
    paths = resolved(USER, instance="two-b")
    assert paths.catalog_segment == "/pointsman.two-b.catalog"
    assert paths.stats_segment(worker_process(3)) == "/pointsman.two-b.stats-worker-3"
    assert paths.worker_handover(1).name == "handover-worker-1.sock"
    assert paths.admin("manager").name == "admin-manager.sock"
    names = [
        paths.catalog_segment,
        paths.rows_segment,
        paths.ledger_segment,
        paths.waiting_segment,
        paths.stats_segment("manager"),
        paths.manager_uplink,
        paths.manager_handover,
        paths.worker_handover(0),
        paths.bell(0),
        paths.admin("worker-0"),
        paths.instance_lock,
        paths.runtime_lock,
        paths.manager_lock,
        paths.shard_lock(0),
        paths.worker_count_file,
    ]
    assert len(set(names)) == len(names)
    assert all("two-b" in str(name) for name in names)


@pytest.mark.parametrize("instance", ["", "A", "a.b", "a/b", "..", "a b", "x" * 33, "a\n", "ä"])
def test_a_name_that_could_mean_another_place_is_refused(instance: str) -> None:
    with pytest.raises(PathError, match="take 1 to 32 of the characters"):
        resolved(USER, instance=instance)


@pytest.mark.parametrize("given", ["state_dir", "runtime_dir"])
def test_a_relative_directory_is_refused(given: str) -> None:
    with pytest.raises(PathError, match=rf"directories\.{given} is 'here': give an absolute path"):
        resolve_paths("a", environment=USER, user_id=5, **{given: "here"})


def test_a_runtime_directory_is_refused_when_a_socket_would_not_fit() -> None:
    room = 107 - len(LONGEST_SOCKET_NAME) - 1
    fits = "/" + "r" * (room - 1)
    paths = resolve_paths("a", runtime_dir=fits, environment=USER, user_id=5)
    assert len(os.fsencode(paths.worker_handover(63))) == 107
    with pytest.raises(PathError, match="108 bytes of at most 107"):
        resolve_paths("a", runtime_dir=fits + "r", environment=USER, user_id=5)


def test_the_system_takes_a_path_of_the_bound() -> None:
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as short:
        path = f"{short}/{'x' * (107 - len(short) - 1)}"
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path)


def test_no_two_sockets_share_a_path_and_the_command_line_finds_those_that_answer() -> None:
    paths = resolved(USER)
    owners = ["manager", "console", "supervisor", *map(worker_process, range(64))]
    admin = [paths.admin(owner) for owner in owners]
    assert admin == [admin_socket(paths.runtime_dir, owner) for owner in owners]
    workers = [place(index) for place in (paths.worker_handover, paths.bell) for index in range(64)]
    all_of_them = [*admin, *workers, paths.manager_uplink, paths.manager_handover]
    all_of_them.append(paths.console_handover)
    assert len(set(all_of_them)) == len(all_of_them)
    assert max(len(path.name) for path in all_of_them) == len(LONGEST_SOCKET_NAME)


def under(tmp_path: Path) -> InstancePaths:
    return InstancePaths("a", tmp_path / "deep" / "state", tmp_path / "run")


def test_directories_are_made_private_and_can_be_used_again(tmp_path: Path) -> None:
    paths = under(tmp_path)
    for _ in range(2):
        prepare_directories(paths, user_id=ME)
    for directory in (paths.state_dir, paths.runtime_dir):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert (paths.runtime_dir / "format").read_text() == "1\n"


def test_a_directory_of_another_format_is_left_alone(tmp_path: Path) -> None:
    paths = under(tmp_path)
    prepare_directories(paths, user_id=ME)
    (paths.runtime_dir / "format").write_text("2\n")
    with pytest.raises(PathError, match="has format '2', this version writes '1'"):
        prepare_directories(paths, user_id=ME)


def test_a_foreign_open_or_linked_directory_is_refused(tmp_path: Path) -> None:
    """S9, U1: whoever can write there could answer on our sockets."""
    paths = under(tmp_path)
    prepare_directories(paths, user_id=ME)
    with pytest.raises(PathError, match=f"belongs to user {ME}, not to {ME + 1}"):
        prepare_directories(paths, user_id=ME + 1)
    paths.runtime_dir.chmod(0o777)
    with pytest.raises(PathError, match="writable by others: chmod go-w"):
        prepare_directories(paths, user_id=ME)
    linked = InstancePaths("a", paths.state_dir, tmp_path / "link")
    linked.runtime_dir.symlink_to(paths.state_dir)
    with pytest.raises(PathError, match="is not a directory"):
        prepare_directories(linked, user_id=ME)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("")
    with pytest.raises(PathError, match=r"cannot use directory .*deep/state"):
        prepare_directories(under(tmp_path), user_id=ME)

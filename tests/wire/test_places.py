"""Where an instance's sockets lie: short enough, the same for service and command line."""

import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from pointsman_wire.places import (
    UNIX_PATH_BYTES_MAX,
    PlaceError,
    admin_socket,
    bell_socket,
    check_instance,
    check_runtime_dir,
    default_runtime_dir,
    handover_socket,
    uplink_socket,
)

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="unix sockets are POSIX's")


@pytest.mark.parametrize("name", ["default", "a", "0", "eu-west-1", "x" * 32])
def test_plain_names_are_instance_names(name: str) -> None:
    assert check_instance(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "A", "a_b", "a/b", "..", "a b", "a\n", "\na", "ä", "x" * 33, "a\0"]
)
def test_other_names_are_refused_with_what_would_be_right(name: str) -> None:
    with pytest.raises(PlaceError, match="use 1 to 32 of a-z, 0-9 and -"):
        check_instance(name)


@posix_only
def test_root_has_its_sockets_below_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/elsewhere")
    assert default_runtime_dir("x") == Path("/run/pointsman/x")


@posix_only
def test_a_user_has_them_below_the_sessions_runtime_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert default_runtime_dir("x") == Path("/run/user/1000/pointsman/x")


@posix_only
def test_without_one_the_place_depends_on_the_users_number_not_on_a_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    places = set()
    for user in ("ada", "../../etc", ""):
        monkeypatch.setenv("USER", user)
        monkeypatch.setenv("TMPDIR", f"/{user}")
        places.add(default_runtime_dir("x"))
    assert places == {Path("/tmp/pointsman-1000/x")}


@posix_only
def test_a_relative_runtime_directory_of_the_session_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "run")
    assert default_runtime_dir("x") == Path("/tmp/pointsman-1000/x")


def test_a_default_place_is_not_made_from_a_bad_name() -> None:
    with pytest.raises(PlaceError):
        default_runtime_dir("../x")


def test_a_directory_is_refused_when_any_socket_in_it_had_too_long_a_path() -> None:
    names = [admin_socket(Path(), p).name for p in ("manager", "supervisor", "worker-63")]
    names += [handover_socket(Path(), p).name for p in ("manager", "worker-63")]
    names += [uplink_socket(Path()).name, bell_socket(Path(), 63).name]
    longest = max(map(len, names))
    fits = Path("/" + "x" * (UNIX_PATH_BYTES_MAX - longest - 2))
    assert check_runtime_dir(fits) == fits
    with pytest.raises(PlaceError, match="choose a shorter --runtime-dir"):
        check_runtime_dir(Path(f"{fits}x"))


def test_the_bound_is_in_bytes_not_in_letters() -> None:
    with pytest.raises(PlaceError, match=r"up to 1[0-9][0-9] bytes"):
        check_runtime_dir(Path("/" + "ä" * 50))


@posix_only
def test_the_system_takes_a_path_of_the_bound(tmp_path: Path) -> None:
    short = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))
    path = short / ("x" * (UNIX_PATH_BYTES_MAX - len(os.fsencode(short)) - 1))
    with socket.socket(socket.AF_UNIX) as bound:
        try:
            bound.bind(str(path))
        finally:
            path.unlink(missing_ok=True)
            short.rmdir()


def test_no_two_sockets_share_a_path() -> None:
    runtime = Path("/run/pointsman/x")
    owners = ["manager", *(f"worker-{k}" for k in range(64))]
    paths = [admin_socket(runtime, owner) for owner in [*owners, "supervisor"]]
    paths += [handover_socket(runtime, owner) for owner in owners]
    paths += [uplink_socket(runtime), *(bell_socket(runtime, k) for k in range(64))]
    assert len(set(paths)) == len(paths)
    assert {path.parent for path in paths} == {runtime}

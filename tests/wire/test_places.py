"""Where an instance's sockets lie: short enough, the same for service and command line."""

import os
import sys
from pathlib import Path

import pytest

from pointsman_wire.places import (
    PlaceError,
    check_instance,
    default_runtime_dir,
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

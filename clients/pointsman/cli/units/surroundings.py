"""What an installation finds: this environment of Python, and who may read it; systemd itself."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pointsman.cli.endings import USAGE, Trouble

HOMES = ("/home/", "/root/", "/run/user/")
HIDDEN = ("/tmp/", "/var/tmp/")  # noqa: S108 - no file is made there
COMMAND_S = 300
SYSTEM_USERS_BELOW = 1000


def environment_of_python() -> dict[str, str]:
    """Return what this Python was started with that its processes need as well."""
    found = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": found} if found else {}


def needed_places(environment: dict[str, str]) -> list[Path]:
    """Return the places that processes of this environment read."""
    named = [sys.executable, os.path.realpath(sys.executable), sys.prefix, sys.base_prefix]
    named += environment.get("PYTHONPATH", "").split(":")
    return [Path(name) for name in dict.fromkeys(named) if name]


def check_for_system(places: Sequence[Path]) -> bool:
    """Raise Trouble where another user could not run this environment; say if it is in a home."""
    todo = (
        "make an environment for the service, as with `python3 -m venv /opt/pointsman && "
        "/opt/pointsman/bin/pip install ...`, and install with its `pointsman`"
    )
    for place in places:
        if f"{place}/".startswith(HIDDEN):
            raise Trouble(f"{place}: services have a temporary directory of their own", todo=todo)
        for folder in (place, *place.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                raise Trouble(
                    f"{place}: other users cannot get there, {folder} is closed to them", todo=todo
                )
    return any(f"{place}/".startswith(HOMES) for place in places)


def check_words(words: Sequence[str]) -> None:
    """Raise Trouble for what a unit file would read in another way."""
    for word in words:
        if any(sign in word for sign in " \t\n\"'\\%$"):
            raise Trouble(
                f"{word!r} cannot stand in a unit file: take a path without spaces, quotes, "
                "backslashes, $ and %",
                code=USAGE,
            )


def system_folder(root: Path | None) -> Path:
    """Return the root of the system to install to: this one, or one below a directory."""
    if sys.platform != "linux":
        raise Trouble(
            f"systemd runs on Linux, this is {sys.platform}",
            todo="run the service on a Linux host; nodes and clients run here as well",
        )
    if root is None and os.geteuid() != 0:
        raise Trouble(
            "units of the system are root's to write",
            todo="run it with sudo, or install for this user alone with --user",
        )
    return root or Path("/")


def system_group(user: str) -> str:
    """Return the group of a system user.  Raises Trouble for nobody, and for ordinary users."""
    if sys.platform == "win32":
        raise Trouble("systemd runs on Linux")
    import grp
    import pwd

    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise Trouble(f"there is no user {user!r}", code=USAGE) from None
    if found.pw_uid >= SYSTEM_USERS_BELOW:
        raise Trouble(
            f"{user} is an ordinary user, whose shared memory is removed at logout",
            todo="name a system user, or none: then one is made",
            code=USAGE,
        )
    return grp.getgrgid(found.pw_gid).gr_name


def users_folder() -> Path:
    """Return where this user's units lie."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(named) if named.startswith("/") else Path.home() / ".config"
    return base / "systemd" / "user"


def users_state() -> Path:
    """Return where this user's programs keep state."""
    named = os.environ.get("XDG_STATE_HOME", "")
    return Path(named) if named.startswith("/") else Path.home() / ".local" / "state"


def run(*words: str) -> None:
    """Run a program of systemd.  Raises Trouble with what it said."""
    if shutil.which(words[0]) is None:
        raise Trouble(
            f"{words[0]} is not installed here",
            todo="install systemd, or write the files elsewhere with --root",
        )
    done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise Trouble(
            f"{' '.join(words)} ended with {done.returncode}: {said}",
            todo="what the processes said: journalctl -u 'pointsman*' -n 50",
        )


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file whole.  Raises Trouble."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(beside, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)  # perhaps a secret: others may read it once it is known that they may
        beside.chmod(mode)
        beside.replace(path)
    except OSError as error:
        raise Trouble(f"cannot write {path}: {error.strerror}") from error

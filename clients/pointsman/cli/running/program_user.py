"""As whom a node's programs run, and which environment they get.

A program is the node's owner's, but what it is fed is not: a fault in it is in the hands of whoever
may submit.  As another user it cannot read the node's key, whose directory is the node's alone, nor
the environment in which the node got its token; and no secret of ours is in its own in any case.
Whoever starts the node may have secrets of others in his environment, and addresses of his agents:
another user is given none of it but where programs are, the language, and which devices to use.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman.cli.endings import USAGE, Trouble

OURS = "POINTSMAN_"
# What systemd tells the node, and nobody else.
_OF_THE_UNIT = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
_FOR_ANOTHER_USER = ("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "LC_")
_FOR_ANOTHER_USER_EXACTLY = frozenset({"PATH", "LANG", "LANGUAGE", "TZ"})


class ProgramUser(msgspec.Struct, frozen=True):
    """A user of this machine."""

    uid: int
    gid: int
    name: str
    home: str

    def options(self) -> dict[str, Any]:
        """Return what starts a process as this user, in none of our groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": [], "umask": 0o077}


def find_user(name: str) -> ProgramUser:
    """Return the user of that name.  Raises Trouble where programs cannot be run as it."""
    if sys.platform == "win32":
        raise Trouble("--exec-user does not exist on Windows", code=USAGE)
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise Trouble(f"--exec-user: there is no user {name!r} here", code=USAGE) from None
    if os.geteuid() != 0:
        raise Trouble(
            f"--exec-user {name}: only root can run programs as another user",
            todo="start the node as root, or as a service of the system",
            code=USAGE,
        )
    if found.pw_uid == os.geteuid():
        raise Trouble(f"--exec-user {name} is the node's own user: name another", code=USAGE)
    return ProgramUser(found.pw_uid, found.pw_gid, name, found.pw_dir)


def environment_for(
    user: ProgramUser | None, environment: Mapping[str, str], told: Mapping[str, str]
) -> dict[str, str]:
    """Return a program's environment: the node's without its secrets, and what it is told.

    Another user's has only what is harmless.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if (_is_harmless(name) if user is not None else not name.startswith((OURS, *_OF_THE_UNIT)))
    }
    if user is not None:
        kept |= {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}
    return {**kept, **told}


def _is_harmless(name: str) -> bool:
    return name in _FOR_ANOTHER_USER_EXACTLY or name.startswith(_FOR_ANOTHER_USER)

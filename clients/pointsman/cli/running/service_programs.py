"""Commands that are programs of the service: the command ends, and the process goes on as one.

So signals and exit codes are the program's, and the command line needs none of its libraries.
"""

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from pointsman.cli.endings import FAILED, Trouble

SERVER_LIBRARIES = {
    "uvloop": "uvloop",
    "posix_ipc": "posix-ipc",
    "psutil": "psutil",
    "websockets": "websockets",
}


def become(module: str, *words: str, given: Mapping[str, object]) -> NoReturn:
    """Go on as that module with these words and options.  Raises Trouble where none can run."""
    refuse_where_impossible(sys.platform)
    command = command_line(module, *words, given=given)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell is meant


def become_on_state(
    module: str, *words: str, instance: str, state_dir: Path | None, as_json: bool
) -> NoReturn:
    """Go on as a module that reads or changes the state of an instance."""
    given = {"instance": instance, "state-dir": state_dir, "json": as_json}
    become(module, *words, given=given)


def command_line(module: str, *words: str, given: Mapping[str, object]) -> list[str]:
    """Return what starts a module with these words and options; None and False are not given."""
    options = []
    for name, value in given.items():
        if value is True:
            options.append(f"--{name}")
        elif value is not None and value is not False:
            options += [f"--{name}", str(value)]
    # -P, here and elsewhere: nothing is imported from the directory that somebody stands in.
    return [sys.executable, "-P", "-m", module, *words, *options]


def refuse_where_impossible(platform: str) -> None:
    """Raise Trouble where the service cannot run: not on Linux, or without its libraries."""
    if platform != "linux":
        raise Trouble(
            f"the service runs on Linux only, this is {platform}",
            todo="run `pointsman serve` on a Linux host; nodes and clients run here as well",
        )
    missing = [
        package
        for module, package in SERVER_LIBRARIES.items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise Trouble(
            f"the service needs what is not installed here: {', '.join(missing)}",
            todo="pip install 'pointsman[server]'",
            code=FAILED,
        )

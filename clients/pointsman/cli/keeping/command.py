"""`backup` and `restore`: the state directory of a stopped service in one file."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.options import Instance, Json
from pointsman.cli.serve import refuse_where_impossible

app = typer.Typer(cls=Commands)

ARCHIVE = "pointsman_sched.state_archive"
File = Annotated[Path, typer.Argument(help="The archive.", resolve_path=True)]
StateDir = Annotated[
    Path | None, typer.Option(help="Where the service keeps its state.", resolve_path=True)
]


@app.command()
def backup(
    file: File,
    *,
    instance: Instance = "default",
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Put the state of a stopped service into one file.

    Jobs, sessions, keys and names: keep the file as safe as the service.
    """
    become("backup", file, instance, state_dir, as_json=as_json)


@app.command()
def restore(
    file: File,
    *,
    instance: Instance = "default",
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Make a state directory from a backup.

    The restored service is a new instance: jobs that had not ended when the
    backup was made run anew.
    """
    become("restore", file, instance, state_dir, as_json=as_json)


def become(act: str, file: Path, instance: str, state_dir: Path | None, *, as_json: bool) -> None:
    """Go on as the program that knows the files."""
    refuse_where_impossible(sys.platform)
    command = [sys.executable, "-P", "-m", ARCHIVE, act, str(file), "--instance", instance]
    if state_dir is not None:
        command += ["--state-dir", str(state_dir)]
    command += ["--json"] if as_json else []
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell is meant

"""`backup` and `restore`: the state directory of a stopped service in one file."""

from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.options import Instance, Json, StateDir
from pointsman.cli.running.service_programs import become_on_state

PROGRAM = "pointsman_sched.state_archive"

app = typer.Typer(cls=Commands)

File = Annotated[Path, typer.Argument(help="The archive.", resolve_path=True)]


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
    become_on_state(
        PROGRAM, "backup", str(file), instance=instance, state_dir=state_dir, as_json=as_json
    )


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
    become_on_state(
        PROGRAM, "restore", str(file), instance=instance, state_dir=state_dir, as_json=as_json
    )

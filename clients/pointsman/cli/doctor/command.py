"""`doctor`: looks at the host that the service runs on, or shall run on, and says what to do."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.options import Json, RuntimeDir
from pointsman.cli.serve import refuse_where_impossible

app = typer.Typer(cls=Commands)

DOCTOR = "pointsman_sched.doctor"


@app.command()
def doctor(
    *,
    config: Annotated[
        Path | None, typer.Option(help="Configuration file (TOML).", resolve_path=True)
    ] = None,
    instance: Annotated[str | None, typer.Option(help="The name that `serve` is given.")] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Where it keeps its state.", resolve_path=True)
    ] = None,
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Look at this host, and say what would trouble the service and what to do.

    Limits, shared memory, the port, directories, user, clock, cores, libraries,
    Redis: each is ok, warn or bad.  Exit code 1 when something is bad.
    """
    refuse_where_impossible(sys.platform)
    command = [sys.executable, "-P", "-m", DOCTOR]
    given = {"config": config, "instance": instance, "state-dir": state_dir}
    for name, value in {**given, "runtime-dir": runtime_dir}.items():
        command += [f"--{name}", str(value)] if value is not None else []
    command += ["--json"] if as_json else []
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell is meant

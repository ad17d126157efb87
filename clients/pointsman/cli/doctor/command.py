"""`doctor`: looks at the host that the service runs on, or shall run on, and says what to do."""

from typing import Annotated

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.options import ConfigPath, Json, RuntimeDir, StateDir
from pointsman.cli.running.service_programs import become

app = typer.Typer(cls=Commands)


@app.command()
def doctor(
    *,
    config: ConfigPath = None,
    instance: Annotated[str | None, typer.Option(help="The name that `serve` is given.")] = None,
    state_dir: StateDir = None,
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Look at this host, and say what would trouble the service and what to do.

    Limits, shared memory, the port, directories, user, clock, cores, libraries,
    Redis: each is ok, warn or bad.  Exit code 1 when something is bad.
    """
    given = {
        "config": config,
        "instance": instance,
        "state-dir": state_dir,
        "runtime-dir": runtime_dir,
        "json": as_json,
    }
    become("pointsman_sched.doctor", given=given)

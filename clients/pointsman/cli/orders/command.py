"""`pair`, `reload`, `config check`, `config diff`: what an operator orders the service to do."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.endings import Commands, Trouble
from pointsman.cli.fleet.asking import MANAGER, find_service
from pointsman.cli.fleet.ordering import give
from pointsman.cli.options import Instance, Json, RuntimeDir
from pointsman.cli.screen import complete, facts, say, say_json
from pointsman_wire.order_messages import (
    ConfigDiff,
    ConfigDiffQuery,
    PairingCode,
    PairOrder,
    ReloadOrder,
)

CONFIG_CHECK = "pointsman_shm.config_check"

app = typer.Typer(cls=Commands)
config_app = typer.Typer(cls=Commands, no_args_is_help=True, help="Check a configuration file.")
app.add_typer(config_app, name="config")

ConfigFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A configuration (TOML).", resolve_path=True)
]


@app.command()
def pair(
    node_id: Annotated[
        str, typer.Argument(metavar="NODE_ID", help="The node, as `nodes` lists it.")
    ],
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Issue a code by which one session is bound to a node, as its owner's.

    The session gives the code when it is opened, and prefers that node from
    then on; while the node is busy or away, others do its jobs.
    """
    answer = give(find_service(instance, runtime_dir), MANAGER, PairOrder(node_id), PairingCode)
    if as_json:
        say_json(complete(answer))
        return
    say(answer.code)
    facts(
        [
            ("for node", answer.node_id),
            ("good for", f"one session, {answer.expires_in_s / 60:g} minutes, 5 wrong tries"),
            ("use it", f'connect("HOST:PORT", pairing_code="{answer.code}")'),
        ]
    )


@app.command()
def reload(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Have the service read its configuration file again.

    What docs/config.md calls live changes while it runs, all at once; a file with a fault,
    or with a change that needs a restart, changes nothing.
    """
    answer = give(find_service(instance, runtime_dir), MANAGER, ReloadOrder(), ConfigDiff)
    if as_json:
        say_json(complete(answer))
    elif answer.applied:
        say(*answer.changes)
        say(f"in force since version {answer.snapshot_version} of the snapshot")
    elif not answer.needs_restart:
        say(f"{answer.source} says nothing else than what is in force")
    if answer.needs_restart:
        raise Trouble(
            f"nothing was changed: these need a restart: {'; '.join(answer.needs_restart)}",
            todo="restart the service, or take them back and reload",
        )


@config_app.command()
def check(file: ConfigFile, *, as_json: Json = False) -> None:
    """Say whether a file is a valid configuration, and what it changes of the defaults.

    Exit code 2 when it is not.
    """
    options = ["--json"] if as_json else []
    command = [sys.executable, "-P", "-m", CONFIG_CHECK, *options, str(file)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@config_app.command()
def diff(
    file: ConfigFile,
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Show what would change in the running service if FILE were its configuration."""
    service = find_service(instance, runtime_dir)
    answer = give(service, MANAGER, ConfigDiffQuery(str(file)), ConfigDiff)
    if as_json:
        say_json(complete(answer))
        return
    say(*answer.changes)
    say(*(f"{change} (needs a restart)" for change in answer.needs_restart))
    if not answer.changes and not answer.needs_restart:
        say("no difference")

"""`serve`: becomes the supervisor of a service on this host."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.endings import FAILED, Commands, Trouble

app = typer.Typer(cls=Commands)

SUPERVISOR = "pointsman_sched.supervisor"
SERVER_LIBRARIES = {
    "uvloop": "uvloop",
    "posix_ipc": "posix-ipc",
    "psutil": "psutil",
    "websockets": "websockets",
}


@app.command()
def serve(
    *,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Dispatcher workers; 2 if not said.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="The public port; 0 for any, 7400 if not said."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen at; 127.0.0.1 if not said.")
    ] = None,
    instance: Annotated[str | None, typer.Option(help="A name, for several on one host.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Configuration file (TOML).", resolve_path=True)
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Where it keeps its state.", resolve_path=True)
    ] = None,
    runtime_dir: Annotated[
        Path | None, typer.Option(help="Where it has its sockets.", resolve_path=True)
    ] = None,
    insecure_plaintext: Annotated[
        bool, typer.Option("--insecure-plaintext", help="Open to the network, without TLS.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on without what is damaged of a journal.")
    ] = False,
    no_console: Annotated[
        bool, typer.Option("--no-console", help="Show no pages on the port.")
    ] = False,
) -> None:
    """Run the service on this host: one public port, a manager, workers, pages.

    No configuration is needed.  A line on standard output says when it is
    ready; SIGTERM or Ctrl-C ends it.  What is given here wins over the file.
    """
    # Of the supervisor's options each has the name of one of ours.
    given = {name.replace("_", "-"): value for name, value in locals().items()}
    refuse_where_impossible(sys.platform)
    command = supervisor_command(given)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell is meant


def supervisor_command(given: Mapping[str, int | str | Path | None]) -> list[str]:
    """Return the supervisor's command line with the options that were given."""
    options = []
    for name, value in given.items():
        if value is True:
            options.append(f"--{name}")
        elif value is not None and value is not False:
            options += [f"--{name}", str(value)]
    # -P, here and elsewhere: nothing is imported from the directory that somebody stands in.
    return [sys.executable, "-P", "-m", SUPERVISOR, *options]


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

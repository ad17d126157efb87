"""`serve`: becomes the supervisor of a service on this host."""

from typing import Annotated

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.options import ConfigPath, InsecurePlaintext, RuntimeDir, StateDir
from pointsman.cli.running.service_programs import become

app = typer.Typer(cls=Commands)


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
    config: ConfigPath = None,
    state_dir: StateDir = None,
    runtime_dir: RuntimeDir = None,
    insecure_plaintext: InsecurePlaintext = False,
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
    become("pointsman_sched.supervisor", given=given)

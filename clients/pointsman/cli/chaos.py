"""`chaos`: becomes a run of faults against a throw-away service on this host."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.endings import FAILED, Commands, Trouble
from pointsman.cli.running.service_programs import become

app = typer.Typer(cls=Commands)


@app.command()
def chaos(
    *,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long faults are done.")] = 1.0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Dispatcher workers.")] = 2,
    nodes: Annotated[int, typer.Option(min=1, max=64, help="Nodes, a process each.")] = 4,
    sessions: Annotated[int, typer.Option(min=1, max=1000, help="Sessions that submit.")] = 8,
    faults: Annotated[
        str, typer.Option(help="all, none, or kinds: kill-worker,stop-node.", metavar="LIST")
    ] = "all",
    seed: Annotated[int, typer.Option(help="Of the order and the instants of faults.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="A folder that gets the histories.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The verdict as JSON.")] = False,
) -> None:
    """Break a throw-away service again and again, and judge what came of it.

    Starts a service of its own with nodes and clients, kills and stops parts
    of it, and holds what all of them recorded against every promise.  It
    touches nothing else, needs no root, and leaves nothing, also after Ctrl-C.
    """
    if importlib.util.find_spec("pointsman_sim") is None:
        raise Trouble("the package pointsman_sim is not installed here", code=FAILED)
    given = {
        "minutes": minutes,
        "workers": workers,
        "nodes": nodes,
        "sessions": sessions,
        "faults": faults,
        "seed": seed,
        "keep": keep,
        "json": json,
    }
    become("pointsman_sim.chaos", given=given)

"""`log-level`: how much the processes of a service log, changed in each of them."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from pointsman.cli.endings import FAILED, USAGE, Commands, Trouble
from pointsman.cli.fleet.asking import ASK_S, find_service, no_answer, of_kind
from pointsman.cli.fleet.ordering import order_each
from pointsman.cli.fleet.view import show_faults
from pointsman.cli.options import Instance, Json, RuntimeDir
from pointsman.cli.screen import say, say_json
from pointsman_wire.order_messages import LogLevel, LogLevelOrder

app = typer.Typer(cls=Commands)


class LevelName(StrEnum):
    """How grave a line must be to be written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@app.command("log-level")
def log_level(
    level: Annotated[LevelName, typer.Argument(help="What is less grave is not written.")],
    *,
    process: Annotated[str, typer.Option(help="Only this one, as `status` names it.")] = "",
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Change how much the processes of the service log, until they end.

    The configuration ([logs] level) says how they start.  Exit code 1 when a
    process does not answer.
    """
    service = find_service(instance, runtime_dir)
    if process and process not in service.processes:
        known = ", ".join(service.processes)
        raise Trouble(f"no process {process!r}", todo=f"name one of {known}", code=USAGE)
    asked = [process] if process else service.processes
    order = LogLevelOrder(level.value)
    heard = asyncio.run(order_each(service, asked, order, timeout_s=ASK_S))
    answers = of_kind(heard, LogLevel)
    faults = [one for one in heard if one.process not in answers]
    if as_json:
        levels = {name: {"level": one.level, "before": one.before} for name, one in answers.items()}
        say_json({"instance": service.instance, "processes": levels, **no_answer(faults)})
    else:
        show_faults(faults)
        say(*(f"{name}: {one.before} -> {one.level}" for name, one in answers.items()))
    if faults:
        raise typer.Exit(FAILED)

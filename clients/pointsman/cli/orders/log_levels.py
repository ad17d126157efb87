"""`log-level`: how much the processes of a service log, changed in each of them."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from pointsman.cli.endings import FAILED, USAGE, Commands, Trouble
from pointsman.cli.fleet.asking import ASK_S, Heard, Service, find_service
from pointsman.cli.fleet.view import show_faults
from pointsman.cli.options import Instance, Json, RuntimeDir
from pointsman.cli.screen import say, say_json
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import LogLevel, LogLevelOrder
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import AdminError, give_order

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
    answers, faults = asyncio.run(_order_each(service, asked, LogLevelOrder(level.value)))
    if as_json:
        levels = {one.process: {"level": one.level, "before": one.before} for one in answers}
        silent = {heard.process: heard.fault for heard in faults}
        say_json({"instance": service.instance, "processes": levels, "no_answer": silent})
    else:
        show_faults(faults)
        say(*(f"{one.process}: {one.before} -> {one.level}" for one in answers))
    if faults:
        raise typer.Exit(FAILED)


async def _order_each(
    service: Service, processes: Sequence[str], order: LogLevelOrder
) -> tuple[list[LogLevel], list[Heard]]:
    """Return what those answered that obeyed, and who did not."""
    told = await asyncio.gather(*(_order(service, process, order) for process in processes))
    answers = [one for one in told if isinstance(one, LogLevel)]
    return answers, [one for one in told if isinstance(one, Heard)]


async def _order(service: Service, process: str, order: LogLevelOrder) -> LogLevel | Heard:
    path = admin_socket(service.runtime_dir, process)
    try:
        answer = await give_order(path, order, timeout_s=ASK_S)
    except AdminError as error:
        return Heard(process, None, str(error))
    if isinstance(answer, Error):
        return Heard(process, None, f"{process}: {answer.error.message}")
    assert isinstance(answer, LogLevel), answer
    return answer

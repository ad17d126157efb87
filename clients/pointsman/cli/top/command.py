"""`top`: the service live in a terminal; once, for programs and files."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pointsman.cli.endings import TERMINATED, Commands
from pointsman.cli.fleet.asking import NobodyAnswers, Service, find_service, nobody_there
from pointsman.cli.options import Instance, Json, RuntimeDir
from pointsman.cli.screen import PLAIN_WIDTH, out, say_json
from pointsman.cli.top.keys import QUIT, pressed_keys
from pointsman.cli.top.looking import Look, as_data, ask_beats, look_at
from pointsman.cli.top.picture import ALL_NODES, NodeOrder, picture

ORDERS = {order.value[0]: order for order in NodeOrder}
KEYS_HELP = "q ends; nodes by: " + ", ".join(f"{key} {order}" for key, order in ORDERS.items())

app = typer.Typer(cls=Commands)


@app.command()
def top(
    *,
    once: Annotated[bool, typer.Option("--once", help="Print it once, and end.")] = False,
    refresh: Annotated[
        float, typer.Option(min=0.2, max=60, help="Seconds between looks; rates are over these.")
    ] = 1.0,
    sort: Annotated[NodeOrder, typer.Option(help="What nodes are sorted by.")] = NodeOrder.NAME,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Watch the service: nodes, workers, rates, pools, what waits, and why jobs are refused.

    In a terminal it goes on until q or Ctrl-C; n, u and b sort the nodes by
    name, use and beat.  Elsewhere, with --once or --json, it is printed once.
    """
    service = find_service(instance, runtime_dir)
    is_live = out.is_terminal and not out.is_dumb_terminal
    try:
        if as_json or once or not is_live:
            look = asyncio.run(_look_once(service, refresh))
        else:
            if asyncio.run(_watch(service, sort, refresh)):
                raise typer.Exit(TERMINATED)
            return
    except NobodyAnswers as error:
        raise nobody_there(service, error.faults) from None
    if as_json:
        say_json(as_data(look))
        return
    screen = out if out.is_terminal else Console(file=out.file, width=PLAIN_WIDTH, highlight=False)
    screen.print(picture(look, sort, width=screen.width))


async def _look_once(service: Service, refresh_s: float) -> Look:
    """Look twice, for the rates in between."""
    before = await ask_beats(service)
    await asyncio.sleep(refresh_s)
    return await look_at(service, before, nodes_max=ALL_NODES)


async def _watch(service: Service, order: NodeOrder, refresh_s: float) -> bool:
    """Look and draw until somebody has seen enough; True when it was SIGTERM that ended it.

    Raises NobodyAnswers only at the start.
    """
    look = await look_at(service, await ask_beats(service), nodes_max=ALL_NODES)
    trouble = ""
    with pressed_keys() as keys, Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_drawn(look, order, trouble), refresh=True)
            pressed = await keys.next(refresh_s)
            if pressed == QUIT:
                return keys.is_told_to_end
            order = ORDERS.get(pressed, order)
            if pressed:
                continue
            try:
                look, trouble = await look_at(service, look.beats, nodes_max=ALL_NODES), ""
            except NobodyAnswers:
                trouble = "nobody answers any more: this is what was seen last"


def _drawn(look: Look, order: NodeOrder, trouble: str) -> Group:
    """Return the whole screen."""
    below = Text(KEYS_HELP, style="dim")
    above = [Text(trouble, style="bold red")] if trouble else []
    lines_max = out.height - 1 - len(above)
    return Group(*above, picture(look, order, lines_max=lines_max, width=out.width), below)

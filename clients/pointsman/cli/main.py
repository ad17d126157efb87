"""The command `pointsman`: all its subcommands."""

from importlib.util import find_spec
from typing import Annotated

import typer

from pointsman import __version__
from pointsman.cli import chaos, node, serve, submit
from pointsman.cli.demo import command as demo
from pointsman.cli.doctor import command as doctor
from pointsman.cli.endings import CODES_HELP, Commands
from pointsman.cli.explain import command as explain
from pointsman.cli.fleet import command as fleet
from pointsman.cli.inbox import command as inbox
from pointsman.cli.keeping import command as keeping
from pointsman.cli.operating import command as operating
from pointsman.cli.orders import command as orders
from pointsman.cli.orders import enrolling, log_levels
from pointsman.cli.rolling import command as rolling
from pointsman.cli.screen import say
from pointsman.cli.talk import command as talk
from pointsman.cli.tokens import command as tokens
from pointsman.cli.top import command as top
from pointsman.cli.units import command as units
from pointsman.cli.work import command as work

app = typer.Typer(
    name="pointsman",
    cls=Commands,
    epilog=CODES_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (
    serve,
    node,
    submit,
    talk,
    fleet,
    work,
    top,
    orders,
    enrolling,
    log_levels,
    doctor,
    inbox,
    explain,
    operating,
    keeping,
    rolling,
    tokens,
    units,
    demo,
    chaos,
):
    app.add_typer(part.app)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        is_compiled = find_spec("pointsman__mypyc") is not None  # the library of the worker
        say(f"pointsman {__version__}" + " (compiled)" * is_compiled)
        raise typer.Exit


@app.callback()
def pointsman(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Show the version, and end."
        ),
    ] = False,
) -> None:
    """Place jobs on nodes, in microseconds, and say why.

    One host runs `serve`, or `systemd install`; machines that can do
    something run `node`; `submit` has a job done, `talk` is a conversation.
    `top` shows live how it goes; `nodes`, `pools`, `jobs`, `instances`,
    `snapshot`, `status`, `sessions` and `poison` in detail; `explain`,
    `where`, `why-not` and `coverage` say why; `inbox` tends dead letters.
    `drain`, `pause`, `quarantine` and `cancel` keep jobs away, `audit` says
    who did; `rolling-restart` renews it while it serves; `tokens` says who
    may come; `demo` shows it all; `chaos` breaks a service of its own, and
    judges what came of it.
    """


def main() -> None:
    """Run the command line."""
    app()

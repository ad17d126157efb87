"""`tokens add`, `tokens list`, `tokens revoke`: who may open sessions, and for which tenant."""

from typing import Annotated

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.options import Instance, Json, StateDir
from pointsman.cli.running.service_programs import become_on_state

PROGRAM = "pointsman_sched.client_tokens"

app = typer.Typer(cls=Commands)
tokens_app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Give out, list and revoke tokens of clients."
)
app.add_typer(tokens_app, name="tokens")


@tokens_app.command()
def add(
    *,
    tenant: Annotated[str, typer.Option(help="Whose sessions they are.")],
    scopes: Annotated[
        str, typer.Option(help="What its holder may do.", metavar="LIST")
    ] = "submit,read,cancel",
    expires: Annotated[
        str, typer.Option(help="When it ends: 90d, 12h, 30m; never, if not said.", metavar="TIME")
    ] = "",
    note: Annotated[str, typer.Option(help="What it is for, for the list.")] = "",
    instance: Instance = "default",
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it, this once: only its hash is kept.

    The service sees it within a second or two, or at its next start.
    """
    said = {"tenant": tenant, "scopes": scopes, "expires": expires, "note": note}
    words = [f"--{option}={value}" for option, value in said.items()]
    become_on_state(PROGRAM, "add", *words, instance=instance, state_dir=state_dir, as_json=as_json)


@tokens_app.command("list")
def list_all(
    *, instance: Instance = "default", state_dir: StateDir = None, as_json: Json = False
) -> None:
    """Show all tokens: whose they are, what they may do, when they end."""
    become_on_state(PROGRAM, "list", instance=instance, state_dir=state_dir, as_json=as_json)


@tokens_app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `tokens list` shows it.")],
    *,
    instance: Instance = "default",
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Make a token count no more: its sessions lose their connections within seconds."""
    become_on_state(
        PROGRAM, "revoke", token_id, instance=instance, state_dir=state_dir, as_json=as_json
    )

"""`enrol`, `revoke`: who may be a node of a service that listens to the network."""

from typing import Annotated

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.fleet.asking import MANAGER, find_service
from pointsman.cli.fleet.ordering import give
from pointsman.cli.options import Instance, Json, RuntimeDir
from pointsman.cli.screen import complete, facts, say, say_json
from pointsman.cli.words import checked_node_id, labels
from pointsman_wire.order_messages import EnrolOrder, Introduction, Revoked, RevokeOrder

app = typer.Typer(cls=Commands)

Name = Annotated[
    str,
    typer.Option(
        "--name", callback=checked_node_id, help="The node's id: letters, digits, . _ : -"
    ),
]
Pool = Annotated[str, typer.Option(help="What its label `pool` says; it must enrol for the same.")]
Minutes = Annotated[float, typer.Option(min=0.1, max=30, help="How long a token is good.")]
Code = Annotated[bool, typer.Option("--code", help="A short code that can be read out, 10 min.")]

Tenant = Annotated[str, typer.Option(help="It may serve this tenant alone, and no public jobs.")]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", help="It may have these labels alone. Repeat."),
]


@app.command()
def enrol(
    *,
    name: Name,
    pool: Pool = "",
    tenant: Tenant = "",
    label: Label = None,
    minutes: Minutes = 5.0,
    code: Code = False,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Introduce a node: print a secret, good once, with which it gets a certificate.

    The node makes its key itself and renews its certificate by itself; `revoke`
    takes it away.
    """
    order = EnrolOrder(
        name=name,
        pool=pool,
        is_code=code,
        lasts_s=minutes * 60,
        tenant=tenant,
        labels=labels(label),
    )
    answer = give(find_service(instance, runtime_dir), MANAGER, order, Introduction)
    if as_json:
        say_json(complete(answer))
        return
    half = len(answer.secret) // 2
    say(f"{answer.secret[:half]}-{answer.secret[half:]}" if code else answer.secret)
    chosen = f" --pool {answer.pool}" if answer.pool else ""
    facts(
        [
            ("for node", answer.name),
            ("good for", f"one node, {answer.expires_in_s / 60:g} minutes"),
            ("server", answer.address),
            ("pin", answer.pin),
            ("use it", "on the node, which asks for the secret:"),
        ]
    )
    say(
        f"  pointsman node --server tls://{answer.address} --pin {answer.pin} "
        f"--node-id {answer.name}{chosen} --enrol - ..."
    )


@app.command()
def revoke(
    node_id: Annotated[
        str, typer.Argument(metavar="NODE_ID", help="The node, as `nodes` lists it.")
    ],
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Take a node's certificate away: it is ended at once, and does not come back.

    Its jobs go to other nodes.  The name can be enrolled anew.
    """
    answer = give(find_service(instance, runtime_dir), MANAGER, RevokeOrder(node_id), Revoked)
    if as_json:
        say_json(complete(answer))
        return
    say(f"{answer.node_id} is revoked{'; it was connected, and is ended' * answer.was_here}")

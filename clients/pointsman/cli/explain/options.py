"""The options of a job that is only asked about, and how they become a question."""

from typing import Annotated

import typer

Names = list[str] | None

Features = Annotated[Names, typer.Option(help="Features the node must have.", metavar="LIST")]
Label = Annotated[
    Names, typer.Option(help="A label the node must have; repeatable.", metavar="KEY=VALUE")
]
PreferLabel = Annotated[
    Names, typer.Option(help="A label it had better have; repeatable.", metavar="KEY=VALUE")
]
Prefer = Annotated[str, typer.Option(help="The node that is asked first.", metavar="NODE")]
Exclude = Annotated[Names, typer.Option(help="Nodes that may not take it.", metavar="LIST")]
Tenant = Annotated[str, typer.Option(help="On whose behalf.")]
SessionId = Annotated[
    str, typer.Option("--session", help="Of this session, with the pool it is bound to.")
]
AutoLangs = Annotated[Names, typer.Option(help="What auto may stand for.", metavar="LIST")]
OwnNodes = Annotated[bool, typer.Option("--own-nodes", help="Not on nodes that are open to all.")]
WhatIf = Annotated[
    Names,
    typer.Option(
        "--what-if",
        help="Suppose that, repeatable: node=pc-17:up, node=gpu-3:gone (or :paused, :resumed,"
        " :slots+2), pool=3:slots+4.",
        metavar="ASSUMPTION",
    ),
]

"""The commands about units: a group of their own, beside the others."""

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.units import node_unit, service

app = typer.Typer(cls=Commands)
app.add_typer(service.app, name="systemd")
app.add_typer(node_unit.app)

"""The commands about units: a group of their own, beside the others."""

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.units import service

app = typer.Typer(cls=Commands)
app.add_typer(service.app, name="systemd")

"""Options of `node` by which its owner keeps the machine to themselves at times."""

from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.endings import USAGE, Trouble
from pointsman.owner.foreign_cpu import ForeignCpu
from pointsman.owner.probes import PauseFile, Probe
from pointsman.owner.quiet_hours import QuietHours

PauseWhenCpu = Annotated[
    float | None,
    typer.Option(
        min=1, max=99, metavar="PERCENT", help="Pause while other programs use more of the cpu."
    ),
]
QuietHourWindows = Annotated[
    list[str] | None,
    typer.Option(metavar="FROM-TO", help="Pause at these hours: 22:00-07:00; may be repeated."),
]
PauseFiles = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Pause while this file is there.", resolve_path=True),
]


def owner_policy(
    cpu_percent: float | None, windows: list[str] | None, files: list[Path] | None
) -> list[Probe]:
    """Return the probes that these options ask for.  Raises Trouble for what is no window."""
    probes: list[Probe] = []
    if cpu_percent is not None:
        probes.append(ForeignCpu(cpu_percent))
    if windows:
        try:
            probes.append(QuietHours(*windows))
        except ValueError as error:
            raise Trouble(str(error), code=USAGE) from None
    probes += map(PauseFile, files or [])
    return probes

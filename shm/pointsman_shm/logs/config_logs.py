"""The section `[logs]`: what is written of the service's own events, and in which form."""

from typing import Annotated, Literal

import msgspec

LevelName = Literal["debug", "info", "warning", "error"]


class LogsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines about the service itself, on standard error or to journald; never of single jobs."""

    level: LevelName = "info"  # what is less grave is not written; `pointsman log-level` changes it
    # auto: to journald with its fields where standard error leads there, else for people.
    format: Literal["auto", "human", "json"] = "auto"
    lines_per_s: Annotated[float, msgspec.Meta(ge=0.1, le=10_000)] = 5.0  # of each event,
    burst: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50  # and so many at once

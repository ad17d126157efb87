"""What a run is given: how long, how large, which faults."""

from pathlib import Path

import msgspec

FAULTS = (
    "kill-worker",
    "kill-manager",
    "kill-node",
    "kill-client",
    "kill-all",
    "stop-worker",
    "stop-manager",
    "stop-node",
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is given."""

    minutes: float = 1.0
    workers: int = 2
    nodes: int = 4
    sessions: int = 8
    faults: tuple[str, ...] = FAULTS
    seed: int = 0
    calm_s: float = 8.0
    recovery_s: float = 18.0
    keep: Path | None = None
    # Requests over time as JSON; without it each session asks one job after the other.
    trace: Path | None = None

    def __post_init__(self) -> None:
        for fault in self.faults:
            if fault not in FAULTS:
                raise ValueError(f"fault {fault!r} is not known; known are {', '.join(FAULTS)}")

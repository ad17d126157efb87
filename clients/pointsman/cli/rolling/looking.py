"""How a service stands before, between and after the restarts of its processes: data only.

A service is whole when every process answers, none is ending, the snapshot is young and each
worker has its lanes.  One that is not whole is not restarted further: what is missing would be
missed the more.
"""

from typing import NamedTuple

from pointsman.cli.fleet.asking import MANAGER, Heard, Service, ask_each, of_kind
from pointsman_wire.admin_messages import SnapshotQuery, SnapshotView, Status, StatusQuery

CONSOLE = "console"
SUPERVISOR = "supervisor"
# The manager beats ten times a second; older means that nobody writes the snapshot.
SNAPSHOT_AGE_MAX_MS = 5_000.0
READY_STATES = ("ready", "degraded")


class Look(NamedTuple):
    """What the processes said at one moment; `ready_nodes` as the manager counts them."""

    statuses: dict[str, Status]
    faults: list[str]
    ready_nodes: int

    def lanes(self, process: str) -> int:
        """Return how many nodes have a lane to this worker."""
        status = self.statuses.get(process)
        return int(status.gauges.get("lanes", 0)) if status else 0

    def sessions(self, process: str) -> int:
        """Return how many sessions this worker has."""
        status = self.statuses.get(process)
        return int(status.gauges.get("sessions", 0)) if status else 0

    def versions(self) -> list[str]:
        """Return the versions that run, each once."""
        return sorted({status.version for status in self.statuses.values()})


def processes_of(look: Look) -> list[str]:
    """Return what is restarted, in order: workers one after another, manager, console."""
    count = look.statuses[MANAGER].worker_count
    last = [CONSOLE] if CONSOLE in look.statuses else []
    return [*(f"worker-{index}" for index in range(count)), MANAGER, *last]


async def look_at(service: Service) -> Look:
    """Ask everybody who has a socket there."""
    heard = await ask_each(service.runtime_dir, service.processes, StatusQuery())
    statuses = of_kind(heard, Status)
    (manager,) = await ask_each(service.runtime_dir, [MANAGER], SnapshotQuery())
    view = manager.answer if isinstance(manager.answer, SnapshotView) else None
    ready = sum(view.nodes_by_state.get(state, 0) for state in READY_STATES) if view else 0
    return Look(statuses, faults_of(heard, statuses), ready)


def faults_of(heard: list[Heard], statuses: dict[str, Status]) -> list[str]:
    """Return why the service is not whole, in words; nothing when it is."""
    faults = [f"{one.process} does not answer" for one in heard if one.process not in statuses]
    manager = statuses.get(MANAGER)
    if manager is None:
        return faults or ["the manager is not there"]
    for index in range(manager.worker_count):
        name = f"worker-{index}"
        status = statuses.get(name)
        if status is None:
            faults += [] if f"{name} does not answer" in faults else [f"{name} is not there"]
        elif status.gauges.get("draining", 0):
            faults.append(f"{name} is ending")
        elif status.snapshot_age_ms > SNAPSHOT_AGE_MAX_MS:
            age_s = status.snapshot_age_ms / 1e3
            faults.append(f"{name} sees a snapshot that is {age_s:.1f} s old")
    children = statuses[SUPERVISOR].children if SUPERVISOR in statuses else []
    for child in children:
        if child["state"] != "ready" and f"{child['name']} does not answer" not in faults:
            faults.append(f"{child['name']} is {child['state']}")
    return faults


def missing_lanes(before: Look, now: Look, process: str) -> int:
    """Return how many lanes a restarted worker still waits for: of nodes that are still there."""
    wanted = min(before.lanes(process), now.ready_nodes)
    return max(0, wanted - now.lanes(process))

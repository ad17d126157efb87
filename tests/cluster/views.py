"""What the instances of a fleet tell of themselves, of their nodes and of each other."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from cluster.instances import Instance

from pointsman_wire.admin_messages import (
    AdminAnswer,
    AdminQuery,
    Nodes,
    NodesQuery,
    SnapshotQuery,
    SnapshotView,
)
from pointsman_wire.places import admin_socket
from pointsman_wire.queries.fleet_messages import Instances, InstancesQuery
from pointsman_wire.sockets.admin import AdminError, ask

PATIENCE_S = 40.0
LOOK_AGAIN_S = 0.05


async def ready_at(instance: Instance, process: str = "manager") -> set[str]:
    """Return what a process shows as ready; nothing while it is replaced."""
    told = await _told(instance, process, NodesQuery(limit=1000))
    lines = told.nodes if isinstance(told, Nodes) else []
    return {line.node_id for line in lines if line.state == "ready"}


async def shows_ready(instance: Instance, wanted: set[str], process: str = "manager") -> None:
    """Wait until a process shows these nodes as ready, and no other."""

    async def look() -> tuple[bool, object]:
        shown = await ready_at(instance, process)
        return shown == wanted, shown

    await _until(look, instance, f"{process} shows {wanted}")


async def misses_redis(instance: Instance) -> None:
    """Wait until an instance says that it does not hear Redis: the harm has reached it."""
    await _tells(instance, lambda told: bool(told.trouble), "misses Redis")


async def tells_trouble(instance: Instance, words: set[str]) -> None:
    """Wait until an instance says, with one of these words, why it does not hear Redis."""
    await _tells(
        instance, lambda told: any(word in told.trouble for word in words), f"tells of {words}"
    )


async def shows_as(instance: Instance, other: Instance, state: str) -> None:
    """Wait until an instance shows another one in this state."""

    def is_so(told: Instances) -> bool:
        lines = (line for line in told.instances if line.name == other.instance)
        return any(line.state == state for line in lines)

    await _tells(instance, is_so, f"shows {other.nickname} as {state}")


async def holds_no_slot(instance: Instance) -> None:
    """I10: wait until none of its workers holds a slot of any node."""

    async def look() -> tuple[bool, object]:
        told = await _told(instance, "worker-0", SnapshotQuery())
        is_so = isinstance(told, SnapshotView) and not any(told.slots_held)
        return is_so, told.slots_held if isinstance(told, SnapshotView) else told

    await _until(look, instance, "holds no slot")


async def _tells(instance: Instance, is_so: Callable[[Instances], bool], what: str) -> None:
    async def look() -> tuple[bool, object]:
        told = await _told(instance, "manager", InstancesQuery())
        return isinstance(told, Instances) and is_so(told), told

    await _until(look, instance, what)


async def _told(instance: Instance, process: str, query: AdminQuery) -> AdminAnswer | None:
    """Return what a process answers; None of one that is being replaced."""
    try:
        return await ask(admin_socket(instance.runtime_dir, process), query)
    except AdminError:
        return None


async def _until(
    look: Callable[[], Awaitable[tuple[bool, object]]], instance: Instance, what: str
) -> None:
    until_s = monotonic() + PATIENCE_S
    while True:
        is_so, seen = await look()
        if is_so:
            return
        if monotonic() > until_s:
            said = "\n  ".join([*instance.lines][-8:])
            words = f"not within {PATIENCE_S:g} s: {instance.nickname} {what}; instead {seen}"
            raise AssertionError(f"{words}; it said\n  {said}")
        await asyncio.sleep(LOOK_AGAIN_S)

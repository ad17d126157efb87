"""Uplinks: the unix sockets between the workers and the manager.

They keep order and lose nothing, as long as both processes live; who comes back connects anew.
"""

from typing import TYPE_CHECKING

import msgspec

from pointsman_sched.core.events import WorkerGone, WorkerSaid
from pointsman_shm.uplink import UplinkMessage, WorkerHello
from pointsman_sim.world.dice import MS, Dice
from pointsman_sim.world.process import World
from pointsman_workers.core.events import ManagerSaid

if TYPE_CHECKING:
    from pointsman_sim.parts.instance import Instance


class Uplink(msgspec.Struct, eq=False):
    """One connection between one life of a worker and one life of the manager."""

    up_arrives_ns: int = 0
    down_arrives_ns: int = 0


class Uplinks:
    """At most one uplink for each worker."""

    def __init__(self, world: World, instance: "Instance") -> None:
        self._world = world
        self._instance = instance
        self._dice = Dice(world.seed, "uplinks")
        self._links: list[Uplink | None] = [None] * instance.worker_count

    def connect(self, index: int) -> None:
        """Connect a worker with the manager in a moment, if both live then."""
        self._world.schedule.after(self._dice.between(MS, 60 * MS), lambda: self._stand(index))

    def _stand(self, index: int) -> None:
        worker = self._instance.workers[index]
        if self._instance.manager is None or worker is None or self._links[index] is not None:
            return
        self._links[index] = Uplink()
        self.up(index, WorkerHello(index, 1000 + index, worker.epoch))

    def up(self, index: int, message: UplinkMessage) -> None:
        """Carry a worker's message to the manager; lost when there is no uplink."""
        link = self._links[index]
        if link is None:
            return
        link.up_arrives_ns = self._after(link.up_arrives_ns)
        self._world.schedule.at(link.up_arrives_ns, lambda: self._told(index, link, message))

    def _told(self, index: int, link: Uplink, message: UplinkMessage) -> None:
        if self._links[index] is link and self._instance.manager is not None:
            self._instance.manager.post(WorkerSaid(index, message))

    def down(self, index: int, message: UplinkMessage) -> None:
        """Carry the manager's message to a worker; lost when there is no uplink."""
        link = self._links[index]
        if link is None:
            return
        link.down_arrives_ns = self._after(link.down_arrives_ns)
        self._world.schedule.at(link.down_arrives_ns, lambda: self._ordered(index, link, message))

    def _ordered(self, index: int, link: Uplink, message: UplinkMessage) -> None:
        worker = self._instance.workers[index]
        if self._links[index] is link and worker is not None:
            worker.post(ManagerSaid(message))

    def broken(self, index: int) -> None:
        """One of the two has died."""
        if self._links[index] is not None:
            self._links[index] = None
            if self._instance.manager is not None:
                self._instance.manager.post(WorkerGone(index))

    def _after(self, earlier_ns: int) -> int:
        return max(earlier_ns, self._world.schedule.now_ns + self._dice.between(20_000, 2 * MS))

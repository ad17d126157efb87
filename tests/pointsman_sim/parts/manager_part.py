"""The manager's process: the real registry core over the host's memory."""

from typing import TYPE_CHECKING, Any

from pointsman_sched.core.events import (
    Alarm,
    NodeNews,
    Record,
    Recorded,
    Stopped,
    TellWorker,
    TellWorkers,
)
from pointsman_sched.core.manager_core import ManagerCore
from pointsman_sched.core.setup import ManagerSetup
from pointsman_sim.world.dice import MS
from pointsman_sim.world.process import CrashPointMet, Process, World

if TYPE_CHECKING:
    from pointsman_sim.parts.instance import Instance


SYNC_NS = (MS // 10, 30 * MS)  # how long a disk takes


class ManagerProcess(Process):
    """One life of the manager."""

    def __init__(self, world: World, instance: "Instance", life: int) -> None:
        super().__init__(world, "manager", life)
        self._instance = instance
        # At which of the crash points to come this life ends; None: at none.
        self.points_left: int | None = None
        self._disk_free_at_ns = 0
        self.core = ManagerCore(
            ManagerSetup(
                config=instance.config,
                memory=instance.memory.for_manager(self._pass),
                started_at_ns=world.schedule.now_ns,
                worker_count=instance.worker_count,
                ticket_key=instance.ticket_key,
                entropy=self.dice.entropy,
                instance_uid=instance.uid,
                registry=tuple(instance.registry),
                crash=self._pass,
            )
        )
        self.start(self.core)

    def _pass(self, point: str) -> None:
        if self.points_left is not None:
            self.points_left -= 1
            if self.points_left < 0:
                raise CrashPointMet(point)

    def execute(self, command: Any) -> None:
        """Keep registrations on the disk, talk to workers."""
        if isinstance(command, Record):
            self._record(command)
        elif isinstance(command, TellWorkers):
            for index in range(self._instance.worker_count):
                self._instance.uplinks.down(index, command.message)
        elif isinstance(command, TellWorker):
            self._instance.uplinks.down(command.worker_index, command.message)
        elif isinstance(command, Alarm):
            self.world.history.counts["alarms"] += 1
        elif not isinstance(command, NodeNews):
            assert isinstance(command, Stopped), command
            self.kill()

    def _record(self, command: Record) -> None:
        """One after the other; what was not written when the process dies is lost."""
        schedule = self.world.schedule
        begins_ns = max(self._disk_free_at_ns, schedule.now_ns)
        self._disk_free_at_ns = begins_ns + self.dice.between(*SYNC_NS)
        schedule.at(self._disk_free_at_ns, lambda: self._recorded(command))

    def _recorded(self, command: Record) -> None:
        if self.is_alive:
            self._instance.registry.extend(command.entries)
            self.post(Recorded(command.number))

    def died(self) -> None:
        """The supervisor starts another one."""
        self._instance.manager_died()

"""A worker's process: the real worker core over the host's memory."""

from typing import TYPE_CHECKING, Any

from pointsman_sim.parts.worker_scribe import WorkerScribe
from pointsman_sim.world.process import Process, World
from pointsman_workers.core.core import WorkerCore
from pointsman_workers.core.events import (
    DropSegments,
    RingWorker,
    Say,
    Stopped,
    TellManager,
    WriteJournal,
)
from pointsman_workers.core.setup import WorkerSetup

if TYPE_CHECKING:
    from pointsman_sim.parts.instance import Instance


def no_stopwatch() -> int:
    """Measure nothing: how long real code takes must not show in a trace."""
    return 0


class WorkerProcess(Process):
    """One life of a worker: its epoch is its life."""

    def __init__(self, world: World, instance: "Instance", index: int, epoch: int) -> None:
        super().__init__(world, f"worker-{index}", epoch)
        self._instance = instance
        self.index = index
        self.epoch = epoch
        self.born_at_ns = world.schedule.now_ns
        self._disk = instance.disks[index]
        journal, recovered = self._disk.open(instance.config.jobs.window_jobs_max, self.post)
        self.core = WorkerCore(
            WorkerSetup(
                config=instance.config,
                memory=instance.memory.for_worker(index),
                worker_index=index,
                worker_count=instance.worker_count,
                instance="default",
                instance_uid=instance.uid,
                epoch=epoch,
                ticket_key=instance.ticket_key,
                journal=journal,
                recovered=recovered,
                entropy=self.dice.entropy,
                stopwatch=no_stopwatch,
            )
        )
        self.scribe = WorkerScribe(self.name, instance.job_names[index])
        self.start(self.core)

    def execute(self, command: Any) -> None:
        """Talk to the manager and to the other workers, and write the journal."""
        if isinstance(command, TellManager):
            self._instance.uplinks.up(self.index, command.message)
        elif isinstance(command, RingWorker):
            self._instance.ring(self, command)
        elif isinstance(command, WriteJournal):
            self._disk.write(command)
        elif isinstance(command, DropSegments):
            self._disk.drop(command.below)
        elif not isinstance(command, Say):
            assert isinstance(command, Stopped), command
            self.kill()

    def died(self) -> None:
        """The supervisor starts another one."""
        self.let_go()
        self._instance.worker_died(self.index)

    def let_go(self) -> None:
        """Cut the circles of jobs, which a real process takes along.

        The garbage collector does not look at jobs and holds (`gc=False`), so a circle through
        one of them would keep all that this life has seen, its catalog above all.
        """
        shard = self.core.shard
        for lane in shard.lanes.values():
            for hold in lane.holds.values():
                hold.job = hold.line = None
            lane.holds.clear()
            lane.unacknowledged.clear()
        for session in shard.sessions.values():
            session.open_jobs.clear()
            session.unread.clear()
            session.held = session.line = session.utterances = None
        for kind in shard.waiting.kinds:
            for queue in kind.queues:
                queue.clear()

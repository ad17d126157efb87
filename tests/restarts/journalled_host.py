"""A host whose workers write a journal that outlives them: each next life begins with it."""

import msgspec
from worker_harness import Host, WorkerHarness

from pointsman_shm.config import Config
from pointsman_workers.core.events import JournalState, WriteJournal
from pointsman_workers.journal.entries import Recovered
from pointsman_workers.journal.replay import Fold, FoundEntry

SECOND_NS = 1_000_000_000
MIB = 1 << 20
_decode = msgspec.msgpack.Decoder(list[FoundEntry]).decode


def left_behind(journal: list[list[object]], *, is_same_boot: bool = True) -> Recovered:
    """What a successor reads of everything that its predecessors wrote, life after life."""
    fold = Fold(200_000)
    for life, commands in enumerate(journal, start=1):
        for command in commands:
            if isinstance(command, WriteJournal):
                fold.absorb(life, _decode(msgspec.msgpack.encode(command.entries)))
    return fold.recovered(is_same_boot=is_same_boot, lost_records=0)


class JournalledHost(Host):
    """A host with two nodes; what its workers write outlives them."""

    def __init__(self, **sections: object) -> None:
        super().__init__(Config(**sections))  # type: ignore[arg-type]
        self.journal: list[list[object]] = []
        self.now_ns = SECOND_NS
        for row in (3, 4):
            self.node(row, slots=2)
        self.publish(SECOND_NS)

    def worker(self, recovered: Recovered | None = None) -> WorkerHarness:
        """The next life of the shard."""
        life = len(self.journal) + 1
        worker = WorkerHarness(
            self,
            epoch=life,
            now_ns=self.now_ns,
            journal=JournalState(life, room_bytes=64 * MIB, held_bytes=16 * MIB, oldest=1),
            recovered=recovered or Recovered(),
        )
        self.journal.append(worker.commands)
        worker.feed()
        return worker

    def successor(self, worker: WorkerHarness, *, is_same_boot: bool = True) -> WorkerHarness:
        """The worker is killed; another begins with what it wrote."""
        self.now_ns = worker.now_ns + SECOND_NS // 2
        return self.worker(left_behind(self.journal, is_same_boot=is_same_boot))

"""A worker with a pretended journal: it names what shall be written, and is told of room."""

from worker_harness import Host, WorkerHarness

from pointsman_shm.config import Config
from pointsman_workers.core.events import JournalState, WriteJournal

SECOND_NS = 1_000_000_000
MIB = 1 << 20
KIB = 1 << 10
THERE = JournalState(segment=1, room_bytes=32 * MIB, held_bytes=16 * MIB, oldest=1)


def journalled(slots: int = 1, **sections: object) -> WorkerHarness:
    """One node, one worker, and a journal with room."""
    host = Host(Config(**sections))  # type: ignore[arg-type]
    host.node(3, slots=slots)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host, journal=THERE)
    harness.feed()
    return harness


def names(entries: list[object]) -> list[str]:
    """What entries are called."""
    return [type(entry).__name__ for entry in entries]


def newest_write(h: WorkerHarness) -> WriteJournal:
    """The last write that the core has asked for."""
    return [command for command in h.commands if isinstance(command, WriteJournal)][-1]

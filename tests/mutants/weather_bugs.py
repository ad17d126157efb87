"""Bugs that are put in on purpose, and that simulated clusters must find: each is a patch."""

from typing import Any

import msgspec
import pytest

from pointsman.node_core.job_table import JobTable
from pointsman.node_core.lane import Lane as NodeLane
from pointsman.node_core.lane_work import LaneWork
from pointsman_shm.memory import ledger
from pointsman_shm.memory.ledger import OwnLedger
from pointsman_shm.memory.rows import NodeRows, NodeState, pack_standing, unpack_standing
from pointsman_sim.world.memory import HostMemory
from pointsman_wire.lane_messages import Assign, NodeResult
from pointsman_workers.core.core import WorkerCore
from pointsman_workers.core.lifecycle import JobState
from pointsman_workers.core.settling import SettlingDesk
from pointsman_workers.core.setup import WorkerMemory
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Lane
from pointsman_workers.core.window import Window
from pointsman_workers.desks.attempts import AttemptDesk
from pointsman_workers.desks.lanes import LaneDesk
from pointsman_workers.desks.outcomes import OutcomeDesk
from pointsman_workers.ordering.delivering import DeliveryDesk
from pointsman_workers.ordering.serial import SerialDesk
from pointsman_workers.ordering.utterances import UtteranceDesk

Patch = pytest.MonkeyPatch


def without_capacity(patch: Patch) -> None:
    """Nobody sees that slots are held."""
    patch.setattr(ledger, "held_reader", lambda words, stride: lambda row: 0)
    make = ledger.Ledger.__init__

    def blind(self: ledger.Ledger, *arguments: Any, **more: Any) -> None:
        make(self, *arguments, **more)
        self.row_words = None  # the other way of seeing them

    patch.setattr(ledger.Ledger, "__init__", blind)


def without_capacity_at_the_node_either(patch: Patch) -> None:
    without_capacity(patch)
    make = JobTable.__init__

    def generous(self: JobTable, max_concurrency: int, *rest: Any) -> None:
        make(self, max_concurrency + 2, *rest)

    patch.setattr(JobTable, "__init__", generous)


def without_fences(patch: Patch) -> None:
    """The worker takes any result of a job for the job's."""
    ended = LaneDesk.ended

    def credulous(self: LaneDesk, lane: Lane, message: NodeResult, payload: bytes) -> None:
        for other in self.shard.lanes.values():
            for hold in other.holds.values():
                if hold.job is not None and hold.job_id == message.job_id:
                    lane = other
                    message = msgspec.structs.replace(
                        message, epoch=hold.epoch, dispatch=hold.dispatch
                    )
                    break
        ended(self, lane, message, payload)

    patch.setattr(LaneDesk, "ended", credulous)


def without_release(patch: Patch) -> None:
    """Now and then a slot is not given back."""
    release, count = OwnLedger.release, [0]

    def forgetful(self: OwnLedger, row: int) -> bool:
        count[0] += 1
        return release(self, row) if count[0] % 20 else True

    patch.setattr(OwnLedger, "release", forgetful)


def with_double_release(patch: Patch) -> None:
    release = OwnLedger.release

    def eager(self: OwnLedger, row: int) -> bool:
        release(self, row)
        return release(self, row)

    patch.setattr(OwnLedger, "release", eager)


def without_memory(patch: Patch) -> None:
    """A request is forgotten as soon as its job has ended."""
    patch.setattr(Window, "keep", lambda self, ended, result_bytes: self.unbind(ended))


def with_jobs_that_rise_again(patch: Patch) -> None:
    """An ended job's state is changed by whoever repeats its request."""
    finish, last = OutcomeDesk.finish, list[Job]()

    def careless(self: OutcomeDesk, job: Job, verb: str, **more: Any) -> None:
        finish(self, job, verb, **more)
        if last:
            last[0].state = JobState.CANCELLED
        last[:] = [job] if job.state is JobState.COMPLETED else []

    patch.setattr(OutcomeDesk, "finish", careless)


def with_lost_jobs(patch: Patch) -> None:
    """A failed-over job is put nowhere."""

    def drop(self: AttemptDesk, job: Job) -> None:
        job.hold = None
        job.state = JobState.PENDING

    patch.setattr(AttemptDesk, "_requeue", drop)


def without_timers(patch: Patch) -> None:
    """Jobs are never looked at again."""
    file = Shard.file

    def lazy(self: Shard, entry: Any, deadline_ns: int) -> None:
        if not isinstance(entry, Job):
            file(self, entry, deadline_ns)

    patch.setattr(Shard, "file", lazy)


class Rosy:
    """A column of standing words in which no node is ever in trouble."""

    def __init__(self, standing: memoryview) -> None:
        self._standing = standing

    def __len__(self) -> int:
        return len(self._standing)

    def tobytes(self) -> bytes:
        return self._standing.tobytes()

    def __getitem__(self, row: int) -> int:
        word: int = self._standing[row]
        shown = unpack_standing(word)
        if shown.state in (NodeState.SUSPECT, NodeState.DRAINING, NodeState.DEGRADED):
            return pack_standing(**{**shown._asdict(), "state": NodeState.READY})
        return word


class RosyRows:
    """Node rows with such a column."""

    def __init__(self, rows: NodeRows) -> None:
        self.max_nodes = rows.max_nodes
        self.standing = Rosy(rows.standing)
        self.load = rows.load
        self.heartbeat_at_ns = rows.heartbeat_at_ns
        self.epoch = rows.epoch


def with_any_node(patch: Patch) -> None:
    """Workers take every living node for Ready."""
    for_worker = HostMemory.for_worker

    def rosy(self: HostMemory, index: int) -> WorkerMemory:
        memory = for_worker(self, index)
        rows: Any = RosyRows(memory.rows)
        return msgspec.structs.replace(memory, rows=rows)

    patch.setattr(HostMemory, "for_worker", rosy)


def without_patience(patch: Patch) -> None:
    """A new worker waits for no node to report what it runs."""
    patch.setattr(SettlingDesk, "_has_all_lanes", lambda self, but=(): True)


def with_haste(patch: Patch) -> None:
    """The core always wants to be stepped at once."""
    patch.setattr(WorkerCore, "next_deadline_ns", lambda self: self.shard.now_ns)


def without_certainty(patch: Patch) -> None:
    """A serial session goes on as soon as the node was told to stop, or is lost."""
    patch.setattr(SerialDesk, "_is_clear", lambda self, line: True)


def without_asking(patch: Patch) -> None:
    """A node starts a serial job as it comes: nobody has confirmed that it is still wanted."""
    assigned = LaneWork._assigned

    def hasty(
        self: LaneWork, now_ns: int, lane: NodeLane, assign: Assign, payload: bytes
    ) -> list[object]:
        out = assigned(self, now_ns, lane, assign, payload)
        for lone in self._lone.runs.values():
            if lone.begin is not None:
                out.append(lone.begin)
                lone.begin = None
        return out

    patch.setattr(LaneWork, "_assigned", hasty)


def without_turns(patch: Patch) -> None:
    """An utterance session tells results as they come."""
    patch.setattr(UtteranceDesk, "_hold", lambda self, line, index, job: self._tell(line, job))


def without_relief(patch: Patch) -> None:
    """Nobody hears that a slow client has read what waited for it."""
    patch.setattr(DeliveryDesk, "_relieved", lambda self, event: None)

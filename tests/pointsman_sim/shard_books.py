"""One life of a worker, its books compared with each other after every turn: I1, I10, I11."""

from collections.abc import Iterable

from pointsman_sim.history import Violation
from pointsman_sim.parts.worker_part import WorkerProcess
from pointsman_sim.world.dice import MS
from pointsman_wire.session_messages import Result
from pointsman_workers.core.lifecycle import FIRST_TERMINAL, MOVES, JobState
from pointsman_workers.core.state import Job

# Timers are kept in buckets of 64 ms, and a turn may come a little later.
OVERDUE_NS = 250 * MS
AT_NODE = (JobState.DISPATCHED, JobState.RUNNING)


def reachable() -> frozenset[tuple[JobState, JobState]]:
    """Return every (before, after) that the picture of a job's life allows within one turn."""
    moves = {(state, end) for (state, _verb), end in MOVES.items()}
    found = {(state, state) for state in JobState}
    for _ in JobState:
        found |= {(first, end) for first, last in found for state, end in moves if state is last}
    return frozenset(found)


REACHABLE = reachable()


class ShardBooks:
    """What one worker's jobs were after its last turn."""

    def __init__(self, process: WorkerProcess) -> None:
        self.life = process.life
        # Has this life been seen to be settled?
        self.was_settled = False
        self._name = process.name
        self._core = process.core
        self._shard = process.core.shard
        self._open: dict[str, tuple[Job, JobState]] = {}
        self._ended: list[tuple[Job, JobState, Result]] = []
        self._version = 0

    def judge(self) -> None:
        """Compare everything with everything."""
        self._judge_jobs()
        self._judge_ledger()
        version = self._shard.fleet.version
        if version < self._version:
            raise Violation("I6", f"{self._name} went from version {self._version} to {version}")
        self._version = version

    def _judge_jobs(self) -> None:
        shard = self._shard
        for session in shard.sessions.values():
            self._note(session.open_jobs.values())
        if sum(job.is_open for job, _ in self._open.values()) < shard.open_job_count:
            # Of sessions that were closed in this very turn, or in an earlier life.
            bound = shard.window.by_key.values()
            self._note(job for job in bound if isinstance(job, Job) and job.is_open)
        ended: list[str] = []
        queued_count = 0
        for job_id, (job, before) in self._open.items():
            state = job.state
            if state is not before:
                if (before, state) not in REACHABLE:
                    raise Violation("I11", f"{job_id} went from {before.name} to {state.name}")
                self._open[job_id] = (job, state)
            if state >= FIRST_TERMINAL:
                ended.append(job_id)
            else:
                queued_count += job.is_queued
                self._judge_open(job)
        for job_id in ended:
            job, state = self._open.pop(job_id)
            assert job.result is not None, job_id
            self._ended.append((job, state, job.result))
        if shard.open_job_count != len(self._open):
            words = f"{self._name} counts {shard.open_job_count} open jobs, {len(self._open)} are"
            raise Violation("I1", words)
        if shard.waiting.count != queued_count:
            words = f"{self._name} counts {shard.waiting.count} waiting jobs, {queued_count} are"
            raise Violation("I1", words)

    def _note(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if job.job_id not in self._open:
                self._open[job.job_id] = (job, JobState.PENDING)

    def _judge_open(self, job: Job) -> None:
        """An open job is somewhere, and somebody will look at it in time."""
        hold = job.hold
        if job.state in AT_NODE:
            if hold is None or hold.job is not job or job.is_queued or job.is_lined:
                raise Violation("I1", f"{job.job_id} is {job.state.name} and has no hold")
            if hold.lane.holds.get((hold.epoch, hold.dispatch)) is not hold:
                raise Violation("I10", f"{job.job_id}: its lane has forgotten its hold")
            self._judge_hedge(job)
        elif hold is None and not job.is_queued and self._waits_without_timer(job):
            return
        elif hold is not None or job.hedge is not None or not self._is_kept(job):
            raise Violation("I1", f"{job.job_id} is {job.state.name} and waits nowhere")
        line = job.line
        if job.is_lined and line is not None and line.current is not job:
            if job not in line.jobs or line.current is None:
                raise Violation("I1", f"{job.job_id} waits in line for nobody")
            return
        now_ns = self._shard.now_ns
        if not job.filed_ns or job.filed_ns + OVERDUE_NS < now_ns:
            raise Violation("I1", f"{job.job_id} has no timer that will fire")

    def _waits_without_timer(self, job: Job) -> bool:
        """Does it wait for the disk, before it is placed at all, or for the shard's next life?"""
        if job.durability == "fsync" and self._shard.journal._unsynced:
            return True
        return any(shelved is job for shelved in self._shard.shelved)

    def _is_kept(self, job: Job) -> bool:
        """Is it queued, in line, or taken over, and its node has yet to report?"""
        if job.is_queued != job.is_lined:
            return True
        expected = self._core._take_over._expected.values()
        return any(found is job for found, _ in expected)

    @staticmethod
    def _judge_hedge(job: Job) -> None:
        """A second dispatch is live at another node, and has not ended."""
        hold, hedge = job.hold, job.hedge
        if hedge is None or hold is None:
            return
        if hedge.job is not job or hedge.lane is hold.lane or not job.is_hedged:
            raise Violation("I3", f"{job.job_id}: its second dispatch is not one")
        if hedge.lane.holds.get((hedge.epoch, hedge.dispatch)) is not hedge:
            raise Violation("I10", f"{job.job_id}: a lane has forgotten its second dispatch")

    def _judge_ledger(self) -> None:
        """Slots counted in the ledger are slots that holds have."""
        shard = self._shard
        own = shard.fleet.own
        held_count = 0
        for lane in shard.lanes.values():
            held = sum(hold.has_slot for hold in lane.holds.values())
            held_count += held
            counted = own.own(lane.row)
            if counted != held and (shard.is_settled or counted < held):
                words = f"{self._name} counts {counted} slots of {lane.node_id}, holds have {held}"
                raise Violation("I10", words)
        counted = sum(own.counts)
        if shard.is_settled and counted != held_count:
            words = f"{self._name} counts {counted} slots in all, holds have {held_count}"
            raise Violation("I10", words)
        if own.underflow_count:
            raise Violation("I10", f"{self._name} released a slot that it did not hold")

    def judge_ended(self) -> None:
        """What has ended stays as it ended; only a result's number may be a new one."""
        for job, state, result in self._ended:
            now = job.result
            assert now is not None
            was = (state, result.job_id, result.status)
            if (job.state, now.job_id, now.status) != was:
                raise Violation("I11", f"{job.job_id} ended {state.name}, is {job.state.name}")

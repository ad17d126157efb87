"""Outcomes: what ends a job.

finish      the one way into a terminal state
"""

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.lane_messages import NodeResult
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.session_messages import Result, Submit
from pointsman_workers.core.events import JobTraced
from pointsman_workers.core.held import extra_bytes
from pointsman_workers.core.lifecycle import AFTER, STATUS, JobState
from pointsman_workers.core.shard import MILLISECOND_NS, Shard
from pointsman_workers.core.state import Hold, Job
from pointsman_workers.desks.counting import is_fault_of_service
from pointsman_workers.desks.placing import PlacingDesk
from pointsman_workers.desks.sessions import SessionDesk
from pointsman_workers.journal.book import FSYNC
from pointsman_workers.ordering.delivering import is_newest

_FORGOTTEN = Submit()


def tell_trace(shard: Shard, job: Job, hold: Hold | None, result: Result) -> None:
    """Tell of a job that has just ended; `hold` was its last."""
    told = JobTraced(
        trace_id=result.trace_id,
        job_id=job.job_id,
        request_id=result.request_id,
        tenant=job.key[0],
        status=result.status,
        error_code=result.error.code if result.error is not None else "",
        node_id=result.node_id,
        attempt=job.attempt,
        failovers=job.failovers,
        placement_ns=job.placement_ns,
        lasted_ns=shard.now_ns - job.accepted_at_ns,
        ran_ns=shard.now_ns - hold.sent_at_ns if hold is not None and hold.sent_at_ns else None,
    )
    shard.outbox.commands.append(told)


_COMPLETED = JobState.COMPLETED
_END_COUNTERS: dict[int, int] = {
    JobState.COMPLETED_NO_TEXT: Counter.JOBS_COMPLETED.value,
    JobState.FAILED: Counter.JOBS_FAILED.value,
    JobState.CANCELLED: Counter.JOBS_CANCELLED.value,
    JobState.EXPIRED: Counter.JOBS_EXPIRED.value,
}


class OutcomeDesk:
    """Ends jobs."""

    def __init__(self, shard: Shard, sessions: SessionDesk, placing: PlacingDesk) -> None:
        self.shard = shard
        self.sessions = sessions
        self.placing = placing
        # With Redis: told of a job of ours that has ended, or that never ran.
        self.bound_ended: Callable[[Job], None] = self.end_safe
        self.bound_void: Callable[[Job], None] = lambda job: None

    # -- the end ------------------------------------------------------------------------------

    def finish(
        self,
        job: Job,
        verb: str,
        *,
        error: ErrorInfo | None = None,
        message: NodeResult | None = None,
        payload: bytes = b"",
    ) -> None:
        """End a job, remember it for its window, and give its client the result."""
        shard, hold, session = self.shard, job.hold, job.session
        job.state = state = AFTER[verb][job.state]
        if job.is_queued:
            shard.waiting.remove(job)
        job.hold = job.hedge = None
        job.is_lined = False
        if job.line is not None:
            shard.ready_lines[job.line] = None
        job.filed_ns = 0  # its timer finds nothing to do
        job.output = payload
        job.ended_at_ns = shard.now_ns
        shard.open_job_count -= 1
        if job.is_counted:
            shard.tenants.ended(job.key[0])
        job.result = result = self._result(job, hold, message, error)
        if result.trace_id and shard.is_traced:
            tell_trace(shard, job, hold, result)
        if job.bond is not None:  # should the end not count, it takes them to go on
            job.bond.submit, job.bond.payload = job.submit, job.payload
        job.submit, job.payload = _FORGOTTEN, b""
        session.next_result += 1
        if state is _COMPLETED:
            shard.completed_count += 1
        else:
            shard.tally[_END_COUNTERS[state]] += 1
        is_void = error is not None and job.attempt == 0 and self._may_be_repeated(error)
        # In an utterance session its key is free once it was told (UtteranceDesk).
        if job.is_own or (is_void and session.utterances is None):
            self._forget(job)
        else:
            if job.segment:
                is_written = shard.journal.ended_whole(job)
                if not is_written or job.durability == FSYNC:
                    self._leave_at_node(job, hold, message, is_written=is_written)
            # What leaves the window for it may have its node told what it has to keep.
            shard.window.keep(job, len(payload) + job.extra_bytes)
        if job.durability == FSYNC or job.bond is not None:
            self._deliver_when_safe(job, is_void=is_void)
        else:
            self.sessions.deliver(session, job)

    def _may_be_repeated(self, error: ErrorInfo) -> bool:
        """A job ended that never ran: count it, if that is our fault, and tell what is to be."""
        if is_fault_of_service(error):
            self.shard.count(Counter.SUBMITS_FAILED)
        return error.retryable

    def _forget(self, job: Job) -> None:
        """It never ran: its key is free again at once."""
        self.shard.window.unbind(job)
        if job.segment:
            self.shard.journal.ended(job, is_forgotten=True)
            self.shard.journal.forgotten(job.segment, job.arrival)

    def _deliver_when_safe(self, job: Job, *, is_void: bool) -> None:
        """Its result waits for the disk, then for the fleet, as far as they have a say in it."""
        if is_void and job.bond is not None:
            self.bound_void(job)
        act = self.end_safe if is_void or job.bond is None else self.bound_ended
        if job.durability == FSYNC:
            job.is_end_safe = False
            self.shard.journal.when_synced(partial(act, job))
        else:
            act(job)

    def end_safe(self, job: Job) -> None:
        """The result is on the disk, or counts in the fleet: told to whose the job is by now."""
        job.is_end_safe = True
        session, result = job.session, job.result
        if job.line is not None and job.bond is not None:
            self.shard.ready_lines[job.line] = None
        assert result is not None, job.job_id
        if session.utterances is None and not is_newest(session, result):
            # Others were told meanwhile, and a client skips numbers that it has passed.
            job.result = replace(result, number=session.next_result)
            session.next_result += 1
        self.sessions.deliver(session, job)

    def end_followed(self, job: Job, state: JobState, result: Result, output: bytes) -> None:
        """A job that another instance ran has ended so: remember it and give it to its client."""
        shard, session = self.shard, job.session
        job.state, job.output = state, output
        job.is_lined = False
        if job.line is not None:
            shard.ready_lines[job.line] = None
        job.filed_ns = 0
        job.ended_at_ns = shard.now_ns
        job.attempt, job.failovers = result.attempt, result.failovers
        job.result = replace(
            result,
            session_number=session.number,
            request_id=job.key[2],
            job_id=job.job_id,
            number=session.next_result,
            utterance_index=job.submit.utterance_index,
        )
        job.extra_bytes = extra_bytes(result)
        session.next_result += 1
        job.submit, job.payload = _FORGOTTEN, b""
        is_void = result.error is not None and result.error.retryable and job.attempt == 0
        if is_void and session.utterances is None:
            shard.window.unbind(job)
        else:
            shard.window.keep(job, len(output) + job.extra_bytes)
        self.sessions.deliver(session, job)

    def _leave_at_node(
        self, job: Job, hold: Hold | None, message: NodeResult | None, *, is_written: bool
    ) -> None:
        """Leave the result with its node, until the client has it or it is on the disk itself."""
        shard = self.shard
        if hold is None or message is None:
            assert is_written or not job.output, job.job_id
            return
        shard.withheld.keep(job, hold, message.number)
        if is_written:
            shard.journal.when_synced(partial(shard.withheld.release, job))

    def _result(
        self, job: Job, hold: Hold | None, message: NodeResult | None, error: ErrorInfo | None
    ) -> Result:
        """Number the outcome for the session; what is rare comes by replacing.

        The interpreter passes more than 15 keywords as a dict, for ten times the price.
        """
        shard, session = self.shard, job.session
        if message is not None and (message.meta or message.content_type):
            job.extra_bytes = extra_bytes(message)
        result = Result(
            session_number=session.number,
            request_id=job.key[2],
            job_id=job.job_id,
            number=session.next_result,
            status=STATUS[job.state],
            node_id=hold.lane.node_id if hold is not None else "",
            attempt=job.attempt,
            placement_us=job.placement_ns / 1_000,
            queued_ms=job.queued_ns / MILLISECOND_NS,
            use_semantic=hold is not None and shard.fleet.uses_semantic(job.kind, hold.lane.row),
            content_type=message.content_type if message is not None else "",
            meta=message.meta if message is not None else None,
        )
        submit = job.submit
        trace_id = submit.trace_id or session.trace_id
        is_rare = error is not None or submit.utterance_index is not None or trace_id
        if not (is_rare or job.placement is not None or job.reasons or job.is_hedged):
            return result
        return replace(
            result,
            failovers=job.failovers,
            utterance_index=submit.utterance_index,
            placement=job.placement,
            attempts=[*job.reasons],
            hedged=job.is_hedged,
            trace_id=trace_id,
            error=error,
        )

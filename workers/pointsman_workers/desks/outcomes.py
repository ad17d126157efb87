"""Outcomes: what ends a job, and who gets the slot that this frees.

finish      the one way into a terminal state
serve       freed slots and looks: waiting jobs are placed, best first
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain, islice

from msgspec.structs import replace

from pointsman_shm.memory.rows import CLASS_MASK, CLASS_SHIFT
from pointsman_shm.memory.stats_names import Counter, Timing
from pointsman_wire.lane_messages import NodeResult
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.session_messages import Result, Submit
from pointsman_workers.core.events import RingWorker
from pointsman_workers.core.lifecycle import STATUS, JobState, moved
from pointsman_workers.core.shard import MILLISECOND_NS, Shard
from pointsman_workers.core.state import Hold, Job
from pointsman_workers.desks.placing import PlacingDesk
from pointsman_workers.desks.sessions import SessionDesk
from pointsman_workers.journal.book import FSYNC
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.selection import FULL_MEMORY_NS

_FORGOTTEN = Submit()
LOOKS_A_STEP_MAX = 256
BEHIND_MAX = 16

_END_COUNTERS: dict[int, int] = {
    JobState.COMPLETED: Counter.JOBS_COMPLETED.value,
    JobState.COMPLETED_NO_TEXT: Counter.JOBS_COMPLETED.value,
    JobState.FAILED: Counter.JOBS_FAILED.value,
    JobState.CANCELLED: Counter.JOBS_CANCELLED.value,
    JobState.EXPIRED: Counter.JOBS_EXPIRED.value,
}


class OutcomeDesk:
    """Ends jobs, and hands out what they free."""

    def __init__(self, shard: Shard, sessions: SessionDesk, placing: PlacingDesk) -> None:
        self.shard = shard
        self.sessions = sessions
        self.placing = placing

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
        shard = self.shard
        hold, session = job.hold, job.session
        job.state = state = moved(job.state, verb)
        if job.is_queued:
            shard.waiting.remove(job)
        job.hold = job.hedge = None
        job.is_lined = False
        if session.line is not None:
            shard.ready_lines[session.line] = None
        job.filed_ns = 0  # its timer finds nothing to do
        job.output = payload
        job.ended_at_ns = shard.now_ns
        shard.open_job_count -= 1
        job.result = self._result(job, hold, message, error)
        job.submit, job.payload = _FORGOTTEN, b""
        session.next_result += 1
        shard.tally[_END_COUNTERS[state]] += 1
        is_void = error is not None and error.retryable and job.attempt == 0
        # In an utterance session its key is free once it was told (UtteranceDesk).
        if is_void and session.utterances is None:
            shard.window.unbind(job)  # it never ran: the key is free again at once
            if job.segment:
                shard.journal.ended(job, is_forgotten=True)
                shard.journal.forgotten(job.segment, job.arrival)
        else:
            shard.window.keep(job)
            if job.segment:
                self._write_end(job, hold, message)
        if job.durability == FSYNC:
            shard.journal.when_synced(partial(self.sessions.deliver, session, job))
        else:
            self.sessions.deliver(session, job)

    def _write_end(self, job: Job, hold: Hold | None, message: NodeResult | None) -> None:
        """Write the result down, or leave it with its node until the client has it."""
        shard = self.shard
        is_written = shard.journal.has_room_for_result(job.output)
        if is_written:
            shard.journal.ended(job, is_forgotten=False)
        if hold is None or message is None:
            assert is_written or not job.output, job.job_id
        elif not is_written:
            shard.withheld.keep(job, hold, message.number)
        elif job.durability == FSYNC:
            shard.withheld.keep(job, hold, message.number)
            shard.journal.when_synced(partial(shard.withheld.release, job))

    def _result(
        self, job: Job, hold: Hold | None, message: NodeResult | None, error: ErrorInfo | None
    ) -> Result:
        """Number the outcome for the session; what is rare comes by replacing.

        The interpreter passes more than 15 keywords as a dict, for ten times the price.
        """
        shard, session = self.shard, job.session
        result = Result(
            session_number=session.number,
            request_id=job.key[2],
            job_id=job.job_id,
            number=session.next_result,
            status=STATUS[job.state],
            node_id=hold.lane.node_id if hold is not None else "",
            attempt=job.attempt,
            failovers=job.failovers,
            placement_us=job.placement_ns / 1_000,
            queued_ms=job.queued_ns / MILLISECOND_NS,
            use_semantic=hold is not None and shard.fleet.uses_semantic(job.kind, hold.lane.row),
            content_type=message.content_type if message is not None else "",
            meta=message.meta if message is not None else None,
        )
        utterance_index = job.submit.utterance_index
        is_plain = error is None and utterance_index is None and job.placement is None
        if is_plain and not (job.reasons or job.is_hedged):
            return result
        return replace(
            result,
            utterance_index=utterance_index,
            placement=job.placement,
            attempts=[*job.reasons],
            hedged=job.is_hedged,
            error=error,
        )

    # -- the queue ---------------------------------------------------------------------------

    def serve(self) -> None:
        """Give freed slots to waiting jobs, ours or another worker's, and look where it is time."""
        shard = self.shard
        freed, shard.freed_rows = shard.freed_rows, {}
        waiting = shard.waiting
        if waiting.count or shard.worker_count > 1:
            for row in freed:
                self._offer(row)
        if not waiting.count:
            return
        budget = LOOKS_A_STEP_MAX
        for kind in tuple(waiting.kinds):
            shard.fleet.prepare(kind)
            if kind.walk is not None or kind.full_until_ns <= shard.now_ns:
                budget = self._look(kind, budget)

    def _offer(self, row: int) -> None:
        """One slot of this row is free: who has waited longest gets it."""
        shard = self.shard
        number = shard.fleet.standing[row] >> CLASS_SHIFT & CLASS_MASK
        able = [
            kind
            for kind in shard.waiting.kinds
            if number < len(kind.codes) and kind.codes[number] == 0
        ]
        best = shard.waiting.best_first(able) if able else []
        if shard.worker_count > 1:
            elsewhere = shard.waiting.oldest_elsewhere(number)
            if elsewhere and (not best or elsewhere[0] < best[0].accepted_at_ns):
                shard.outbox.commands.append(RingWorker(elsewhere[1], number))
                return
        for job in chain(best, self._behind(best)):
            if self.placing.place_on(job, row):
                self._note_served(job)
                return

    def _behind(self, heads: list[Job]) -> Iterator[Job]:
        """A few of those who wait behind a head that could not have the slot: perhaps they can."""
        for kind in dict.fromkeys(job.kind for job in heads):
            for job in islice(self.shard.waiting.jobs(kind), BEHIND_MAX):
                if job not in heads:
                    yield job

    def _look(self, kind: Kind, budget: int) -> int:
        """Place the waiting jobs of a kind until one finds nobody."""
        for job in self.shard.waiting.jobs(kind):
            if budget <= 0:
                break
            budget -= 1
            if self.placing.place(job):
                self._note_served(job)
            elif not self.placing.is_apart(job):
                break  # all after it would fail too
        # A job with exclusions leaves the kind's memory alone; the next look still has its time.
        kind.full_until_ns = max(kind.full_until_ns, self.shard.now_ns + FULL_MEMORY_NS)
        return budget

    def _note_served(self, job: Job) -> None:
        self.shard.observe(Timing.QUEUE_WAIT, job.queued_ns)

    def rung(self, class_number: int) -> None:
        """Another worker freed a slot of this class and it is our turn: look at once."""
        for kind in self.shard.waiting.kinds:
            self.shard.fleet.prepare(kind)
            if class_number < len(kind.codes) and kind.codes[class_number] == 0:
                kind.full_until_ns = 0

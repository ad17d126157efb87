"""Attempts: what becomes of a job that was handed to a node, and when it goes to another one.

complete          the node's result, from a live dispatch only
fail_over         an attempt is over without a result: another node, within the budget
capacity_refused  the node had no room after all: another node, and no attempt was lost
timed             nothing was heard in time
cancel            the client wants no result any more

An attempt is one dispatch of a job to one node.  Whatever a node says of an older dispatch is
dropped, always: its hold has left the lane or names no job any more.  The slot of a dispatch that
was given up stays counted until the node confirms, its lane is gone, or it reports without it.

A job that fails by itself on several nodes, or takes several down with it, is poison: it ends, so
that it does not walk through the whole fleet.  What says something of the node and nothing of the
job (it was not read, was refused, or a model was missing) is not held against the job.
"""

from collections.abc import Callable

from msgspec.structs import replace

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.errors import MEANINGS, Code, code_of
from pointsman_wire.lane_messages import CancelJob, NodeResult
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_workers.core.lifecycle import JobState, moved
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Blame, Cause, Failure, Hold, Job
from pointsman_workers.core.timers import NEVER_NS
from pointsman_workers.desks.outcomes import OutcomeDesk
from pointsman_workers.desks.poison import PoisonDesk
from pointsman_workers.desks.refusing import cancelled
from pointsman_workers.ordering.serial import SerialDesk
from pointsman_workers.placement.kinds import PRIORITY_RANK, Kind

CAPACITY_REFUSALS_MAX = 100
SAID_LENGTH_MAX = 1_000  # of what a node says in words: a result tells it of each attempt


_COUNTERS = {
    Cause.NO_ACK: Counter.FAILOVERS_NO_ACK,
    Cause.NO_RESULT: Counter.FAILOVERS_NO_RESULT,
    Cause.NODE_LOST: Counter.FAILOVERS_NODE_LOST,
    Cause.NODE_REFUSAL: Counter.FAILOVERS_NODE_REFUSAL,
    Cause.NODE_ERROR: Counter.FAILOVERS_NODE_ERROR,
    Cause.LANE_BROKEN: Counter.FAILOVERS_LANE_BROKEN,
}
# What a node says of itself when it could not run a job.
_OF_THE_NODE = frozenset(
    {
        Code.MODEL_NOT_AVAILABLE,
        Code.MODEL_LOAD_FAILED,
        Code.NODE_OVERLOADED,
        Code.NODE_UNAVAILABLE,
    }
)
_FINAL_HINT = "Its node says that no other will do better: see the message."


class AttemptDesk:
    """Everything that happens to dispatched jobs."""

    def __init__(self, shard: Shard, outcomes: OutcomeDesk, serial: SerialDesk) -> None:
        self.shard = shard
        self.outcomes = outcomes
        self.placing = serial.placing
        self.poison = PoisonDesk(shard)
        self.serial = serial
        # With Redis: what is done with jobs that other instances run.
        self.cancel_followed: Callable[[Job], None] = lambda job: None
        self.followed_timed: Callable[[Job], None] = lambda job: None

    # -- results -----------------------------------------------------------------------------

    def complete(self, hold: Hold, message: NodeResult, payload: bytes) -> None:
        """The node of a live dispatch has ended the job; its slot was freed by the caller."""
        job = hold.job
        assert job is not None, hold.job_id
        hold.is_started = True  # a result implies the acknowledgement
        status = message.status
        if status == "completed":
            if job.hedge is not None:
                self._win(job, hold)
            pace, now_ns = job.kind.pace, self.shard.now_ns
            # What was already seen of its node at this instant stands for this one as well.
            if pace is None or pace.known.get(hold.lane.row) != now_ns:
                self._learn(hold, job.kind, now_ns)
            if self.placing.hedging is not None and hold.sent_at_ns:
                self.placing.hedging.observe(job.kind.requirement.types, now_ns - hold.sent_at_ns)
            self.outcomes.finish(job, "complete", message=message, payload=payload)
        elif status == "completed_no_text":
            self._win(job, hold)
            self.outcomes.finish(job, "complete_no_text", message=message, payload=payload)
        elif status == "failed" and not is_retryable(message):
            self._win(job, hold)
            self.outcomes.finish(job, "fail", error=_final(hold, message), message=message)
        else:
            self.fail_over(hold, _failure_of(message))

    def _learn(self, hold: Hold, kind: Kind, now_ns: int) -> None:
        """So long the node took for what this worker has sent it."""
        if hold.sent_at_ns:
            pace = kind.pace or self.shard.fleet.begin_pace(kind)
            if pace is not None:
                pace.observe(hold.lane.row, now_ns - hold.sent_at_ns, now_ns)

    def _win(self, job: Job, hold: Hold) -> None:
        """This dispatch decides the job: the other one, if there is one, is fenced and stopped."""
        other = job.hedge if hold is job.hold else job.hold
        if other is not None:
            self.shard.count(Counter.HEDGES_WON, int(hold is job.hedge))
        job.hold, job.hedge = hold, None
        if other is not None:
            self.cancel_hold(other, "another dispatch of the job was faster")

    # -- failure -----------------------------------------------------------------------------

    def fail_over(self, hold: Hold, failure: Failure) -> None:
        """The dispatch is over without a result: try another node, within the budget.

        The caller has freed the slot or left it cancelling; whatever the old node still says is
        an older dispatch's and is dropped.
        """
        job = hold.job
        assert job is not None, hold.job_id
        node_id = hold.lane.node_id
        failure = replace(failure, reason=failure.reason[:SAID_LENGTH_MAX])
        why = f"attempt {job.attempt} on {node_id}: {failure.cause.value}: {failure.reason}"
        job.reasons += (why,)
        if failure.excludes_node:
            _add_node(job, node_id)
        if failure.blame is not Blame.NONE and node_id not in job.blamed_on:
            job.blamed_on += (node_id,)
        job.crash_count += failure.blame is Blame.CRASHED
        if self.poison.is_poison(job):
            self._end_poison(hold, job)
        elif not self._goes_on_elsewhere(hold, job):
            self._try_again(job, failure)

    def _try_again(self, job: Job, failure: Failure) -> None:
        shard = self.shard
        if job.is_own or job.failovers >= shard.config.jobs.failovers_max:
            text = f"the job failed on {job.attempt} attempts, last: {failure.reason}"
            error = error_info(failure.code, text, attempts=[*job.reasons])
            self.outcomes.finish(job, "fail", error=error)
            return
        job.failovers += 1
        shard.count(Counter.FAILOVERS)
        shard.count(_COUNTERS[failure.cause])
        self._requeue(job)

    def _end_poison(self, hold: Hold, job: Job) -> None:
        other = job.hedge if hold is job.hold else job.hold
        error = self.poison.note(job)
        self.outcomes.finish(job, "fail", error=error)
        if other is not None:
            self.cancel_hold(other, "the job is poison")

    def _goes_on_elsewhere(self, hold: Hold, job: Job) -> bool:
        """Is a second dispatch of the job at work, which is now the only one?"""
        other = job.hedge if hold is job.hold else job.hold
        if other is None:
            return False
        job.hold, job.hedge = other, None
        self.placing.rearm(job)
        return True

    def capacity_refused(self, hold: Hold, reason: str) -> None:
        """The node had no room after all: not the job's failure, but try elsewhere first."""
        self.shard.count(Counter.NODE_CAPACITY_REFUSALS)
        job = hold.job
        assert job is not None, hold.job_id
        job.capacity_refusals += 1
        if job.capacity_refusals > CAPACITY_REFUSALS_MAX:
            self.fail_over(hold, Failure(Cause.NODE_REFUSAL, reason, Code.NODE_OVERLOADED))
            return
        _add_node(job, hold.lane.node_id)
        if not self._goes_on_elsewhere(hold, job):
            self._requeue(job)

    def has_no_room(self, hold: Hold) -> None:
        """The home of the node had no slot for us: it was never an attempt at all."""
        self.shard.count(Counter.HOME_REFUSALS)
        job = hold.job
        assert job is not None, hold.job_id
        if hold.is_our_turn:
            self.shard.waiting.unserve(job.key[0], PRIORITY_RANK[job.submit.priority])
        if self._goes_on_elsewhere(hold, job):
            return
        job.attempt -= 1
        waits_until_ns = job.wait_until_ns
        self._requeue(job)
        if job.is_queued and self.shard.now_ns < waits_until_ns < job.wait_until_ns:
            job.wait_until_ns = waits_until_ns  # it has waited all along
            self.placing.rearm(job)

    def _requeue(self, job: Job) -> None:
        job.hold = None
        job.state = moved(job.state, "requeue")
        if job.line is not None:
            self.serial.again(job.line, job)
        elif not self.placing.place(job):
            self.placing.wait(job)

    def cancel_hold(self, hold: Hold, reason: str) -> None:
        """Tell the node to stop; the slot stays counted until it confirms or is gone."""
        hold.is_cancelling = True
        hold.job = None
        if hold.lane.connection is not None:
            message = CancelJob(
                job_id=hold.job_id, epoch=hold.epoch, dispatch=hold.dispatch, reason=reason
            )
            self.shard.outbox.send(hold.lane.connection, message)

    # -- ends that no node has said ------------------------------------------------------------

    def cancel(self, job: Job) -> None:
        """The client wants no result any more."""
        if job.is_followed:
            self.cancel_followed(job)
            return
        holds = (job.hold, job.hedge)
        error = cancelled(job.reasons)
        self.outcomes.finish(job, "cancel", error=error)
        self._stop(holds, error.message)

    def _stop(self, holds: tuple[Hold | None, ...], reason: str) -> None:
        for hold in holds:
            if hold is not None:
                self.cancel_hold(hold, reason)

    def give_away(self, job: Job) -> None:
        """Another instance runs the job: nothing of it goes on here."""
        shard = self.shard
        holds = (job.hold, job.hedge)
        job.hold = job.hedge = None
        job.hedge_at_ns = job.wait_until_ns = 0
        if job.state is not JobState.PENDING:
            job.state = moved(job.state, "requeue")
        if job.is_queued:
            shard.waiting.remove(job)
        shard.open_job_count -= 1
        if job.is_counted:
            job.is_counted = False
            shard.tenants.ended(job.key[0])
        shard.journal.left(job)
        self._stop(holds, "another instance has taken the job over")

    def timed(self, job: Job) -> None:
        """The job's timer fired: expire it, fail it over, or file it again."""
        now_ns = self.shard.now_ns
        if not job.is_open:
            return
        if job.is_followed:
            self.followed_timed(job)
            return
        due_ns = self.placing.next_due_ns(job)
        if due_ns > now_ns:
            if due_ns < NEVER_NS:
                self.shard.file(job, due_ns)
        elif job.ends_at_ns and job.ends_at_ns <= now_ns:
            text = "the job's deadline passed"
            holds = (job.hold, job.hedge)
            error = error_info(Code.JOB_TIMEOUT, text, attempts=[*job.reasons])
            self.outcomes.finish(job, "expire", error=error)
            self._stop(holds, text)
        elif job.is_lined:
            self.outcomes.finish(job, "expire", error=self.serial.expired(job))
        elif job.hold is None:
            self.outcomes.finish(job, "expire", error=self.placing.nobody(job))
        else:
            self._look_at(job)

    def _look_at(self, job: Job) -> None:
        """Give up the dispatches whose time is over, and file what is left."""
        now_ns = self.shard.now_ns
        for hold in (job.hold, job.hedge):
            if hold is not None and hold.job is job and self.placing.due_ns(job, hold) <= now_ns:
                self._give_up(job, hold)
        if job.hold is not None and 0 < job.hedge_at_ns <= now_ns:
            job.hedge_at_ns = 0  # one try: what is busy now has better things to do
            if job.hedge is None:
                self.placing.hedge(job)
        if job.hold is not None:
            self.placing.rearm(job)

    def _give_up(self, job: Job, hold: Hold) -> None:
        waited, cause, blame = "acknowledgement", Cause.NO_ACK, Blame.NONE
        if hold.is_started:
            waited, cause, blame = "result", Cause.NO_RESULT, Blame.FAILED
        seconds = (self.shard.now_ns - max(hold.sent_at_ns, hold.alive_at_ns)) / SECOND_NS
        reason = f"no {waited} within {seconds:.1f} s"
        failure = Failure(cause, reason, Code.JOB_TIMEOUT, blame)
        self.cancel_hold(hold, reason)
        hold.job = job  # for as long as it takes to let it go
        self.fail_over(hold, failure)
        hold.job = None


def lost_with(hold: Hold, reason: str) -> Failure:
    """A node is gone that had the job: what that says of the job.

    One that drains goes by itself, and what was not started yet cannot have brought it down.
    """
    is_crash = hold.is_started and not hold.lane.is_leaving
    blame = Blame.CRASHED if is_crash else Blame.NONE
    return Failure(Cause.NODE_LOST, reason, Code.NODE_UNAVAILABLE, blame)


def missing_in_report(hold: Hold) -> Failure:
    """A node is back without the job: it never arrived, or went down with the node's process."""
    if hold.is_started:
        return lost_with(hold, "the node has started anew and does not have it any more")
    reason = "the lane broke, and the node does not have it"
    return Failure(Cause.LANE_BROKEN, reason, Code.NODE_UNAVAILABLE, excludes_node=False)


def _failure_of(message: NodeResult) -> Failure:
    code = code_of(message.code) or Code.INTERNAL_ERROR
    is_own = message.status == "failed" and message.code not in _OF_THE_NODE
    blame = Blame.FAILED if is_own else Blame.NONE
    return Failure(Cause.NODE_ERROR, _words(message), code, blame)


def _final(hold: Hold, message: NodeResult) -> ErrorInfo:
    """What a client is told of a job that its node calls failed for good."""
    job, code = hold.job, code_of(message.code) or Code.INTERNAL_ERROR
    assert job is not None, hold.job_id
    text = f"{hold.lane.node_id}: {_words(message)[:SAID_LENGTH_MAX]}"
    error = error_info(code, text, attempts=[*job.reasons])
    return replace(error, retryable=False, hint=_FINAL_HINT) if error.retryable else error


def _words(message: NodeResult) -> str:
    """What went wrong, with the code if it is the node's own: clients get one that they know."""
    is_own = message.code and code_of(message.code) is None
    if message.message and is_own:
        return f"{message.code}: {message.message}"
    return message.message or message.code or message.status


def _add_node(job: Job, node_id: str) -> None:
    job.is_choosy = True
    if node_id not in job.failed_nodes:
        job.failed_nodes += (node_id,)


def is_retryable(message: NodeResult) -> bool:
    """May another node do better?  A code that is final stays so, whatever the node says of it."""
    code = code_of(message.code)
    if code is not None and not MEANINGS[code].retryable:
        return False
    return code is not None if message.retryable is None else message.retryable

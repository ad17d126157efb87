"""Following: a job that another instance runs, for a client that is here.

A follower is a job record like any other, in the window and in its session, that is never placed
and holds no slot.  It asks the job's owner for the result (Attach), and binds its key again every
few seconds until it has it: so a lost message or a dead owner heals.  When the owner's lease has
lapsed that makes the job ours, under the same job id and a higher fence; then it is placed.
"""

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.instance_messages import Attach, AttachAnswer
from pointsman_wire.coordination.requests import Bound, Owner
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import SendInstance
from pointsman_workers.core.lifecycle import STATUS, JobState, moved
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Job
from pointsman_workers.sharing.keys.binding import OURS
from pointsman_workers.sharing.keys.bond import Bond, Standing
from pointsman_workers.sharing.keys.keeping import decode_result

if TYPE_CHECKING:
    from pointsman_workers.sharing.sharing import Sharing

AGAIN_NS = 5 * SECOND_NS
# A job that has ended, and whose result its owner does not give: it may be starting anew.
RESULT_WAIT_NS = 10 * SECOND_NS
OWNER_AWAY_RETRY_MS = 5_000
_VERBS = {
    STATUS[state]: verb
    for state, verb in (
        (JobState.COMPLETED, "hear_complete"),
        (JobState.COMPLETED_NO_TEXT, "hear_complete_no_text"),
        (JobState.FAILED, "fail"),
        (JobState.CANCELLED, "cancel"),
        (JobState.EXPIRED, "expire"),
    )
}


class FollowingDesk:
    """Fetches results of jobs that run elsewhere."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing

    def begin(self, job: Job, answer: Bound) -> None:
        """Follow a job whose record stands in the window already."""
        self.shard.count(Counter.JOBS_FOLLOWED)
        self._heard(job, _bond(job), answer)

    def timed(self, job: Job) -> None:
        """Its timer fired: its deadline has passed, or its key is to be bound again."""
        shard = self.shard
        if job.ends_at_ns and job.ends_at_ns <= shard.now_ns:
            error = error_info(Code.JOB_TIMEOUT, "the job's deadline passed")
            self._end_here(job, JobState.EXPIRED, error)
            return
        self._ask_again(job)

    def _ask_again(self, job: Job) -> None:
        bond = _bond(job)
        self._file(job)
        if not self.sharing.buckets.is_open(bond.bucket):
            return
        asked_at_ns = self.shard.fleet.clock_ns
        act = partial(self._answered, job, bond, asked_at_ns)
        self.sharing.binding.ask_again(job, bond.bucket, act)

    def _file(self, job: Job) -> None:
        due_ns = self.shard.now_ns + AGAIN_NS
        self.shard.file(job, min(due_ns, job.ends_at_ns) if job.ends_at_ns else due_ns)

    def _answered(self, job: Job, bond: Bond, asked_at_ns: int, answer: Bound) -> None:
        """The answer to a Bind: where the job stands now."""
        if job.bond is not bond or not bond.is_following or not job.is_open:
            if answer.outcome in OURS and not self.sharing.is_ours(job.key):
                self.sharing.ending.release(job.key, answer.fence)
            return
        if answer.outcome in OURS and bond.ended_since_ns:
            # It has ended, and its window is over: it is not run again for a result that is gone.
            self.sharing.ending.release(job.key, answer.fence)
            error = error_info(Code.NOT_FOUND, "the job has ended, and its result is not kept")
            self._end_here(job, JobState.FAILED, error)
        elif answer.outcome in OURS:
            self._take_up(job, bond, answer, asked_at_ns)
        elif answer.outcome == "frozen":
            self.sharing.buckets.found_frozen(bond.bucket)
        elif answer.outcome in ("follows", "ended"):
            self._heard(job, bond, answer)
        elif answer.outcome == "conflict":
            error = error_info(Code.CONFLICT, "the request is bound to another payload meanwhile")
            self._end_here(job, JobState.FAILED, error)

    def _heard(self, job: Job, bond: Bond, answer: Bound) -> None:
        bond.owner = answer.owner
        if answer.outcome == "ended":
            kept = decode_result(answer.result)
            if kept is not None:
                self.ended(job, kept.result, kept.output)
                return
            if self._is_given_up(job, bond):
                return
        self._attach(job, bond)
        self._file(job)

    def _is_given_up(self, job: Job, bond: Bond) -> bool:
        """It has ended, and its result is with its owner, which may be away.

        Then its client is told so, and may ask again: the key is not kept here.
        """
        bond.ended_since_ns = bond.ended_since_ns or self.shard.now_ns
        is_late = self.shard.now_ns - bond.ended_since_ns >= RESULT_WAIT_NS
        owner = bond.owner
        if owner is None:
            return False
        if owner == self.sharing.book.owner:
            words = "the job has ended, and its result is no longer kept"
            error = error_info(Code.NOT_FOUND, words)
        elif is_late or self._is_gone(owner):
            words = (
                f"the job has ended at instance {owner.instance}, which is away and has its "
                "result; ask again when it is back"
            )
            code, retry_after_ms = Code.SCHEDULER_DEPENDENCY_DOWN, OWNER_AWAY_RETRY_MS
            error = error_info(code, words, retry_after_ms=retry_after_ms)
        else:
            return False
        self._end_here(job, JobState.FAILED, error)
        return True

    def _is_gone(self, owner: Owner) -> bool:
        """Does our manager know that the instance is not there?"""
        others = self.shard.fleet.snapshot.policy.instances
        record = next((other for other in others if other.name == owner.instance), None)
        return record is not None and (not record.alive or record.uid != owner.uid)

    def _attach(self, job: Job, bond: Bond) -> None:
        owner = bond.owner
        if owner is None or owner == self.sharing.book.owner:
            return
        tenant, session_id, request_id = job.key
        attach = Attach(
            tenant=tenant,
            session_id=session_id,
            request_id=request_id,
            job_id=job.job_id,
            cancel=bond.is_cancelled,
        )
        self.shard.outbox.commands.append(SendInstance(owner.instance, owner.shard, attach))

    # -- what the owner says -------------------------------------------------------------------

    def told(self, answer: AttachAnswer, payload: bytes) -> None:
        """The owner answers, at once or when the job has ended."""
        job = self.shard.window.find((answer.tenant, answer.session_id, answer.request_id))
        if job is None or not job.is_open or job.bond is None or not job.bond.is_following:
            return
        if answer.job_id != job.job_id:
            return
        if answer.state == "ended" and answer.result is not None:
            self.ended(job, answer.result, payload)
        elif answer.state == "unknown" and not job.bond.ended_since_ns:
            self.shard.file(job, self.shard.now_ns + SECOND_NS)  # it frees the key, then binds
        elif answer.state == "unknown":
            error = error_info(Code.NOT_FOUND, "the job has ended, and its result is not kept")
            self._end_here(job, JobState.FAILED, error)

    def cancel(self, job: Job) -> None:
        """The client wants no result any more: its owner is told, and says how it ended."""
        bond = _bond(job)
        bond.is_cancelled = True
        self._attach(job, bond)

    def ended(self, job: Job, result: Result, output: bytes) -> None:
        """The job has ended elsewhere: this is its result."""
        verb = _VERBS.get(result.status)
        if verb is None:
            words = f"its owner says that it ended {result.status!r}"
            self._end_here(job, JobState.FAILED, error_info(Code.INTERNAL_ERROR, words))
            return
        self.sharing.outcomes.end_followed(job, moved(job.state, verb), result, output)
        _bond(job).standing = Standing.OVER

    def _end_here(self, job: Job, state: JobState, error: ErrorInfo) -> None:
        result = Result(request_id=job.key[2], job_id=job.job_id, status=STATUS[state], error=error)
        self.ended(job, result, b"")

    # -- changes of owner ------------------------------------------------------------------------

    def _take_up(self, job: Job, bond: Bond, answer: Bound, asked_at_ns: int) -> None:
        """The job is ours now."""
        self.shard.count(Counter.JOBS_TAKEN_OVER)
        bond.take(answer, asked_at_ns, job.attempt)
        job.job_id = answer.job_id
        self.sharing.jobs.take_up(job)
        self.sharing.leases.add(job)
        if bond.is_cancelled:
            self.sharing.attempts.cancel(job)

    def step_back(self, job: Job) -> None:
        """An open job of ours is another instance's: stop it here and follow it."""
        bond = _bond(job)
        self.shard.count(Counter.JOBS_FENCED)
        self.sharing.leases.forget(job)
        bond.standing, bond.owner = Standing.FOLLOWING, None
        self.sharing.attempts.give_away(job)
        self._ask_again(job)

    def follow_instead(self, job: Job) -> None:
        """A job has ended here after it became another instance's: its result does not count."""
        bond = _bond(job)
        self.shard.count(Counter.JOBS_FENCED)
        self.shard.count(Counter.STALE_RESULTS)
        submit, payload = bond.submit, bond.payload
        assert submit is not None, job.job_id
        shard = self.shard
        shard.last_arrival += 1
        follower = replace(
            job,
            submit=submit,
            payload=payload,
            arrival=shard.last_arrival,
            segment=0,
            state=JobState.PENDING,
            is_end_safe=True,
            result=None,
            output=b"",
            ended_at_ns=0,
            wait_until_ns=0,
            bond=Bond(standing=Standing.FOLLOWING, bucket=bond.bucket),
        )
        bond.submit, bond.payload = None, b""
        bond.standing = Standing.OVER
        shard.window.replace(job, follower)
        shard.journal.left(job)
        job.session.open_jobs[job.key[2]] = follower
        if job.line is not None and job.line.current is job:
            job.line.current = follower
        self._ask_again(follower)


def _bond(job: Job) -> Bond:
    bond = job.bond
    assert bond is not None, job.job_id
    return bond

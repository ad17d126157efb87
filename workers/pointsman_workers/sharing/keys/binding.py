"""Binding: a new job's key is bound in the fleet before anything else is done with the job.

    begin     the job is made; its key is asked for
    repeat    the same request comes again meanwhile, on any connection: it waits as well
    settled   ours: it is placed, waits, or is refused, as without Redis; another instance's: it is
              followed; no answer: the policy decides

Nothing is written or promised before the answer.  Two submits of a serial session are settled in
the order in which they came, whatever the order of their answers.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import Bind, Bound, RequestKey
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import Submit
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Key, Line, Peer, Session
from pointsman_workers.desks.refusing import cancelled
from pointsman_workers.journal.book import REDIS
from pointsman_workers.journal.entries import JobKept
from pointsman_workers.sharing.keys.bond import Bond, Standing
from pointsman_workers.sharing.keys.keeping import encode_kept

if TYPE_CHECKING:
    from pointsman_workers.sharing.sharing import Sharing

PENDING_MAX = 50_000
REPEATS_MAX = 1_000  # of one request
RETRY_MS = 1_000
FENCE_BITS = 32
OURS = frozenset({"won", "mine", "taken_over"})


class Pending(msgspec.Struct, eq=False, kw_only=True):
    """A job whose key is being bound."""

    peer: Peer
    job: Job
    key: RequestKey
    bucket: int
    fence: int
    asked_at_ns: int = 0  # by the clock: a lease counts from here
    answer: Bound | None = None
    is_withdrawn: bool = False
    may_be_bound: bool = False  # it was proposed before, and no answer came
    repeats: list[tuple[Peer, Submit]] = []


class BindingDesk:
    """Binds keys."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing
        self._pending: dict[Key, Pending] = {}
        self._lines: dict[Line, deque[Pending]] = {}
        self._unread: dict[Session, list[Pending]] = {}  # wait for what is known of their session
        self._fence = shard.setup.epoch << FENCE_BITS
        settings = shard.setup.sharing
        self._is_local = settings is not None and settings.is_local

    @property
    def pending_count(self) -> int:
        """Jobs whose key is being bound."""
        return len(self._pending)

    def is_pending(self, key: Key) -> bool:
        """Is this key being bound?"""
        return key in self._pending

    def next_fence(self) -> int:
        """A proposal above all that this worker, or a predecessor, has made."""
        self._fence += 1
        return self._fence

    # -- submits -------------------------------------------------------------------------------

    def begin(self, peer: Peer, job: Job) -> None:
        """Ask for the key of a job that was just made."""
        if len(self._pending) >= PENDING_MAX:
            text = f"{PENDING_MAX} requests wait for Redis"
            error = error_info(Code.QUEUE_FULL, text, retry_after_ms=RETRY_MS)
            self.sharing.jobs.refuse(peer, job.submit, error)
            return
        key = RequestKey(*job.key)
        bucket = bucket_of(key)
        proposed = self.sharing.unknown.proposal(job.key)
        job.job_id = proposed or job.job_id
        pending = Pending(peer=peer, job=job, key=key, bucket=bucket, fence=self.next_fence())
        pending.may_be_bound = bool(proposed)
        self._pending[job.key] = pending
        job.session.binding_count += 1
        if job.line is not None:
            self._lines.setdefault(job.line, deque(maxlen=PENDING_MAX)).append(pending)
        if self.sharing.buckets.is_open(bucket):  # nearly always
            self._ask(pending, True)
        else:
            self.sharing.buckets.when_open(bucket, partial(self._ask, pending))

    def _ask(self, pending: Pending, is_open: bool) -> None:
        if not is_open:
            self._answered(pending, Bound(number=0, outcome="frozen"))
            return
        pending.asked_at_ns = self.shard.fleet.clock_ns
        place = pending.key, pending.bucket, pending.fence
        self.bind(place, pending.job, partial(self._answered, pending), _kept(pending.job))

    def ask_again(self, job: Job, bucket: int, act: Callable[[Bound], None]) -> None:
        """Ask for the key of a job that stands here, under a higher fence than before."""
        self.bind((RequestKey(*job.key), bucket, self.next_fence()), job, act, _kept(job))

    def bind(
        self,
        place: tuple[RequestKey, int, int],
        job: Job | JobKept,
        act: Callable[[Bound], None],
        keep: bytes | None = None,
    ) -> None:
        """Ask for the key of a job; `place` is the key, its bucket and the fence.

        `keep` is what another instance needs to run the job, if Redis is to have that.
        """
        book, (key, bucket, fence) = self.sharing.book, place
        request = Bind(
            book.next_number(),
            key=key,
            job_id=job.job_id,
            body=job.body,
            owner=book.owner,
            fence=fence,
            keep=keep,
            seen=book.seen(bucket),
        )
        book.ask(request, act, bucket)

    def repeat(self, key: Key, peer: Peer, submit: Submit, body: int) -> None:
        """The same request again, while its key is being bound."""
        pending = self._pending[key]
        if pending.job.body != body:
            text = f"request {key[2]!r} was submitted before with another payload"
            self.sharing.jobs.refuse(peer, submit, error_info(Code.CONFLICT, text))
        elif len(pending.repeats) >= REPEATS_MAX:
            text = f"{REPEATS_MAX} submits of request {key[2]!r} wait for its job already"
            error = error_info(Code.QUEUE_FULL, text, retry_after_ms=RETRY_MS)
            self.sharing.jobs.refuse(peer, submit, error)
        else:
            pending.repeats.append((peer, submit))

    def withdraw(self, session: Session, request_id: str) -> bool:
        """The client cancels a request whose key is being bound: False when it is not."""
        pending = self._pending.get((session.tenant, session.session_id, request_id))
        if pending is None:
            return False
        if pending.is_withdrawn and not pending.repeats:
            return False
        error = cancelled()
        if pending.is_withdrawn:
            self._refuse_repeats(pending, error)
        else:
            self._refuse_all(pending, error)
        pending.is_withdrawn = True
        pending.repeats = []
        return True

    # -- answers -------------------------------------------------------------------------------

    def _answered(self, pending: Pending, answer: Bound) -> None:
        pending.answer = answer
        session = pending.job.session
        if self.sharing.sessions.is_being_read(session):
            self._unread.setdefault(session, []).append(pending)
            return
        self._advance(pending)

    def session_was_read(self, session: Session) -> None:
        """What is known of the session is here: go on with its jobs."""
        for pending in self._unread.pop(session, ()):
            if self._pending.get(pending.job.key) is pending:  # not settled with one before it
                self._advance(pending)

    def _advance(self, pending: Pending) -> None:
        line = pending.job.line
        if line is None:
            self._settle(pending)
            return
        queue = self._lines[line]
        while queue and queue[0].answer is not None:
            self._settle(queue.popleft())
        if not queue:
            del self._lines[line]

    def _settle(self, pending: Pending) -> None:
        session = pending.job.session
        session.binding_count -= 1
        self._go_on(pending)
        if session.is_closing:
            self.sharing.jobs.sessions.end_if_done(session)

    def _go_on(self, pending: Pending) -> None:
        job, answer = pending.job, pending.answer
        assert answer is not None, job.job_id
        del self._pending[job.key]
        self._note_trouble(pending, answer)
        if pending.is_withdrawn or job.session.is_closed:
            if answer.outcome in OURS:
                self.sharing.ending.release(job.key, answer.fence)
            self._begin_anew(pending)
        elif answer.outcome in OURS:
            self._take(pending, answer)
        elif answer.outcome in ("follows", "ended"):
            self._follow(pending, answer)
        elif answer.outcome == "conflict":
            text = f"request {job.key[2]!r} was submitted before with another payload"
            self._refuse_all(pending, error_info(Code.CONFLICT, text))
        else:
            self._without_redis(pending, answer)

    def _begin_anew(self, pending: Pending) -> None:
        """Nobody waits for this job any more, but the same request has come since: that is new."""
        for peer, submit in pending.repeats:
            if peer.connection in self.shard.peers:
                self.sharing.jobs.create_job(peer, submit, pending.job.payload)

    def _note_trouble(self, pending: Pending, answer: Bound) -> None:
        if answer.outcome == "frozen" and answer.number:
            self.sharing.buckets.found_frozen(pending.bucket)
        if answer.outcome == "unknown" or (
            pending.may_be_bound and answer.outcome in ("down", "frozen")
        ):
            self.sharing.unknown.note(pending.job.key, pending.job.job_id)

    def _take(self, pending: Pending, answer: Bound) -> None:
        """The key is ours: go on with the job as if nobody else were there."""
        job = pending.job
        job.job_id = answer.job_id
        job.bond = Bond(standing=Standing.BOUND, bucket=pending.bucket)
        job.bond.take(answer, pending.asked_at_ns, job.attempt)
        self._start(pending)

    def _start(self, pending: Pending) -> None:
        job, jobs = pending.job, self.sharing.jobs
        self.shard.fleet.prepare(job.kind)
        error = jobs.start(pending.peer, job)
        if error is None:
            self.sharing.leases.add(job)
            self._attach_repeats(pending)
            return
        self._refuse_repeats(pending, error)
        bond = job.bond
        if bond is not None and bond.standing is Standing.BOUND:
            self.sharing.ending.release(job.key, bond.fence)

    def _attach_repeats(self, pending: Pending) -> None:
        for peer, submit in pending.repeats:
            if submit.session_number in peer.sessions:
                self.sharing.jobs.repeat(peer, submit, pending.job)

    def _follow(self, pending: Pending, answer: Bound) -> None:
        """Another instance has the job, or it has ended: its result is fetched."""
        job = pending.job
        job.job_id = answer.job_id
        job.bond = Bond(standing=Standing.FOLLOWING, bucket=pending.bucket, owner=answer.owner)
        self.sharing.jobs.follow(pending.peer, job)
        self._attach_repeats(pending)
        self.sharing.following.begin(job, answer)

    def _without_redis(self, pending: Pending, answer: Bound) -> None:
        job = pending.job
        self.shard.count(Counter.BINDS_WITHOUT_REDIS)
        if not self._is_local or job.durability == REDIS:
            self._refuse_all(pending, down(answer))
            return
        job.bond = Bond(standing=Standing.LOCAL, bucket=pending.bucket, fence=pending.fence)
        self._start(pending)

    def _refuse_all(self, pending: Pending, error: ErrorInfo) -> None:
        job = pending.job
        self.sharing.jobs.refuse(pending.peer, job.submit, error, job.session)
        self._refuse_repeats(pending, error)

    def _refuse_repeats(self, pending: Pending, error: ErrorInfo) -> None:
        for peer, submit in pending.repeats:
            self.sharing.jobs.refuse(peer, submit, error)


def _kept(job: Job) -> bytes | None:
    return encode_kept(job) if job.durability == REDIS and job.is_open else None


def down(answer: Bound) -> ErrorInfo:
    """Why nothing new is taken, for a client."""
    if answer.outcome == "frozen":
        text = "Redis has forgotten bindings, which are being published again"
    else:
        text = f"Redis is needed, and not to be had: {answer.error or 'it was not asked'}"
    return error_info(Code.SCHEDULER_DEPENDENCY_DOWN, text, retry_after_ms=RETRY_MS)

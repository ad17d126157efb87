"""Leases: keys of jobs that live long are renewed, and those that nobody is sure of bound again.

A binding is renewed when a third of its lease is over, and with it goes where its job stands, if
that has changed: a job that is done sooner costs nothing more.  A job is unsure after a restart
(its journal knows it, Redis may know better), when its key was missing, and when it was accepted
without Redis.  It goes on meanwhile; but what is to be dispatched *anew* waits for the answer, or
for as long as a submit may wait.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import (
    BINDINGS_PER_REQUEST_MAX,
    Bound,
    Held,
    Move,
    Moved,
    MoveTarget,
    Renew,
    Renewed,
    RequestKey,
)
from pointsman_workers.core.lifecycle import JobState
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Job, Key
from pointsman_workers.sharing.keys.binding import OURS
from pointsman_workers.sharing.keys.bond import Bond, Standing

if TYPE_CHECKING:
    from pointsman_workers.sharing.sharing import Sharing

ASKED_A_TICK_MAX = 1_000
SECOND_TICKS = 10
WAIT_NS = 300_000_000  # so long something new waits for a key that is unsure
# A node starts what it accepts: what Redis calls ACCEPTED is passed over.
SHARED_STATES: dict[JobState, MoveTarget] = {
    JobState.PENDING: "CREATED",
    JobState.ASSIGNED: "CREATED",
    JobState.DISPATCHED: "DISPATCHED",
    JobState.RUNNING: "RUNNING",
}


class Doubt(msgspec.Struct, eq=False, kw_only=True):
    """A job of which nobody is sure whose it is."""

    job: Job
    bond: Bond
    until_ns: int  # then what waits goes on all the same
    is_asked: bool = False
    acts: list[Callable[[], None]] = []


class LeaseDesk:
    """Keeps bindings alive."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing
        settings = shard.setup.sharing
        assert settings is not None
        self._owner = sharing.book.owner
        self._third_ns = int(settings.lease_s * SECOND_NS) // 3
        # Bound jobs by when they were last renewed: those that are due stand first.
        self._leased: dict[Key, Job] = {}
        self._doubts: dict[Key, Doubt] = {}
        self._ticks = 0

    @property
    def doubt_count(self) -> int:
        """Jobs that are unsure."""
        return len(self._doubts)

    def add(self, job: Job) -> None:
        """A job's key was bound, or accepted without Redis."""
        bond = job.bond
        if bond is None or not job.is_open:
            return
        bucket = self.sharing.buckets.buckets[bond.bucket]
        bucket.bound[job.key] = job
        if bond.standing is Standing.BOUND:
            self._leased[job.key] = job
        else:
            self._doubt(job, bond)

    def forget(self, job: Job) -> None:
        """The job has ended, or is another instance's."""
        bond = job.bond
        if bond is None:
            return
        bound = self.sharing.buckets.buckets[bond.bucket].bound
        if bound.get(job.key) is job:
            del bound[job.key]
        if self._leased.get(job.key) is job:
            del self._leased[job.key]

    # -- doubts ----------------------------------------------------------------------------------

    def recovered(self, job: Job) -> None:
        """A predecessor's journal has this job, open or ended: is it still ours?"""
        job.bond = bond = Bond(standing=Standing.UNSURE, bucket=bucket_of(RequestKey(*job.key)))
        self.sharing.buckets.buckets[bond.bucket].bound[job.key] = job
        self._doubt(job, bond)

    def _doubt(self, job: Job, bond: Bond) -> Doubt:
        doubt = self._doubts.get(job.key)
        if doubt is None or doubt.job is not job:
            doubt = Doubt(job=job, bond=bond, until_ns=self.shard.now_ns + WAIT_NS)
            self._doubts[job.key] = doubt
        return doubt

    def when_sure(self, job: Job, act: Callable[[], None]) -> None:
        """Do this once it is known whose the job is, or nobody says so in time."""
        doubt = self._doubts.get(job.key)
        if doubt is None or doubt.job is not job or doubt.until_ns <= self.shard.now_ns:
            act()
        else:
            doubt.acts.append(act)

    def lost(self, key: Key) -> None:
        """Somebody else has a key that we believed to have, or nobody has it: ask."""
        job = self.sharing.job_of(key)
        if job is None or job.bond is None or job.bond.standing is not Standing.BOUND:
            return
        self._leased.pop(key, None)
        job.bond.standing = Standing.UNSURE
        job.bond.is_renewing = False
        self._doubt(job, job.bond)

    def tick(self) -> None:
        """Ask of what is unsure, and renew what is due; ten times a second."""
        now_ns = self.shard.now_ns
        asked = 0
        for doubt in [*self._doubts.values()]:
            if doubt.acts and doubt.until_ns <= now_ns:
                self._act(doubt)
            if asked < ASKED_A_TICK_MAX and not doubt.is_asked:
                asked += self._ask(doubt)
            if asked and not self.sharing.book.is_up:
                break  # one will tell
        self._ticks = (self._ticks + 1) % SECOND_TICKS
        if self.sharing.book.is_up or not self._ticks:
            self._renew()

    def _ask(self, doubt: Doubt) -> bool:
        job, bond = doubt.job, doubt.bond
        if not self.sharing.buckets.is_open(bond.bucket):
            return False
        doubt.is_asked = True
        asked_at_ns = self.shard.fleet.clock_ns
        act = partial(self._answered, doubt, asked_at_ns)
        self.sharing.binding.ask_again(job, bond.bucket, act)
        return True

    def _answered(self, doubt: Doubt, asked_at_ns: int, answer: Bound) -> None:
        doubt.is_asked = False
        job, bond = doubt.job, doubt.bond
        if answer.outcome in ("down", "unknown", "frozen"):
            if answer.outcome == "frozen":
                self.sharing.buckets.found_frozen(bond.bucket)
            return
        if self._doubts.get(job.key) is doubt:
            del self._doubts[job.key]
        was_local = bond.standing is Standing.LOCAL
        if answer.outcome in OURS and answer.job_id == job.job_id:
            self._is_ours(job, bond, answer, asked_at_ns)
        elif answer.outcome == "ended" and not job.is_open and answer.owner == self._owner:
            self.sharing.ending.known(job)  # it was told, and the answer was lost
        elif was_local or answer.job_id != job.job_id:
            self._is_double(job, bond, answer)
        elif job.is_open:
            self.sharing.following.step_back(job)
        else:
            self.sharing.ending.disproved(job)
        self._act(doubt)

    def _is_ours(self, job: Job, bond: Bond, answer: Bound, asked_at_ns: int) -> None:
        bond.take(answer, asked_at_ns, job.attempt)
        if job.is_open:
            self.add(job)
        else:
            self.sharing.ending.end_again(job)

    def _is_double(self, job: Job, bond: Bond, answer: Bound) -> None:
        """Another job of the same key exists: each of the two clients gets its own result."""
        if answer.outcome in OURS:  # a lost job of ours has the key: nobody else runs it
            self.sharing.ending.release(job.key, answer.fence)
            self._doubt(job, bond)  # this one gets it next
            return
        owner = answer.owner.member if answer.owner is not None else "another instance"
        self.sharing.report_duplicate(job, f"{owner} has job {answer.job_id} of it")
        self.forget(job)
        bond.standing = Standing.OVER
        self.sharing.ending.known(job)

    def _act(self, doubt: Doubt) -> None:
        acts, doubt.acts = doubt.acts, []
        for act in acts:
            act()

    # -- farewell ------------------------------------------------------------------------------

    def say_farewell(self, jobs: Iterable[Job]) -> None:
        """These wait, and will not be begun in this life: whoever is asked for them may run them.

        What runs is not given up: its nodes go on, and keep the results for our next life.
        """
        by_bucket: dict[int, list[Held]] = {}
        for job in jobs:
            bond = job.bond
            if bond is None or bond.standing is not Standing.BOUND or job.hold is not None:
                continue
            self._leased.pop(job.key, None)
            by_bucket.setdefault(bond.bucket, []).append(Held(RequestKey(*job.key), bond.fence))
            self.sharing.attaching.farewell(job)
        book = self.sharing.book
        for bucket, held in by_bucket.items():
            for at in range(0, len(held), BINDINGS_PER_REQUEST_MAX):
                part = tuple(held[at : at + BINDINGS_PER_REQUEST_MAX])
                number, seen = book.next_number(), book.seen(bucket)
                request = Renew(
                    number, bucket=bucket, owner=book.owner, held=part, lapses=True, seen=seen
                )
                book.ask(request, _no_matter, bucket)  # unheard, the leases lapse by themselves

    # -- renewing --------------------------------------------------------------------------------

    def _renew(self) -> None:
        """Renew what is due, a request for each bucket."""
        clock_ns, leased = self.shard.fleet.clock_ns, self._leased
        by_bucket: dict[int, list[Job]] = {}
        for job in islice(leased.values(), ASKED_A_TICK_MAX):
            bond = job.bond
            assert bond is not None, job.job_id
            if clock_ns - bond.leased_at_ns < self._third_ns:
                break
            jobs = by_bucket.setdefault(bond.bucket, [])
            if len(jobs) < BINDINGS_PER_REQUEST_MAX and not bond.is_renewing:
                jobs.append(job)
        for bucket, jobs in by_bucket.items():
            if jobs and self.sharing.buckets.is_open(bucket):
                self._ask_to_renew(bucket, jobs)

    def _ask_to_renew(self, bucket: int, jobs: list[Job]) -> None:
        book = self.sharing.book
        held = []
        for job in jobs:
            assert job.bond is not None, job.job_id
            job.bond.is_renewing = True
            held.append(Held(RequestKey(*job.key), job.bond.fence))
        request = Renew(
            book.next_number(),
            bucket=bucket,
            owner=book.owner,
            held=tuple(held),
            seen=book.seen(bucket),
        )
        self.shard.count(Counter.LEASES_RENEWED, len(jobs))
        act: deque[Job] = deque(jobs, maxlen=len(jobs))
        book.ask(request, partial(self._renewed, act, self.shard.fleet.clock_ns), bucket)
        for job in jobs:
            self._tell_state(job, bucket)

    def _tell_state(self, job: Job, bucket: int) -> None:
        """Tell where the job stands, if that is not what was told last."""
        bond, book = job.bond, self.sharing.book
        assert bond is not None, job.job_id
        attempt, state = bond.attempts_before + job.attempt, SHARED_STATES.get(job.state)
        if state is None:
            return  # it has ended, and that is told in a way of its own
        targets: list[MoveTarget] = ["CREATED"] if attempt != bond.attempt else []
        if state != "CREATED" and (targets or state != bond.state):
            targets.append(state)
        for target in targets:
            request = Move(
                book.next_number(),
                key=RequestKey(*job.key),
                owner=book.owner,
                fence=bond.fence,
                attempt=attempt,
                to=target,
                seen=book.seen(bucket),
            )
            book.ask(request, partial(_moved, bond, attempt), bucket)

    def _renewed(self, jobs: deque[Job], asked_at_ns: int, answer: Renewed) -> None:
        gone: set[Key] = {*answer.lost, *answer.missing}
        for job in jobs:
            bond = job.bond
            if bond is None or self._leased.get(job.key) is not job:
                continue
            bond.is_renewing = False
            if answer.outcome != "done" or job.key in gone:
                continue
            bond.leased_at_ns = asked_at_ns
            self._leased[job.key] = self._leased.pop(job.key)
        for key in gone:
            self.lost((key[0], key[1], key[2]))


def _moved(bond: Bond, attempt: int, answer: Moved) -> None:
    """Note what Redis knows now; what it refused is another's, as the renewal finds out."""
    if answer.outcome == "done":
        bond.state, bond.attempt = answer.state, attempt


def _no_matter(_: Renewed) -> None:
    """Nothing follows from this answer."""

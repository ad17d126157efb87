"""Ending: a job's end is told to the fleet, and only then to its client.

    End      it has ended: the key stays bound for the window, with the result at durability redis
    Release  it never ran: its key is free again at once

A result counts if the key is still ours.  Who was too slow, or away, learns here that another
instance has taken the job over: its result is discarded, and the job is followed (fenced).  While
Redis does not answer, a result is given out as long as our lease certainly holds by our own clock;
after that it waits.  An end that has no answer is told again until it has one.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import End, Ended, Release, RequestKey
from pointsman_workers.core.lifecycle import JobState
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Job, Key, Session
from pointsman_workers.journal.book import REDIS
from pointsman_workers.sharing.keys.bond import Bond, Standing
from pointsman_workers.sharing.keys.buckets import EndedKey
from pointsman_workers.sharing.keys.keeping import encode_result

if TYPE_CHECKING:
    from pointsman_workers.sharing.sharing import Sharing

# Above it the oldest whose client has its result is no longer told: its lease lapses by itself.
UNTOLD_MAX = 100_000
LOOKED_AT_MAX = 64  # so many a time; what waits for its client's sake was accepted before
# Of results that their clients have not read, these go to Redis when we are stopped.
LEFT_MAX = 1_000
LEFT_BYTES_MAX = 64 * 1024  # each
TOLD_AGAIN_A_TICK_MAX = 256
LEASE_MARGIN = 0.8  # of a lease that was not renewed, this much is certainly left to us
_GOOD = (JobState.COMPLETED, JobState.COMPLETED_NO_TEXT)


class Ending(msgspec.Struct, eq=False, kw_only=True):
    """The end of a job of ours, until the fleet knows of it."""

    job: Job
    bond: Bond
    is_told: bool = False  # the client has the result
    is_asked: bool = False


def _unread(sessions: Iterable[Session]) -> Iterator[Job]:
    """Ended jobs whose clients may not have their results."""
    for session in sessions:
        yield from session.unread.values()
        for item in (session.held or {}).values():
            if isinstance(item, Job):
                yield item


def _no_matter(_: Ended) -> None:
    """Where it is not left, its clients wait for our next life."""


class EndingDesk:
    """Tells the fleet what has ended."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing
        self.deliver: Callable[[Job], None] = lambda job: None  # gives a result to its client
        self._untold: dict[Key, Ending] = {}
        self._unreleased: dict[Key, int] = {}  # with the fence
        settings = shard.setup.sharing
        assert settings is not None
        self._lease_ns = int(settings.lease_s * SECOND_NS)
        self._window_s = shard.config.jobs.window_s

    @property
    def owes_results(self) -> bool:
        """Are there results that clients get only when the fleet knows of their ends?"""
        return any(not ending.is_told for ending in self._untold.values())

    @property
    def untold_count(self) -> int:
        """Ends and releases that have no answer yet."""
        return len(self._untold) + len(self._unreleased)

    # -- ends ------------------------------------------------------------------------------------

    def end(self, job: Job) -> None:
        """A job of ours has ended, and its result is safe here: tell the fleet, then its client."""
        bond = job.bond
        assert bond is not None, job.job_id
        ending = Ending(job=job, bond=bond)
        if bond.standing is Standing.OVER:  # its key is another job's, which was reported
            self._give_out(ending)
            return
        if len(self._untold) >= UNTOLD_MAX:
            self._make_room()
        self._untold[job.key] = ending
        if bond.standing is Standing.BOUND:
            job.is_end_safe = False
            self._tell(ending)
        elif bond.standing is Standing.UNSURE:
            job.is_end_safe = False
            self.sharing.leases.when_sure(job, partial(self._is_sure, ending))
        else:
            self._give_out(ending)  # accepted without Redis: nobody else can say anything of it

    def _make_room(self) -> None:
        """Give up telling of an end; one whose client waits for its result goes to the back."""
        for key in [*islice(self._untold, LOOKED_AT_MAX)]:
            ending = self._untold.pop(key)
            if ending.is_told:
                return
            self._untold[key] = ending

    def release_job(self, job: Job) -> None:
        """A job of ours has ended without ever having run: its key is free again."""
        bond = job.bond
        assert bond is not None, job.job_id
        self.sharing.leases.forget(job)
        bond.submit, bond.payload = None, b""
        if bond.standing is Standing.BOUND:
            self.release(job.key, bond.fence)
        bond.standing = Standing.OVER
        self.sharing.attaching.ended(job)

    def end_again(self, job: Job) -> None:
        """A job that has ended is ours after all: tell the fleet."""
        ending = self._untold.get(job.key)
        if ending is None or ending.job is not job:
            assert job.bond is not None, job.job_id
            self.release(job.key, job.bond.fence)  # it never ran
        elif ending.is_told:
            self._tell(ending)

    def known(self, job: Job) -> None:
        """The fleet knows that the job has ended, or never will."""
        ending = self._untold.get(job.key)
        if ending is not None and ending.job is job:
            del self._untold[job.key]
            self._give_out(ending)
            self._remember(ending)

    def disproved(self, job: Job) -> None:
        """A job that has ended here is another instance's."""
        ending = self._untold.get(job.key)
        if ending is not None and ending.job is job:
            del self._untold[job.key]
            self._fenced(ending)

    def _is_sure(self, ending: Ending) -> None:
        if ending.bond.standing is Standing.BOUND:
            self._tell(ending)
        elif ending.bond.standing is Standing.UNSURE:
            self._give_out(ending)

    def _tell(self, ending: Ending) -> None:
        job, book, bond = ending.job, self.sharing.book, ending.bond
        ending.is_asked = True
        request = self._end_of(job, bond)
        book.ask(request, partial(self._answered, ending), bond.bucket)

    def _end_of(self, job: Job, bond: Bond) -> End:
        book = self.sharing.book
        is_left = self.shard.is_stopping and len(job.output) <= LEFT_BYTES_MAX
        return End(
            book.next_number(),
            key=RequestKey(*job.key),
            owner=book.owner,
            fence=bond.fence,
            ok=job.state in _GOOD,
            keep_s=self._window_s,
            result=encode_result(job) if is_left or job.durability == REDIS else None,
            seen=book.seen(bond.bucket),
        )

    def leave_results(self) -> None:
        """We are being stopped: what clients have not read they may ask others for."""
        for job in islice(_unread(self.shard.sessions.values()), LEFT_MAX):
            bond = job.bond
            if bond is None or bond.standing is not Standing.OVER or not bond.fence:
                continue
            if job.durability != REDIS and len(job.output) <= LEFT_BYTES_MAX:
                self.sharing.book.ask(self._end_of(job, bond), _no_matter, bond.bucket)

    def _answered(self, ending: Ending, answer: Ended) -> None:
        ending.is_asked = False
        if answer.outcome in ("down", "unknown"):
            if self._is_leased(ending.bond):
                self._give_out(ending)
            return  # told again, see tick
        if self._untold.get(ending.job.key) is ending:
            del self._untold[ending.job.key]
        if answer.outcome == "fenced":
            self._fenced(ending)
            return
        self._give_out(ending)
        self._remember(ending)

    def _is_leased(self, bond: Bond) -> bool:
        age_ns = self.shard.fleet.clock_ns - bond.leased_at_ns
        return age_ns < self._lease_ns * LEASE_MARGIN

    def _give_out(self, ending: Ending) -> None:
        if ending.is_told:
            return
        ending.is_told = True
        ending.bond.submit, ending.bond.payload = None, b""
        self.deliver(ending.job)
        self.sharing.attaching.ended(ending.job)

    def _remember(self, ending: Ending) -> None:
        job, bond = ending.job, ending.bond
        self.sharing.leases.forget(job)
        bond.standing = Standing.OVER
        is_good = job.state in _GOOD
        ended = EndedKey(job.key, job.job_id, job.body, bond.fence, is_good, self.shard.now_ns)
        self.sharing.buckets.buckets[bond.bucket].ended.append(ended)

    def _fenced(self, ending: Ending) -> None:
        self.sharing.leases.forget(ending.job)
        self.sharing.attaching.forget(ending.job.key)
        if ending.is_told:
            # It was given out while Redis was away: the other one's is a second result.
            self.sharing.report_duplicate(ending.job, "its result was given out already")
            ending.bond.standing = Standing.OVER
        else:
            self.sharing.following.follow_instead(ending.job)

    def is_ending(self, key: Key) -> bool:
        """Is there a job of this key whose end the fleet does not know yet?"""
        return key in self._untold

    # -- keys that are free again ----------------------------------------------------------------

    def release(self, key: Key, fence: int) -> None:
        """The job of a key of ours never ran."""
        if len(self._unreleased) >= UNTOLD_MAX:
            self._unreleased.pop(next(iter(self._unreleased)))
        self._unreleased[key] = fence
        self._tell_release(key, fence)

    def _tell_release(self, key: Key, fence: int) -> None:
        book, bucket = self.sharing.book, bucket_of(RequestKey(*key))
        request = Release(
            book.next_number(),
            key=RequestKey(*key),
            owner=book.owner,
            fence=fence,
            seen=book.seen(bucket),
        )
        book.ask(request, partial(self._released, key, fence), bucket)

    def _released(self, key: Key, fence: int, answer: Ended) -> None:
        if answer.outcome in ("down", "unknown"):
            return
        if self._unreleased.get(key) == fence:
            del self._unreleased[key]

    # -- what had no answer ------------------------------------------------------------------------

    def tick(self) -> None:
        """Tell again what had no answer; once a second."""
        untold = [ending for ending in self._untold.values() if not ending.is_asked]
        for ending in untold[: TOLD_AGAIN_A_TICK_MAX if self.sharing.book.is_up else 1]:
            if ending.bond.standing is Standing.BOUND:
                self._tell(ending)
                self.shard.count(Counter.ENDS_TOLD_AGAIN)
            elif ending.is_told and self.sharing.job_of(ending.job.key) is not ending.job:
                del self._untold[ending.job.key]  # forgotten here, so it holds no key any more
                self.sharing.leases.forget(ending.job)
        for key, fence in [*islice(self._unreleased.items(), TOLD_AGAIN_A_TICK_MAX)]:
            self._tell_release(key, fence)
            if not self.sharing.book.is_up:
                return  # one will tell when Redis is back

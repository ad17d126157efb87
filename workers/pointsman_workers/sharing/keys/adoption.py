"""Adoption: jobs of durability `redis` whose instance is gone are run here, for any client.

The binding of such a job holds what it takes to run it.  Each worker asks of one bucket after the
other which of those bindings have lapsed, and binds what belongs to its own shard of sessions: of
several that try, the script lets one win, so no further lock is needed.  The result is stored with
the binding, where the client finds it, whatever instance it comes to.

Jobs of a serial session stand in a line here as well, in the order of their acceptance; and of all
living instances only one tries, so that no two of them run at the same time.  They are found as
the round comes by their buckets, and as their leases lapse.  So from the first one on all are
waited for that their owner may have renewed last, and bound in the order of their fences, which
is the one in which their owner has bound them.
"""

from functools import partial
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.keys import BUCKET_COUNT, bucket_of
from pointsman_wire.coordination.requests import Bind, Bound, Kept, KeptFound, Lookup, RequestKey
from pointsman_wire.shards import shard_of
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Job, Key, Session
from pointsman_workers.journal.book import REDIS
from pointsman_workers.ordering.orders import line_of
from pointsman_workers.sharing.keys.binding import OURS
from pointsman_workers.sharing.keys.bond import Bond, Standing
from pointsman_workers.sharing.keys.keeping import KeptJob, decode_kept

if TYPE_CHECKING:
    from pointsman_workers.sharing.sharing import Sharing

TICK_NS = SECOND_NS // 10
GATHERED_MAX = 100_000  # found jobs of serial sessions that wait for others of theirs


class Gathering(msgspec.Struct, eq=False, kw_only=True):
    """Jobs of a serial session that were found, until all of them are."""

    until_ns: int
    fences: dict[RequestKey, int] = {}


class AdoptionDesk:
    """Looks for jobs that nobody runs."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing
        self._bucket = 0
        self._gathered: dict[tuple[str, str], Gathering] = {}  # by session, the oldest first
        self._gathered_count = 0
        settings = shard.setup.sharing
        assert settings is not None
        # Who owns several renews each when a third of its lease is over: so far apart they lapse.
        lease_ns = int(settings.lease_s * SECOND_NS)
        self._gather_ns = lease_ns // 3 + (BUCKET_COUNT + 10) * TICK_NS

    def tick(self) -> None:
        """Ask about one bucket; ten times a second."""
        if self.shard.is_stopping:
            return
        self._bind_gathered()
        self._bucket = (self._bucket + 1) % BUCKET_COUNT
        bucket, book = self._bucket, self.sharing.book
        if self.sharing.buckets.is_open(bucket):
            request = Kept(
                book.next_number(), bucket=bucket, owner=book.owner, seen=book.seen(bucket)
            )
            book.ask(request, partial(self._found, bucket), bucket)

    def _found(self, bucket: int, answer: KeptFound) -> None:
        for key in answer.keys:
            is_here = shard_of(key.session_id, self.shard.worker_count) == self.shard.worker_index
            if not is_here or self._is_known(key):
                continue
            gathering = self._gathered.get(key[:2])
            if gathering is None or key not in gathering.fences:
                self._look_up(bucket, key)

    def _is_known(self, key: RequestKey) -> bool:
        """Has it come here meanwhile, for its client?"""
        return self.sharing.is_ours(key) or self.shard.window.find(key) is not None

    def _look_up(self, bucket: int, key: RequestKey, *, is_turn: bool = False) -> None:
        book = self.sharing.book
        request = Lookup(book.next_number(), key=key, owner=book.owner, seen=book.seen(bucket))
        book.ask(request, partial(self._looked_up, bucket, key, is_turn), bucket)

    def _looked_up(self, bucket: int, key: RequestKey, is_turn: bool, answer: Bound) -> None:
        if answer.outcome not in ("lapsed", "mine"):
            return
        kept = decode_kept(answer.keep)
        if kept is None or self._is_known(key):
            return
        if kept.is_serial and not is_turn:
            self._gather(key, answer.fence)
            return
        book, asked_at_ns = self.sharing.book, self.shard.fleet.clock_ns
        request = Bind(
            book.next_number(),
            key=key,
            job_id=answer.job_id,
            body=answer.body,
            owner=book.owner,
            fence=self.sharing.binding.next_fence(),
            keep=answer.keep,
            seen=book.seen(bucket),
        )
        book.ask(request, partial(self._bound, bucket, key, kept, asked_at_ns), bucket)

    def _gather(self, key: RequestKey, fence: int) -> None:
        if self._gathered_count >= GATHERED_MAX:
            return  # it is found again
        gathering = self._gathered.get(key[:2])
        if gathering is None:
            gathering = Gathering(until_ns=self.shard.now_ns + self._gather_ns)
            self._gathered[key[:2]] = gathering
        gathering.fences[key] = fence
        self._gathered_count += 1

    def _bind_gathered(self) -> None:
        """Of some sessions all have been found: bind them, the oldest first."""
        while self._gathered:
            whose, gathering = next(iter(self._gathered.items()))
            if gathering.until_ns > self.shard.now_ns:
                return
            del self._gathered[whose]
            fences = gathering.fences
            self._gathered_count -= len(fences)
            if self._is_heir(whose):  # else who is binds them
                for key in sorted(fences, key=fences.__getitem__):
                    self._look_up(bucket_of(key), key, is_turn=True)

    def _is_heir(self, whose: tuple[str, str]) -> bool:
        """Are we, of all living instances, the one for this session?"""
        own, others = self.shard.setup.instance, self.shard.fleet.snapshot.policy.instances
        living = [own, *(other.name for other in others if other.alive)]
        return max(living, key=lambda name: crc32("/".join((name, *whose)).encode())) == own

    def _bound(
        self, bucket: int, key: RequestKey, kept: KeptJob, asked_at_ns: int, answer: Bound
    ) -> None:
        if answer.outcome == "won":
            # Its owner has given it up since we looked, and told its client so.
            self.sharing.ending.release(key, answer.fence)
            return
        if answer.outcome not in OURS:
            return
        if self._is_known(key):
            return
        self.shard.count(Counter.JOBS_ADOPTED)
        job = self._job((key.tenant, key.session_id, key.request_id), kept, answer)
        job.bond = Bond(standing=Standing.BOUND, bucket=bucket)
        job.bond.take(answer, asked_at_ns, job.attempt)
        self.shard.window.bind(job)
        self.sharing.leases.add(job)
        if job.line is not None:
            self.sharing.jobs.serial.append(job.line, job)
        self.sharing.jobs.take_up(job)

    def _job(self, key: Key, kept: KeptJob, answer: Bound) -> Job:
        shard, now_ns = self.shard, self.shard.now_ns
        session = shard.sessions.get(key[:2]) or Session(
            tenant=key[0], session_id=key[1], resume_token="", peer=None, is_closed=True
        )
        shard.last_arrival += 1
        submit = kept.submit
        job = Job(
            job_id=answer.job_id,
            key=key,
            session=session,
            submit=submit,
            payload=kept.payload,
            body=answer.body,
            kind=shard.kinds.of(kept.requirement),
            arrival=shard.last_arrival,
            accepted_at_ns=now_ns,
            durability=REDIS,
            timeout_ns=kept.timeout_ns,
        )
        if submit.deadline_s is not None:
            job.ends_at_ns = now_ns + int(submit.deadline_s * SECOND_NS)
        if kept.is_serial:
            job.line = line_of(key[:2], shard.lines)
        session.open_jobs[key[2]] = job
        return job

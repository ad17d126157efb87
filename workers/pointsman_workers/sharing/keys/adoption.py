"""Adoption: jobs of durability `redis` whose instance is gone are run here, for any client.

The binding of such a job holds what it takes to run it.  Each worker asks of one bucket after the
other which of those bindings have lapsed, and binds what belongs to its own shard of sessions: of
several that try, the script lets one win, so no further lock is needed.  The result is stored with
the binding, where the client finds it, whatever instance it comes to.

Jobs of a serial session stand in a line here as well, in the order in which they are found; and
of all living instances only one tries, so that no two of them run at the same time.
"""

from functools import partial
from typing import TYPE_CHECKING
from zlib import crc32

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.keys import BUCKET_COUNT
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


class AdoptionDesk:
    """Looks for jobs that nobody runs."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing
        self._bucket = 0

    def tick(self) -> None:
        """Ask about one bucket; ten times a second."""
        if self.shard.is_stopping:
            return
        self._bucket = (self._bucket + 1) % BUCKET_COUNT
        bucket, book = self._bucket, self.sharing.book
        if self.sharing.buckets.is_open(bucket):
            request = Kept(
                book.next_number(), bucket=bucket, owner=book.owner, seen=book.seen(bucket)
            )
            book.ask(request, partial(self._found, bucket), bucket)

    def _found(self, bucket: int, answer: KeptFound) -> None:
        book = self.sharing.book
        for key in answer.keys:
            is_here = shard_of(key.session_id, self.shard.worker_count) == self.shard.worker_index
            if not is_here or self.sharing.is_ours(key) or self.shard.window.find(key) is not None:
                continue
            request = Lookup(book.next_number(), key=key, owner=book.owner, seen=book.seen(bucket))
            book.ask(request, partial(self._looked_up, bucket, key), bucket)

    def _looked_up(self, bucket: int, key: RequestKey, answer: Bound) -> None:
        if answer.outcome not in ("lapsed", "mine"):
            return
        kept = decode_kept(answer.keep)
        if kept is None or (kept.is_serial and not self._is_heir(key)):
            return
        if self.sharing.is_ours(key) or self.shard.window.find(key) is not None:
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

    def _is_heir(self, key: RequestKey) -> bool:
        """Are we, of all living instances, the one for this session?"""
        own, others = self.shard.setup.instance, self.shard.fleet.snapshot.policy.instances
        living = [own, *(other.name for other in others if other.alive)]
        whose = f"{key.tenant}/{key.session_id}"
        return max(living, key=lambda name: crc32(f"{name}/{whose}".encode())) == own

    def _bound(
        self, bucket: int, key: RequestKey, kept: KeptJob, asked_at_ns: int, answer: Bound
    ) -> None:
        if answer.outcome == "won":
            # Its owner has given it up since we looked, and told its client so.
            self.sharing.ending.release(key, answer.fence)
            return
        if answer.outcome not in OURS:
            return
        if self.sharing.is_ours(key) or self.shard.window.find(key) is not None:
            return  # its client has come meanwhile
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

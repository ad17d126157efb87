"""The queue: jobs that wait for a slot, by kind, priority and age; told to the other workers.

Waiting jobs are never polled one by one.  A freed slot goes to the waiting job whose turn it is
(fair_queue) among those that its class can do; and every few milliseconds each waiting kind looks
once, which is the net under a lost ring.  Who frees a slot that is another worker's turn rings
that worker instead of taking it back: without this the worker that frees takes again in the same
turn, and others starve.

One turn of so many goes to the job that has waited longest, whatever its priority and tenant: so
the lowest priority moves on under any load, and no stream of new jobs starves an old one.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from pointsman_shm.config import LimitsConfig, TenantsConfig
from pointsman_shm.memory.waiting import (
    BORROWERS,
    BUCKET_COUNT,
    OwnWaiting,
    WaitingWords,
)
from pointsman_workers.core.state import Job
from pointsman_workers.core.turns.fair_queue import FairQueue
from pointsman_workers.core.turns.tenants import Tenants
from pointsman_workers.placement.kinds import PRIORITY_RANK, Kind

OLDEST_TURN = 16
LOOKAHEAD_MAX = 512
DEAD_MAX = 64


class Turn(NamedTuple):
    """How a waiting job stands: the smallest is next.  In a turn of the oldest, only age counts."""

    rank: int
    virtual_time: int
    since_ns: int
    worker: int


class Wanted(NamedTuple):
    """What waits at other instances for slots of one row of ours."""

    want_count: int
    best: Turn
    place: int  # of the tenant of the best
    class_mask: int


class Waiting:
    """All waiting jobs of the shard."""

    def __init__(
        self,
        words: WaitingWords,
        own: OwnWaiting,
        worker_index: int,
        limits: LimitsConfig,
        tenants: Tenants,
    ) -> None:
        self._words = words
        self._own = own
        self._worker_index = worker_index
        self._limits = limits
        self._tenants = tenants
        self._order = FairQueue(words, own)
        self.kinds: dict[Kind, None] = {}  # kinds with waiting jobs, in order of arrival
        self._by_tenant: dict[str, list[int]] = {}  # [jobs, bytes]
        self._by_bucket: dict[int, dict[Kind, None]] = {}
        self._wanted: dict[int, dict[int, Wanted]] = {}  # by bucket and row
        self._bucket_by_row: dict[int, int] = {}
        self.untold: dict[int, None] = {}  # buckets that changed since the others were told
        self._turns = 0
        self.count = 0
        self.bytes = 0
        self.late_ns = 0  # what our time lacks of the clock, by which the others are told
        self.left_count = 0  # jobs that have left the queue, however: what it drains by

    def configure(self, limits: LimitsConfig) -> None:
        """Other bounds hold from now on; what waits goes on waiting."""
        self._limits = limits

    def relist(self, config: TenantsConfig, places: Sequence[int]) -> None:
        """Other rules hold for tenants; whoever has another place takes along what waits."""
        before = {tenant: self._tenants.rules(tenant) for tenant in self._by_tenant}
        for tenant, (_, held) in self._by_tenant.items():
            self._tenants.queued(tenant, -held)
        self._tenants.configure(config, places)
        for tenant, (_, held) in self._by_tenant.items():
            self._tenants.queued(tenant, held)
        now = {tenant: self._tenants.rules(tenant) for tenant in before}
        for kind in self.kinds:
            for rank, queue in enumerate(kind.queues):
                tenant = queue[0].key[0] if queue else ""
                if queue and before[tenant].place != now[tenant].place:
                    self._order.leave(before[tenant].place, rank, queue[0].arrival)
                    self._enter(queue[0], rank)
        self.retell()

    def full(self, tenant: str, size: int) -> str:
        """Say which bound one more job of this tenant and size would pass, "" if none."""
        limits = self._limits
        count, held = self._by_tenant.get(tenant, (0, 0))
        if self.count >= limits.queued_per_shard_max:
            return f"{self.count} jobs wait at this worker: limits.queued_per_shard_max"
        if count >= limits.queued_per_tenant_max:
            whose = f"of tenant {tenant!r}" if tenant else "of those that name no tenant"
            return f"{count} jobs {whose} wait at this worker: limits.queued_per_tenant_max"
        if self.bytes + size > limits.queued_bytes_max:
            return f"payloads of {self.bytes} bytes wait at this worker: limits.queued_bytes_max"
        elsewhere = self._words.queued_elsewhere(self._worker_index)
        if self.count + elsewhere >= limits.queued_per_host_max:
            return f"{self.count + elsewhere} jobs wait on this host: limits.queued_per_host_max"
        over = self._tenants.over_bytes(tenant, self._tenants.rules(tenant), held, size)
        return over.text if over is not None else ""

    def fill(self) -> float:
        """How full the queue is, 0 to 1, by the bound that is nearest."""
        limits = self._limits
        return max(self.count / limits.queued_per_shard_max, self.bytes / limits.queued_bytes_max)

    def push(self, job: Job) -> None:
        """Queue a job; it keeps its place by arrival when it comes back from a failover."""
        kind, rank = job.kind, PRIORITY_RANK[job.submit.priority]
        queue = kind.queues[rank]
        if kind not in self.kinds:
            self.kinds[kind] = None
            self._by_bucket.setdefault(kind.bucket, {})[kind] = None
        job.is_queued = True
        kind.waiting_count += 1
        if not queue:
            queue.append(job)
            self._enter(job, rank)
        elif queue[-1].arrival < job.arrival:
            queue.append(job)
        else:
            self._insert(job, rank)
        self._count(job, 1)

    def remove(self, job: Job) -> None:
        """Take a job out that was placed apart or has ended; its place is skipped later."""
        assert job.is_queued, job.job_id
        job.is_queued = False
        kind, rank = job.kind, PRIORITY_RANK[job.submit.priority]
        queue = kind.queues[rank]
        kind.waiting_count -= 1
        self._count(job, -1)
        self.left_count += 1
        if queue[0] is job:
            while queue and not queue[0].is_queued:
                queue.popleft()
            # Entered first: who has something waiting all the time keeps what it is owed.
            if queue:
                self._enter(queue[0], rank)
            self._leave(job, rank)
        elif len(queue) > DEAD_MAX + 2 * kind.waiting_count:
            self._compact(queue)
        if kind.waiting_count == 0:
            self._forget(kind)

    def serve(self, job: Job) -> None:
        """Take a job out that has got a slot: its tenant has had a turn."""
        rules = self._tenants.rules(job.key[0])
        self._order.serve(rules, PRIORITY_RANK[job.submit.priority])
        self.remove(job)

    def jobs(self, kind: Kind) -> Iterator[Job]:
        """The waiting jobs of a kind, best first, as far as it is worth while to look."""
        for queue in kind.queues:
            for job in tuple(islice(queue, LOOKAHEAD_MAX)):
                if job.is_queued:
                    yield job

    def all_jobs(self) -> list[Job]:
        """Every waiting job, those of one kind and priority in their order."""
        queues = (queue for kind in self.kinds for queue in kind.queues)
        return [job for queue in queues for job in queue if job.is_queued]

    def newest(self, rank: int, count: int) -> list[Job]:
        """Some of the waiting jobs of a priority, those of each kind that came last."""
        found: list[Job] = []
        for kind in self.kinds:
            for job in reversed(kind.queues[rank]):
                if len(found) >= count:
                    return found
                if job.is_queued:
                    found.append(job)
        return found

    # -- whose turn it is --------------------------------------------------------------------

    def next_turn_is_oldest(self) -> bool:
        """Begin the next turn; True when it is the turn of the oldest job."""
        self._turns += 1
        return self._turns % OLDEST_TURN == 0

    def candidates(self, class_number: int, *, oldest_first: bool = False) -> Iterator[Job]:
        """Waiting jobs that a class can do, one of each kind, in their turn or by age.

        Nothing may change while they are walked.
        """
        if oldest_first:
            found = [*self._in_turn(class_number)]
            found.sort(key=lambda job: job.arrival)
            return iter(found)
        return self._in_turn(class_number)

    def _in_turn(self, class_number: int) -> Iterator[Job]:
        for rank in PRIORITY_RANK.values():
            for share in self._order.in_turn(rank):
                able = (kind for _, kind in share.heads[rank] if can_do(kind, class_number))
                yield from (kind.queues[rank][0] for kind in able)

    def turn_of(self, kind: Kind) -> Turn:
        """How the best job of a waiting kind stands."""
        job = next(queue[0] for queue in kind.queues if queue)
        return self.turn_of_job(job)

    def turn_of_job(self, job: Job, *, oldest_first: bool = False) -> Turn:
        """How a waiting job stands among those of all workers."""
        if oldest_first:
            return Turn(0, 0, job.accepted_at_ns, self._worker_index)
        rank = PRIORITY_RANK[job.submit.priority]
        place = self._tenants.rules(job.key[0]).place
        tag = self._order.tag(place, rank)
        return Turn(rank, tag, job.accepted_at_ns, self._worker_index)

    def tag_of(self, tenant: str, rank: int) -> int:
        """The virtual time of a tenant whose jobs wait at another instance."""
        return self._order.tag(self._tenants.rules(tenant).place, rank)

    def begin_elsewhere(self, tenant: str, rank: int) -> None:
        """Jobs of this tenant begin to wait at another instance for slots of ours."""
        self._order.begin_elsewhere(self._tenants.rules(tenant), rank)

    def serve_elsewhere(self, tenant: str, rank: int) -> None:
        """A job of this tenant, which waited at another instance, has had its turn here."""
        self._order.serve_elsewhere(self._tenants.rules(tenant), rank)

    def unserve(self, tenant: str, rank: int) -> None:
        """A turn that this tenant was given came to nothing: it was no turn."""
        self._order.unserve(self._tenants.rules(tenant), rank)

    def want_row(self, row: int, class_number: int, wants: Iterable[tuple[str, int, int]]) -> None:
        """Tell the other workers who waits elsewhere for this row; wants: tenant, rank, since."""
        if (bucket := self._bucket_by_row.pop(row, None)) is not None:
            rows = self._wanted[bucket]
            del rows[row]
            if not rows:
                del self._wanted[bucket]
            self.untold[bucket] = None
        places = [
            (Turn(rank, self.tag_of(tenant, rank), since_ns, self._worker_index), tenant)
            for tenant, rank, since_ns in wants
        ]
        if places:
            best, tenant = min(places)
            bucket = self._bucket_by_row[row] = class_number % BUCKET_COUNT
            place = self._tenants.rules(tenant).place
            wanted = Wanted(len(places), best, place, 1 << (class_number & 63))
            self._wanted.setdefault(bucket, {})[row] = wanted
            self.untold[bucket] = None

    def is_queued_elsewhere(self, class_number: int) -> bool:
        """Does a job of this instance wait for this class at another worker?"""
        bit = 1 << (class_number & 63)
        return self.is_waited_elsewhere(bit) and any(
            there.class_mask & bit and not there.is_borrowers
            for there in self._words.others(self._worker_index)
        )

    def is_waited_elsewhere(self, class_bits: int) -> bool:
        """Does another worker wait for any of these classes (bit = number modulo 64)?"""
        words, own = self._words, self._worker_index
        return any(
            worker != own and words.worker_mask(worker) & class_bits
            for worker in range(words.worker_count)
        )

    def best_elsewhere(self, class_number: int, *, oldest_first: bool = False) -> Turn | None:
        """How the best job elsewhere stands that may want this class."""
        bit = 1 << (class_number & 63)
        if not self.is_waited_elsewhere(bit):
            return None
        tag, late_ns = self._order.tag, self.late_ns
        return min(
            (
                Turn(0, 0, there.oldest_since_ns - late_ns, there.worker)
                if oldest_first
                else Turn(
                    there.rank,
                    tag(there.place, there.rank),
                    there.oldest_since_ns - late_ns,
                    there.worker,
                )
                for there in self._words.others(self._worker_index)
                if there.class_mask & bit
            ),
            default=None,
        )

    def retell(self) -> None:
        """What classes can do has changed: tell anew which of them are waited for."""
        self.untold.update(dict.fromkeys(self._by_bucket))

    def publish(self) -> None:
        """Tell the other workers what is untold."""
        self._own.queued(self.count)
        for bucket in self.untold:
            kinds = self._by_bucket.get(bucket, {})
            wanted = self._wanted.get(bucket, {})
            if kinds or wanted:
                self._publish_bucket(bucket, kinds, wanted.values())
            else:
                self._own.publish(bucket, 0, 0, 0, 0)
        self.untold.clear()

    def _publish_bucket(
        self, bucket: int, kinds: dict[Kind, None], wanted: Iterable[Wanted]
    ) -> None:
        count = mask = 0
        since = 1 << 63
        best: Turn | None = None
        for kind in kinds:
            count += kind.waiting_count
            mask |= kind.class_mask
            since = min(since, *(queue[0].accepted_at_ns for queue in kind.queues if queue), since)
            turn = self.turn_of(kind)
            if best is None or turn < best:
                best, place = turn, self._tenants.rules(kind.requirement.tenant).place
        for row in wanted:
            count += row.want_count
            mask |= row.class_mask
            since = min(since, row.best.since_ns)
            if best is None or row.best < best:
                best, place = row.best, row.place
        assert best is not None, bucket
        borrowers = 0 if kinds else BORROWERS
        self._own.publish(
            bucket, count, since + self.late_ns, borrowers | best.rank << 16 | place, mask
        )

    # -- keeping the order -------------------------------------------------------------------

    def _count(self, job: Job, change: int) -> None:
        tenant, size = job.key[0], change * len(job.payload)
        self.count += change
        self.bytes += size
        held = self._by_tenant.get(tenant)
        if held is None:
            held = self._by_tenant[tenant] = [0, 0]
        held[0] += change
        held[1] += size
        if not held[0]:
            del self._by_tenant[tenant]
        self._tenants.queued(tenant, size)
        self.untold[job.kind.bucket] = None

    def _enter(self, job: Job, rank: int) -> None:
        self._order.enter(self._tenants.rules(job.key[0]), rank, job.arrival, job.kind)

    def _leave(self, job: Job, rank: int) -> None:
        self._order.leave(self._tenants.rules(job.key[0]).place, rank, job.arrival)

    def _insert(self, job: Job, rank: int) -> None:
        """Put a job back among those that came after it; rare, so a walk is good enough."""
        queue = job.kind.queues[rank]
        head = queue[0]
        index = next(at for at, other in enumerate(queue) if other.arrival >= job.arrival)
        if queue[index] is job:
            return  # it was placed apart from amid the queue, and its place is still there
        queue.insert(index, job)
        if index == 0:
            self._enter(job, rank)
            self._leave(head, rank)

    def _forget(self, kind: Kind) -> None:
        for queue in kind.queues:
            queue.clear()
        kind.walk = None
        del self.kinds[kind]
        sharing = self._by_bucket[kind.bucket]
        del sharing[kind]
        if not sharing:
            del self._by_bucket[kind.bucket]

    @staticmethod
    def _compact(queue: deque[Job]) -> None:
        """Drop what has left the queue amid it: a head that waits long would keep it all."""
        living = [job for job in queue if job.is_queued]
        queue.clear()
        queue.extend(living)


def can_do(kind: Kind, class_number: int) -> bool:
    """Can nodes of this capability class do a prepared kind?"""
    return class_number < len(kind.codes) and kind.codes[class_number] == 0

"""The queue: jobs that wait for a slot, by kind, priority and age; told to the other workers.

Waiting jobs are never polled one by one.  A freed slot goes to the best waiting job that its class
can do; and every few milliseconds each waiting kind looks once, which is the net under a lost ring.
Who frees a slot that an older job of another worker waits for rings that worker instead of taking
it back: without this the worker that frees takes again in the same turn, and others starve.
"""

from collections import deque
from collections.abc import Iterator

from pointsman_shm.config import LimitsConfig
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_workers.core.state import Job
from pointsman_workers.placement.kinds import PRIORITIES, PRIORITY_RANK, Kind


class Waiting:
    """All waiting jobs of the shard."""

    def __init__(self, words: WaitingWords, worker_index: int, limits: LimitsConfig) -> None:
        self._words = words
        self._own = words.own(worker_index)
        self._worker_index = worker_index
        self._limits = limits
        self.kinds: dict[Kind, None] = {}  # kinds with waiting jobs, in order of arrival
        self._by_tenant: dict[str, int] = {}
        self._by_bucket: dict[int, dict[Kind, None]] = {}
        self._told_dirty: dict[int, None] = {}
        self.count = 0

    def is_full_for(self, tenant: str) -> bool:
        """Would one more job of this tenant pass a bound?"""
        return (
            self.count >= self._limits.queued_per_shard_max
            or self._by_tenant.get(tenant, 0) >= self._limits.queued_per_tenant_max
        )

    def push(self, job: Job) -> None:
        """Queue a job; it keeps its place by arrival when it comes back from a failover."""
        kind = job.kind
        queue = kind.queues[PRIORITY_RANK[job.submit.priority]]
        if queue and queue[-1].arrival > job.arrival:
            _insert_by_arrival(queue, job)
        else:
            queue.append(job)
        if kind not in self.kinds:
            self.kinds[kind] = None
            self._by_bucket.setdefault(kind.bucket, {})[kind] = None
        job.is_queued = True
        kind.waiting_count += 1
        self.count += 1
        tenant = job.key[0]
        self._by_tenant[tenant] = self._by_tenant.get(tenant, 0) + 1
        self._told_dirty[kind.bucket] = None

    def remove(self, job: Job) -> None:
        """Take a job out, because it was placed or has ended; its place is skipped later."""
        assert job.is_queued, job.job_id
        job.is_queued = False
        kind = job.kind
        kind.waiting_count -= 1
        self.count -= 1
        tenant = job.key[0]
        left = self._by_tenant[tenant] - 1
        if left:
            self._by_tenant[tenant] = left
        else:
            del self._by_tenant[tenant]
        self._told_dirty[kind.bucket] = None
        if kind.waiting_count == 0:
            self._forget(kind)

    def _forget(self, kind: Kind) -> None:
        for queue in kind.queues:
            queue.clear()
        kind.walk = None
        del self.kinds[kind]
        sharing = self._by_bucket[kind.bucket]
        del sharing[kind]
        if not sharing:
            del self._by_bucket[kind.bucket]

    def heads(self, kind: Kind) -> Iterator[Job]:
        """The first job of each priority, highest first, skipping what has left the queue."""
        for queue in kind.queues:
            while queue and not queue[0].is_queued:
                queue.popleft()
            if queue:
                yield queue[0]

    def jobs(self, kind: Kind) -> Iterator[Job]:
        """Every waiting job of a kind, best first."""
        for queue in kind.queues:
            for job in tuple(queue):
                if job.is_queued:
                    yield job

    def best_first(self, kinds: list[Kind]) -> list[Job]:
        """The best job of each kind, highest priority first, then oldest."""
        heads = [job for kind in kinds for job in self.heads(kind)]
        heads.sort(key=lambda job: (PRIORITY_RANK[job.submit.priority], job.arrival))
        return heads

    def oldest_elsewhere(self, class_number: int) -> tuple[int, int] | None:
        """Return (since when, worker) of the oldest job elsewhere that may want this class."""
        bit = 1 << (class_number & 63)
        if not any(
            self._words.worker_mask(worker) & bit
            for worker in range(self._words.worker_count)
            if worker != self._worker_index
        ):
            return None
        return min(
            (
                (waiting.oldest_since_ns, waiting.worker)
                for waiting in self._words.others(self._worker_index)
                if waiting.class_mask & bit
            ),
            default=None,
        )

    def publish(self) -> None:
        """Tell the other workers what has changed since the last time."""
        if not self._told_dirty:
            return
        for bucket in self._told_dirty:
            kinds = self._by_bucket.get(bucket, {})
            count = sum(kind.waiting_count for kind in kinds)
            since = min(
                (job.accepted_at_ns for kind in kinds for job in self.heads(kind)), default=0
            )
            mask = 0
            for kind in kinds:
                mask |= kind.class_mask
            self._own.publish(bucket, count, since, len(PRIORITIES), mask)
        self._told_dirty.clear()


def _insert_by_arrival(queue: deque[Job], job: Job) -> None:
    """Put a job back among those that came after it; rare, so a walk is good enough."""
    for index, other in enumerate(queue):
        if other.arrival > job.arrival:
            queue.insert(index, job)
            return

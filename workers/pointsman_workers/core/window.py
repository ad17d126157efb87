"""Idempotency: one key gives one job, while it runs and for a bounded while after it ended.

The key is (tenant, session id, request id).  Ended jobs are kept for a time, up to a count and
up to a number of bytes, oldest ended first out; an active job is never forgotten.
"""

from collections import deque
from collections.abc import Callable, Sequence

from pointsman_shm.config import JobsConfig
from pointsman_workers.core.held import extra_bytes
from pointsman_workers.core.state import Job, Key
from pointsman_workers.journal.entries import RecoveredResult

# What an ended job costs beside its output: its structs, ids and places in tables, and what the
# allocator rounds up (a worker's memory grew by 1,400 bytes a job with outputs of 200).
JOB_OVERHEAD_BYTES = 1_200


class Window:
    """Bindings from key to job.

    `forgotten` is told of every job that leaves.  What a predecessor's journal held is restored
    as it stands there, and becomes a job when somebody asks for it.
    """

    def __init__(
        self,
        config: JobsConfig,
        forgotten: Callable[[Job | RecoveredResult], None] = lambda _: None,
    ) -> None:
        self._forgotten = forgotten
        self.make_job: Callable[[RecoveredResult], Job] | None = None  # set by who restores
        self.window_s = config.window_s
        self._age_ns = int(config.window_s * 1e9)
        self._jobs_max = config.window_jobs_max
        self._bytes_max = config.window_bytes_max
        # Looked into from outside where every job comes by; what is found there, `find` returns.
        self.by_key: dict[Key, Job | RecoveredResult] = {}
        self._ended: deque[Job | RecoveredResult] = deque(maxlen=config.window_jobs_max + 1)
        self._bytes = 0
        self._restored_at_ns = 0

    def find(self, key: Key) -> Job | None:
        """Return the job that a key is bound to."""
        job = self.by_key.get(key)
        if type(job) is RecoveredResult:
            job = self.awaken(job)
        return job  # type: ignore[return-value]  # the union is settled above, at no cost

    def awaken(self, result: RecoveredResult) -> Job:
        """Make a job of a restored result, if that has not been done yet."""
        key = result.kept.key
        job = self.by_key[key]
        if isinstance(job, RecoveredResult):
            assert self.make_job is not None
            job = self.by_key[key] = self.make_job(job)
        return job

    def is_remembered(self, result: RecoveredResult) -> bool:
        """Is a restored result still here?"""
        bound = self.by_key.get(result.kept.key)
        return bound is result or (isinstance(bound, Job) and bound.arrival == result.kept.job)

    def restore(self, results: Sequence[RecoveredResult], now_ns: int) -> None:
        """Take over what a predecessor remembered, oldest ended first; its time counts from now.

        A key that had left its window may have been used again, by a later job or an open one.
        """
        self._restored_at_ns = now_ns
        for result in results:
            if not isinstance(self.by_key.get(result.kept.key), Job):
                self.by_key[result.kept.key] = result
                self.keep(result, _restored_bytes(result))

    def bind(self, job: Job) -> None:
        """Bind the key of a new job."""
        bound = self.by_key.setdefault(job.key, job)
        assert bound is job, job.key

    def unbind(self, job: Job) -> None:
        """Free a key at once: its job never ran and may be tried again."""
        if self.by_key.get(job.key) is job:
            del self.by_key[job.key]

    def replace(self, job: Job, successor: Job) -> None:
        """From now on the key of a job, whose end does not count, is bound to this one."""
        if self.by_key.get(job.key) is job:
            self.by_key[job.key] = successor

    def disown(self, key: Key) -> None:
        """What ended under this key does not count: who asks for it asks anew."""
        bound = self.by_key.get(key)
        if isinstance(bound, RecoveredResult) or (bound is not None and not bound.is_open):
            del self.by_key[key]

    def keep(self, ended: Job | RecoveredResult, result_bytes: int) -> None:
        """Start the window of a job that has ended; make room if a bound is passed."""
        self._ended.append(ended)
        self._bytes += result_bytes + JOB_OVERHEAD_BYTES
        while len(self._ended) > self._jobs_max or self._bytes > self._bytes_max:
            self._forget_oldest()

    def expire(self, now_ns: int) -> None:
        """Forget what has been ended for longer than the window."""
        while self._ended and self._ended_at_ns(self._ended[0]) + self._age_ns <= now_ns:
            self._forget_oldest()

    def _ended_at_ns(self, ended: Job | RecoveredResult) -> int:
        return ended.ended_at_ns if isinstance(ended, Job) else self._restored_at_ns

    def _forget_oldest(self) -> None:
        ended = self._ended.popleft()
        if isinstance(ended, Job):
            result_bytes, key = len(ended.output) + ended.extra_bytes, ended.key
        else:
            result_bytes, key = _restored_bytes(ended), ended.kept.key
        self._bytes -= result_bytes + JOB_OVERHEAD_BYTES
        bound = self.by_key.get(key)
        if bound is ended:  # nearly always
            del self.by_key[key]
            self._forgotten(ended)
            return
        is_awake = isinstance(bound, Job) and bound.arrival == _number(ended)
        if bound is not None and is_awake:
            del self.by_key[key]
            self._forgotten(bound)
        else:
            self._forgotten(ended)

    @property
    def ended_count(self) -> int:
        """How many ended jobs are remembered."""
        return len(self._ended)

    def __len__(self) -> int:
        return len(self.by_key)


def _restored_bytes(result: RecoveredResult) -> int:
    return len(result.kept.output) + extra_bytes(result.kept.result)


def _number(ended: Job | RecoveredResult) -> int:
    return ended.arrival if isinstance(ended, Job) else ended.kept.job

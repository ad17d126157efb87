"""Idempotency: one key gives one job, while it runs and for a bounded while after it ended.

The key is (tenant, session id, request id).  Ended jobs are kept for a time, up to a count and
up to a number of bytes, oldest ended first out; an active job is never forgotten.
"""

from collections import deque

from pointsman_shm.config import JobsConfig
from pointsman_workers.core.state import Job, Key

# What an ended job costs beside its output: its structs, ids and places in tables.
JOB_OVERHEAD_BYTES = 1024


class Window:
    """Bindings from key to job."""

    def __init__(self, config: JobsConfig) -> None:
        self.window_s = config.window_s
        self._age_ns = int(config.window_s * 1e9)
        self._jobs_max = config.window_jobs_max
        self._bytes_max = config.window_bytes_max
        self._by_key: dict[Key, Job] = {}
        self.find = self._by_key.get  # the job that a key is bound to, or None
        self._ended: deque[Job] = deque(maxlen=config.window_jobs_max + 1)
        self._bytes = 0

    def bind(self, job: Job) -> None:
        """Bind the key of a new job."""
        assert job.key not in self._by_key, job.key
        self._by_key[job.key] = job

    def unbind(self, job: Job) -> None:
        """Free a key at once: its job never ran and may be tried again."""
        if self._by_key.get(job.key) is job:
            del self._by_key[job.key]

    def keep(self, job: Job) -> None:
        """Start the window of a job that has ended; make room if a bound is passed."""
        self._ended.append(job)
        self._bytes += len(job.output) + JOB_OVERHEAD_BYTES
        while len(self._ended) > self._jobs_max or self._bytes > self._bytes_max:
            self._forget_oldest()

    def expire(self, now_ns: int) -> None:
        """Forget what has been ended for longer than the window."""
        while self._ended and self._ended[0].ended_at_ns + self._age_ns <= now_ns:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        job = self._ended.popleft()
        self._bytes -= len(job.output) + JOB_OVERHEAD_BYTES
        self.unbind(job)

    @property
    def ended_count(self) -> int:
        """How many ended jobs are remembered."""
        return len(self._ended)

    def __len__(self) -> int:
        return len(self._by_key)

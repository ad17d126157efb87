"""Runs the user's handler, and turns whatever it does into one outcome.

An async handler runs as a task of the node's loop; a blocking one in a thread of its own, so as
many as max_concurrency at a time.  Threads are daemons: a handler that never returns keeps its
slot, but not the process.  Attempt is the one place where every exception is caught: what a
user's handler raises is the job's failure, never the node's.

Where a job must be over because another node is about to start the next one of its session, asking
is not enough.  A coroutine is interrupted once more; one that goes on all the same, and a thread,
which nobody can end, take the node with them: `on_unstoppable` is told, and the process should end.
"""

import asyncio
import functools
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from pointsman.jobs import Job, JobError, Reply, as_sent, sayable
from pointsman.node_core.events import (
    EndJob,
    JobEnded,
    PartialMade,
    ProgressMade,
    StartJob,
    StopJob,
)
from pointsman_wire.errors import MEANINGS, Code
from pointsman_wire.lane_messages import Assign

ReplyLike = bytes | bytearray | memoryview | str | Reply
AsyncHandler = Callable[[Job], Awaitable[ReplyLike]]
BlockingHandler = Callable[[Job], ReplyLike]
Handler = AsyncHandler | BlockingHandler

MESSAGE_LENGTH_MAX = 500
CODE_LENGTH_MAX = 64
# After a second interrupt a coroutine has so long to end; at the node's end all have.
LAST_CHANCE_S = 0.1
LEAVE_S = 1.0
_HINTS = {code.value: meaning.hint for code, meaning in MEANINGS.items()}
_log = logging.getLogger("pointsman.node")


def is_async(called: Callable[..., object]) -> bool:
    """Does calling it give something to await?"""
    called = inspect.unwrap(called)
    while isinstance(called, functools.partial):
        called = called.func
    return inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(
        getattr(called, "__call__", None)  # noqa: B004
    )


class Attempt:
    """The boundary around one run of a handler; afterwards `ended` says how it went."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.ended = _failed(job.run, JobError(Code.INTERNAL_ERROR, "the handler was stopped"))

    def took(self, value: Any) -> None:
        """Take what the handler returned.  Raises JobError when it is nothing to be sent."""
        self.ended = _completed(self.job.run, value)

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None:
            return True
        if isinstance(error, JobError):
            self.ended = _failed(self.job.run, error)
            return True
        if isinstance(error, asyncio.CancelledError):
            cancelled = JobError(Code.CANCELLED, "stopped as asked", retryable=False)
            self.ended = _failed(self.job.run, cancelled)
            return self.job.cancelled
        if isinstance(error, Exception):
            _log.error("job %s: the handler raised", self.job.job_id, exc_info=error)
            words = f"{type(error).__name__}: {error}"
            self.ended = _failed(self.job.run, JobError(Code.INTERNAL_ERROR, words))
            return True
        return False


class HandlerRunner:
    """Starts and stops runs; `post` is told of everything they say, on the loop's thread."""

    def __init__(
        self,
        handler: Handler,
        post: Callable[[object], None],
        on_unstoppable: Callable[[Job], None],
    ) -> None:
        self._handler: Callable[[Job], Any] = handler
        self._is_async = is_async(handler)
        self._post = post
        self._on_unstoppable = on_unstoppable
        self.has_failed = False  # to end a handler
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._jobs: dict[int, Job] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(self, start: StartJob) -> None:
        """Run the handler; one JobEnded will be posted."""
        job = job_of(start)
        job.tell = self._tell
        self._jobs[start.run] = job
        if self._is_async:
            attempt = Attempt(job)
            task = self._loop.create_task(self._attend(attempt))
            # Not the coroutine's end: a task that is cancelled before its first step never runs.
            task.add_done_callback(functools.partial(self._task_ended, attempt))
            self._tasks[start.run] = task
        else:
            name = f"pointsman-job-{start.run}"
            threading.Thread(target=self._run_blocking, args=(job,), name=name, daemon=True).start()

    def stop(self, stop: StopJob) -> None:
        """Tell the handler that it shall end; an async one is interrupted where it awaits."""
        job = self._jobs.get(stop.run)
        if job is not None:
            job.cancelled = True
        task = self._tasks.get(stop.run)
        if task is not None:
            task.cancel()

    def end_hard(self, end: EndJob) -> None:
        """End a handler that was told to stop and has not."""
        self.stop(StopJob(end.run))
        if end.run in self._tasks:
            self._loop.call_later(LAST_CHANCE_S, self._judge_end, end.run)
        else:
            self._judge_end(end.run)

    def _judge_end(self, run: int) -> None:
        if (job := self._jobs.get(run)) is not None:
            self.has_failed = True
            self._on_unstoppable(job)

    async def end(self) -> None:
        """Interrupt every async handler and wait until they are gone, but not for ever.

        Where one cannot be ended nothing is waited for: the process is to end.
        """
        for run in [*self._jobs]:
            self.stop(StopJob(run))
        if self._tasks:
            timeout_s = 0.0 if self.has_failed else LEAVE_S
            await asyncio.wait([*self._tasks.values()], timeout=timeout_s)

    async def _attend(self, attempt: Attempt) -> None:
        with attempt:
            attempt.took(await self._handler(attempt.job))

    def _task_ended(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        del self._tasks[attempt.job.run]
        if not task.cancelled():
            task.exception()  # SystemExit and the like: the loop itself has raised it
        self._ended(attempt.ended)

    def _run_blocking(self, job: Job) -> None:
        attempt = Attempt(job)
        try:
            with attempt:
                attempt.took(self._handler(job))
        finally:
            self._from_thread(self._ended, attempt.ended)

    def _ended(self, ended: JobEnded) -> None:
        self._jobs.pop(ended.run, None)
        self._post(ended)

    def _tell(self, event: PartialMade | ProgressMade) -> None:
        """Take it from any thread: a coroutine, too, may have its work done in one."""
        if threading.get_ident() == self._thread_id:
            self._post(event)
        else:
            self._from_thread(self._post, event)

    def _from_thread(self, call: Callable[[Any], None], event: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, event)
        except RuntimeError:
            return  # the loop is closed: the node has left, nobody waits for this any more


def job_of(start: StartJob) -> Job:
    """Return the job as its handler sees it."""
    assign: Assign = start.assign
    return Job(
        payload=start.payload,
        meta=assign.meta or {},
        services=assign.services,
        features=assign.features,
        src_lang=assign.src_lang,
        tgt_lang=assign.tgt_lang,
        auto_langs=assign.auto_langs,
        content_type=assign.content_type,
        job_id=assign.job_id,
        attempt=assign.attempt,
        session_id=assign.session_id,
        request_id=assign.request_id,
        tenant=assign.tenant,
        trace_id=assign.trace_id,
        priority=assign.priority,
        timeout_s=assign.timeout_ms / 1000 if assign.timeout_ms else None,
        deadline_s=None if assign.deadline_ms is None else assign.deadline_ms / 1000,
        stream=assign.stream,
        run=start.run,
    )


def _completed(run: int, value: Any) -> JobEnded:
    reply = value if isinstance(value, Reply) else Reply(value)
    if not isinstance(reply.payload, bytes | bytearray | memoryview | str):
        words = f"the handler returned {type(reply.payload).__name__}; return bytes, str or Reply"
        raise JobError(Code.INTERNAL_ERROR, words, retryable=False)
    body = as_sent("the result", reply.payload)
    return JobEnded(
        run=run,
        status=reply.status,
        payload=body,
        content_type=reply.content_type,
        meta=reply.meta,
    )


def _failed(run: int, error: JobError) -> JobEnded:
    return JobEnded(
        run=run,
        status="failed",
        code=sayable(error.code, CODE_LENGTH_MAX),
        message=sayable(error.message, MESSAGE_LENGTH_MAX) or _HINTS.get(error.code, ""),
        retryable=error.retryable,
    )

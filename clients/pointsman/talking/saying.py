"""Something that is said: its steps while it travels, and its results.

saying = session.say("Good morning", tgt=["es", "fr"])
async for step in saying:             # what happens to it, as it happens
    ...
for result in await saying.results(): # one for each language
    print(result.request_id, result.text)
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import Protocol

from pointsman.errors import JobFailed, JobRefused
from pointsman.options import as_bytes
from pointsman.results import JobPartial, JobResult, job_partial, job_result, request_error
from pointsman.talking.backlog import Backlog
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.session_messages import AcceptedJob, Partial, Progress, Result
from pointsman_wire.talk.talk_messages import UiEvent

# Who reads the steps more slowly than they come loses the oldest ones, and they are counted.
STEPS_KEPT_MAX = 10_000
Step = UiEvent | JobPartial | Progress
Chunks = Iterable[bytes] | AsyncIterable[bytes]


class Voice(Protocol):
    """What takes the pieces of what is said."""

    def spoken(self, ticket: int, payload: bytes, *, is_final: bool) -> None: ...

    def cancel(self, ticket: int) -> None: ...


class Saying:
    """One utterance; made by Session.say, Session.speak and Session.audio.

    Iterating ends when every job of it is answered.  Used as a context manager, a saying that is
    spoken ends with the block, and is cancelled when the block raises.
    """

    def __init__(self, voice: Voice, utterance_id: str) -> None:
        self.utterance_id = utterance_id
        # Refusals and failures of single jobs, by request id; others may have gone well.
        self.failures: dict[str, JobRefused | JobFailed] = {}
        self.ticket = 0
        self._voice = voice
        self._results: list[JobResult] = []
        self._acceptances: dict[str, AcceptedJob] = {}
        self._steps = Backlog[Step](STEPS_KEPT_MAX)
        self._feeding: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over.add_done_callback(self._ended)

    # ---- for users

    @property
    def missed_count(self) -> int:
        """How many steps came faster than they were read, and were dropped."""
        return self._steps.missed_count

    def push(self, sound: bytes) -> None:
        """Speak on: raw samples, or the next bytes of a WAV file."""
        self._voice.spoken(self.ticket, as_bytes(sound), is_final=False)

    def end(self) -> None:
        """It is all said."""
        self._voice.spoken(self.ticket, b"", is_final=True)

    def cancel(self) -> None:
        """Have it stopped; what it came to is still told."""
        self._voice.cancel(self.ticket)

    async def results(self) -> list[JobResult]:
        """Return what it came to, in the order in which it came; `failures` has what failed.

        Raises JobRefused, JobFailed, JobExpired or JobCancelled where nothing went well.
        """
        try:
            await asyncio.shield(self._over)
        except asyncio.CancelledError:
            if not self._over.done():
                self.cancel()
            raise
        if not self._results and self.failures:
            raise next(iter(self.failures.values()))
        return self._results

    async def result(self) -> JobResult:
        """Return the result under its own id, or else the first; raises as results()."""
        results = await self.results()
        own = (result for result in results if result.request_id == self.utterance_id)
        return next(own, results[0])

    def __aiter__(self) -> AsyncIterator[Step]:
        return self

    async def __anext__(self) -> Step:
        step = await self._steps.next()
        if step is None:
            raise StopAsyncIteration
        return step

    async def __aenter__(self) -> "Saying":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.end()
        else:
            self.cancel()

    def feed(self, chunks: Chunks) -> None:
        """Speak what these pieces are, as they come, and end; once."""
        assert self._feeding is None, self.utterance_id
        self._feeding = asyncio.get_running_loop().create_task(self._feed(chunks))
        self._feeding.add_done_callback(self._fed)

    async def _feed(self, chunks: Chunks) -> None:
        if isinstance(chunks, AsyncIterable):
            async for sound in chunks:
                self.push(sound)
        else:
            for sound in chunks:
                self.push(sound)
                await asyncio.sleep(0)
        self.end()

    def _fed(self, feeding: asyncio.Task[None]) -> None:
        """Where the pieces end by an exception, so does what is said."""
        error = None if feeding.cancelled() else feeding.exception()
        if error is not None and not self._over.done():
            self._over.set_exception(error)
        if error is not None or feeding.cancelled():
            self.cancel()

    # ---- what the shell tells

    def step(self, step: UiEvent | AcceptedJob | Progress) -> None:
        """Keep a step for the reader."""
        if isinstance(step, AcceptedJob):
            self._acceptances[step.request_id] = step
        else:
            self._steps.put(step)

    def partial(self, partial: Partial, payload: bytes) -> None:
        """Keep a piece of a result for the reader."""
        self._steps.put(job_partial(partial, payload))

    def came(self, result: Result, payload: bytes) -> None:
        """Keep a result, or what became of it."""
        acceptance = self._acceptances.get(result.request_id)
        try:
            self._results.append(job_result(result, payload, acceptance))
        except JobFailed as error:
            self.failures[result.request_id] = error

    def refused(self, request_id: str, error: ErrorInfo) -> None:
        """One of its jobs is not taken."""
        acceptance = self._acceptances.get(request_id)
        self.failures[request_id] = request_error(error, request_id, acceptance)

    def over(self, error: ErrorInfo | None) -> None:
        """There is nothing more to come."""
        if error is not None:
            self.refused(self.utterance_id, error)
        if not self._over.done():
            self._over.set_result(None)

    def _ended(self, over: asyncio.Future[None]) -> None:
        self._steps.end()
        if self._feeding is not None and not self._feeding.done():
            self._feeding.cancel()
        if not over.cancelled():
            over.exception()  # seen: it is raised again for who asks for results

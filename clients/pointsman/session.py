"""Sessions, for users: connect, submit, stream.

    async with connect("127.0.0.1:7400", src="en", tgt="es") as session:
        result = await session.submit(b"...", services=["nmt"])

A session outlives its connection: it is dialled again with full-jitter back-off, taken up where
it was, and requests the server does not know are submitted again under their ids.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Unpack

import msgspec

from pointsman.client_shell import ClientShell, OpenedSession
from pointsman.errors import JobFailed
from pointsman.options import (
    ConnectOptions,
    ConnectSettings,
    SubmitOptions,
    TrunkOptions,
    as_bytes,
    belief_of,
    checked,
    session_message,
    submit_message,
)
from pointsman.results import JobPartial, JobResult, job_partial, job_result, request_error
from pointsman.talking.backlog import Backlog
from pointsman.talking.hearing import Happening, Heard
from pointsman.talking.options import (
    SpeechOptions,
    TalkOptions,
    chunk_message,
    utterance_message,
)
from pointsman.talking.saying import Chunks, Saying
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.session_messages import (
    AcceptedJob,
    MissingResult,
    Order,
    Partial,
    Progress,
    Result,
    Submit,
)
from pointsman_wire.talk.talk_messages import RoomJoin, RoomLeave, RoomState, UiEvent

# A stream whose reader lags by more pieces than this loses the oldest ones, and counts them.
PARTIALS_KEPT_MAX = 10_000


class PendingJob:
    """One submit whose result has not come yet."""

    def __init__(self, shell: ClientShell, session: OpenedSession) -> None:
        self.acceptance: AcceptedJob | None = None
        self.latest_progress: Progress | None = None
        self.outcome: asyncio.Future[JobResult] = asyncio.get_running_loop().create_future()
        self._shell = shell
        self._session = session
        self._ticket = 0
        self._request_id = ""

    def begin(self, submit: Submit, payload: bytes | str) -> None:
        """Send it."""
        self._request_id = submit.request_id
        self._ticket = self._shell.submit(self._session.handle, submit, as_bytes(payload), self)

    async def wait(self) -> JobResult:
        """Return the result; when the waiting task is cancelled, so is the job."""
        try:
            return await self.outcome
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Have the job stopped; its outcome still comes, and nobody need look at it."""
        self._shell.cancel(self._ticket)
        self.outcome.add_done_callback(_seen)

    # ---- what the shell tells

    def accepted(self, job: AcceptedJob) -> None:
        """Remember how safely the server holds the job."""
        self.acceptance = job

    def partial(self, partial: Partial, payload: bytes) -> None:
        """Nobody listens to pieces here."""

    def progress(self, progress: Progress) -> None:
        """Remember how far the job is."""
        self.latest_progress = progress

    def ended(self, result: Result, payload: bytes) -> None:
        """Hand the result, or its error, to who waits."""
        if self.outcome.done():
            return
        try:
            self.outcome.set_result(job_result(result, payload, self.acceptance))
        except JobFailed as error:
            self.outcome.set_exception(error)

    def failed(self, error: ErrorInfo) -> None:
        """Hand the refusal to who waits."""
        if not self.outcome.done():
            self.outcome.set_exception(request_error(error, self._request_id, self.acceptance))


def _seen(outcome: asyncio.Future[JobResult]) -> None:
    """Else asyncio complains of an error that was never looked at."""
    if not outcome.cancelled():
        outcome.exception()


class JobStream(PendingJob):
    """A job whose pieces are read as they come; then `await stream.result()`.

    Iterating ends when the job has ended, and raises what the job raised.  Leaving an
    ``async with session.stream(...) as stream`` early cancels the job.
    """

    def __init__(self, shell: ClientShell, session: OpenedSession) -> None:
        super().__init__(shell, session)
        self._pieces = Backlog[JobPartial](PARTIALS_KEPT_MAX)
        self.outcome.add_done_callback(lambda _: self._pieces.end())

    @property
    def missed_count(self) -> int:
        """How many pieces came faster than they were read, and were dropped."""
        return self._pieces.missed_count

    def partial(self, partial: Partial, payload: bytes) -> None:
        """Keep a piece for the reader."""
        self._pieces.put(job_partial(partial, payload))

    async def result(self) -> JobResult:
        """Return the whole result.  Raises JobRefused, JobFailed, JobExpired, JobCancelled."""
        try:
            return await asyncio.shield(self.outcome)  # others may look at it, later or meanwhile
        except asyncio.CancelledError:
            self.cancel()
            raise

    def __aiter__(self) -> AsyncIterator[JobPartial]:
        return self

    async def __anext__(self) -> JobPartial:
        try:
            piece = await self._pieces.next()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if piece is None:
            self.outcome.result()
            raise StopAsyncIteration
        return piece

    async def __aenter__(self) -> "JobStream":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.outcome.done():
            _seen(self.outcome)
        else:
            self.cancel()


class Session:
    """One conversation with the service; made by connect() or Trunk.open()."""

    def __init__(self, shell: ClientShell, opened: OpenedSession, close_timeout_s: float) -> None:
        self._shell = shell
        self._opened = opened
        self._close_timeout_s = close_timeout_s

    @property
    def session_id(self) -> str:
        """The session's id: with it, the same request ids mean the same jobs."""
        return self._opened.ack.session_id

    @property
    def shard(self) -> int:
        """Which dispatcher worker owns the session."""
        return self._opened.ack.shard

    @property
    def paired_node(self) -> str:
        """The node that the pairing code bound this session to; empty when it is bound to none."""
        return self._opened.ack.paired_node

    @property
    def order(self) -> Order:
        """free, utterance or serial: see ConnectOptions."""
        return self._opened.ack.order

    @property
    def missing(self) -> list[MissingResult]:
        """Utterances whose results were skipped, because later ones had waited long enough.

        The newest thousand.  A skipped result may still come, late.
        """
        return [*self._opened.missing]

    @property
    def instance(self) -> str:
        """The name of the service's instance."""
        return self._opened.ack.instance

    @property
    def is_over(self) -> bool:
        """Was the session closed, by either side?"""
        return self._opened.ended.done()

    async def submit(self, payload: bytes | str, **options: Unpack[SubmitOptions]) -> JobResult:
        """Have one job run and return its result; see SubmitOptions.

        Cancelling the awaiting task cancels the job.  Raises JobRefused when it was not
        accepted, JobFailed, JobExpired or JobCancelled when it was; ValueError for options out
        of bounds.
        """
        job = PendingJob(self._shell, self._opened)
        job.begin(self._message(options, stream=False), payload)
        return await job.wait()

    def stream(self, payload: bytes | str, **options: Unpack[SubmitOptions]) -> JobStream:
        """Have one job run and read its partial results as they come; see JobStream."""
        job = JobStream(self._shell, self._opened)
        job.begin(self._message(options, stream=True), payload)
        return job

    # ---- talking

    def say(self, words: str | bytes, **options: Unpack[TalkOptions]) -> Saying:
        """Say a text, or a sound as a whole (WAV, or raw samples); see TalkOptions and Saying."""
        message, sound = utterance_message(words, options)
        saying = Saying(self._shell, message.utterance_id)
        self._shell.say(self._opened.handle, message, sound, saying)
        return saying

    def speak(self, **options: Unpack[SpeechOptions]) -> Saying:
        """Say something while it is spoken: Saying.push() its sound piece by piece, then end()."""
        message = chunk_message(options)
        saying = Saying(self._shell, message.utterance_id)
        self._shell.say(self._opened.handle, message, b"", saying)
        return saying

    def audio(self, chunks: Chunks, **options: Unpack[SpeechOptions]) -> Saying:
        """Say what these pieces of sound are, as they come.

        What has to be waited for comes from an async iterator; what it raises, results() raises.
        """
        saying = self.speak(**options)
        saying.feed(chunks)
        return saying

    def happenings(self) -> AsyncIterator[Happening]:
        """Yield what others say and do, and what is missing; see Happening.  Ends with the session.

        Of what nobody has read yet the newest thousand are kept.
        """
        return self._opened.ears.read()

    @property
    def room(self) -> RoomState:
        """Who is in the room, as it was told last; without members when the session is in none."""
        return self._opened.ears.room

    async def join(self, room: str, *, lang: str = "", name: str = "") -> RoomState:
        """Enter a room: its members hear each other, each in its language (by default `src`).

        It is entered again after every lost connection.  A room of another worker makes this a
        session of that worker, under another id, once what was sent before is answered.  Raises
        SessionError when the room is full, the session is over, or it was sent to another room
        meanwhile.
        """
        message = checked(RoomJoin(room=room, lang=lang, name=name))
        self._opened.ears.turn_to(room)
        self._shell.go(self._opened.handle, message)
        return await self._opened.ears.entered(room)

    def leave(self) -> None:
        """Leave the room."""
        self._opened.ears.turn_to("")
        self._shell.go(self._opened.handle, RoomLeave())

    def tell_played(self, heard: Heard, *, is_over: bool = False) -> None:
        """Let who spoke see that it is being played here, or was (is_over)."""
        message = UiEvent(
            utterance_id=heard.request_id,
            event="TTS_PLAY_ENDED" if is_over else "TTS_PLAY_STARTED",
            speaker=heard.speaker,
        )
        self._shell.tell_played(self._opened.handle, checked(message))

    async def close(self, *, flush: bool = True, timeout_s: float | None = None) -> None:
        """End the session; running jobs have timeout_s to end (flush), then are cancelled."""
        within_s = self._close_timeout_s if timeout_s is None else timeout_s
        await self._shell.close(self._opened, flush=flush, within_s=within_s)

    def _message(self, options: SubmitOptions, *, stream: bool) -> Submit:
        if not options.get("request_id"):
            options = {**options, "request_id": self._shell.new_request_id()}
        return submit_message(options, number=self._opened.number, stream=stream)

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Flush after success; after an exception what still runs is cancelled."""
        await self.close(flush=error is None, timeout_s=None if error is None else 1.0)


class Trunk:
    """Many sessions over one connection to each worker, for gateways.

        async with Trunk("127.0.0.1:7400") as trunk:
            session = await trunk.open(src="en", tgt="es")

    Sessions are spread over the workers; one that belongs elsewhere is moved there.  What still
    runs when the block is left is cancelled.
    """

    def __init__(self, address: str, **options: Unpack[TrunkOptions]) -> None:
        self._settings = ConnectSettings(**options)
        self._address = address
        self._shell: ClientShell | None = None

    async def open(self, **options: Unpack[ConnectOptions]) -> Session:
        """Open one more session.  Raises Unreachable or SessionError."""
        assert self._shell is not None, "open sessions inside `async with Trunk(...)`"
        settings = ConnectSettings(**options)
        if not settings.token:
            settings = msgspec.structs.replace(settings, token=self._settings.token)
        return await _open(self._shell, settings)

    async def __aenter__(self) -> "Trunk":
        settings = self._settings
        self._shell = ClientShell(
            self._address, belief=belief_of(settings), is_trunk=True, history=settings.history
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._shell is not None
        try:
            await self._shell.close_all()
        finally:
            await self._shell.end()


@asynccontextmanager
async def connect(address: str, **options: Unpack[ConnectOptions]) -> AsyncIterator[Session]:
    """Open a session over a connection of its own; see ConnectOptions.

    `address` is "host:port"; "tls://host:port" over TLS, where `pin` or `ca` say whom to believe;
    "ws://host:port" or "wss://host:port" for WebSocket and JSON, which need the extra `web`; there
    a session is taken up again after a lost connection just the same.
    Leaving the block waits for running jobs, leaving it by an exception cancels them.  Raises
    Unreachable, SessionError, AddressError; ValueError for options out of bounds; with ws:// and
    without its library ModuleNotFoundError.
    """
    settings = ConnectSettings(**options)
    shell = ClientShell(
        address, belief=belief_of(settings), is_trunk=False, history=settings.history
    )
    try:
        async with await _open(shell, settings) as session:
            yield session
    finally:
        await shell.end()


async def _open(shell: ClientShell, settings: ConnectSettings) -> Session:
    if not settings.token:
        token = os.environ.get("POINTSMAN_TOKEN", "")
        settings = msgspec.structs.replace(settings, token=token)
    opened = await shell.open(session_message(settings), settings.connect_timeout_s)
    return Session(shell, opened, settings.close_timeout_s)

"""The blocking client: the same sessions for programs without an event loop.

    from pointsman import blocking

    with blocking.connect("127.0.0.1:7400", src="en", tgt="es") as session:
        result = session.submit(b"...", services=["nmt"])
        result = session.say("Good morning").result()

Each connect() runs the asyncio client on a private thread; a session may be used from several
threads at once.  Leaving the block ends what other threads wait for: they get what became of their
jobs, or SessionError.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, TypeVar, Unpack

from pointsman import session as asynchronous
from pointsman.errors import JobFailed, JobRefused, SessionError
from pointsman.options import ConnectOptions, SubmitOptions
from pointsman.results import JobPartial, JobResult
from pointsman.talking.hearing import Happening, Heard
from pointsman.talking.options import SpeechOptions, TalkOptions
from pointsman.talking.saying import Saying, Step
from pointsman_wire.errors import Code
from pointsman_wire.messages import error_info
from pointsman_wire.session_messages import MissingResult, Order
from pointsman_wire.talk.talk_messages import RoomState

T = TypeVar("T")


class ThreadOver(SessionError):
    """The block of the session was left: nothing runs on its loop any more."""

    def __init__(self) -> None:
        super().__init__(error_info(Code.SESSION_CLOSED, "the client was closed"))


class LoopThread:
    """An event loop on a thread of its own; any thread may call it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._is_over = False
        self._leaving: set[asyncio.Task[None]] = set()  # what is half read, and nobody's
        # Held for looking at that, and doing something about it; what is collected as garbage
        # meanwhile may want to be closed.
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name="pointsman-client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Run until it is closed; who still waits for something then waits no longer."""
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it; an interrupt here cancels it there.

        Raises ThreadOver when the loop has ended, or ends meanwhile.
        """
        with self._lock:
            if self._is_over:
                coroutine.close()
                raise ThreadOver
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except CancelledError:
            if self._is_over:
                raise ThreadOver from None
            raise
        except BaseException:
            future.cancel()
            raise

    def do(self, act: Callable[[], T]) -> T:
        """Call a function there and wait for what it returns."""

        async def acting() -> T:
            return act()

        return self.call(acting())

    def each(self, things: AsyncIterator[T]) -> Iterator[T]:
        """Yield what comes there, waiting for it here; ends its source when nobody reads on."""
        try:
            while (thing := self.call(_next(things))) is not None:
                yield thing
        finally:
            with suppress(ThreadOver):  # then what was left half read has ended with it
                self._leave(_close(things))

    def _leave(self, leaving: Coroutine[Any, Any, None]) -> None:
        """See to it, and wait, but not in the loop's own thread, where it may be garbage."""
        if threading.current_thread() is not self._thread or self._is_over:
            self.call(leaving)
            return
        self._leaving.add(task := self._loop.create_task(leaving))
        task.add_done_callback(self._leaving.discard)

    def close(self) -> None:
        """Stop the loop and end the thread."""
        with self._lock:
            self._is_over = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class BlockingSaying:
    """One utterance: iterate over its steps, then ask for its results; see pointsman.Saying.

    Used as a context manager, one that is spoken ends with the block, and is cancelled when the
    block raises.
    """

    def __init__(self, saying: Saying, thread: LoopThread) -> None:
        self._saying = saying
        self._thread = thread

    @property
    def utterance_id(self) -> str:
        """Its id: said again under it, it is the same jobs."""
        return self._saying.utterance_id

    @property
    def failures(self) -> dict[str, JobRefused | JobFailed]:
        """Refusals and failures of single jobs, by request id; others may have gone well."""
        return dict(self._saying.failures)

    @property
    def missed_count(self) -> int:
        """Steps that came faster than they were read, and were dropped."""
        return self._saying.missed_count

    def push(self, sound: bytes) -> None:
        """Speak on: raw samples, or the next bytes of a WAV file."""
        self._thread.do(lambda: self._saying.push(sound))

    def end(self) -> None:
        """It is all said."""
        self._thread.do(self._saying.end)

    def cancel(self) -> None:
        """Have it stopped; what it came to is still told."""
        self._thread.do(self._saying.cancel)

    def results(self) -> list[JobResult]:
        """Return what it came to; raises as Saying.results does."""
        return self._thread.call(self._saying.results())

    def result(self) -> JobResult:
        """Return the result under its own id, or else the first; raises as results()."""
        return self._thread.call(self._saying.result())

    def __iter__(self) -> Iterator[Step]:
        return self._thread.each(self._saying)

    def __enter__(self) -> "BlockingSaying":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.end()
        else:
            self.cancel()


class BlockingSession:
    """A session whose methods wait; see pointsman.Session."""

    def __init__(self, session: asynchronous.Session, thread: LoopThread) -> None:
        self._session = session
        self._thread = thread

    @property
    def session_id(self) -> str:
        """The session's id: with it, the same request ids mean the same jobs."""
        return self._session.session_id

    @property
    def paired_node(self) -> str:
        """The node that the pairing code bound this session to; empty when it is bound to none."""
        return self._session.paired_node

    @property
    def instance(self) -> str:
        """The name of the service's instance."""
        return self._session.instance

    @property
    def shard(self) -> int:
        """Which dispatcher worker owns the session."""
        return self._session.shard

    @property
    def order(self) -> Order:
        """free, utterance or serial: see ConnectOptions."""
        return self._session.order

    @property
    def missing(self) -> list[MissingResult]:
        """Utterances whose results were skipped; see Session.missing."""
        return self._session.missing

    @property
    def room(self) -> RoomState:
        """Who is in the room, as it was told last; without members when the session is in none."""
        return self._session.room

    @property
    def is_over(self) -> bool:
        """Was the session closed, by either side?"""
        return self._session.is_over

    def submit(self, payload: bytes | str, **options: Unpack[SubmitOptions]) -> JobResult:
        """Have one job run and return its result; raises as Session.submit does."""
        return self._thread.call(self._session.submit(payload, **options))

    def stream(
        self, payload: bytes | str, **options: Unpack[SubmitOptions]
    ) -> Iterator[JobPartial | JobResult]:
        """Yield the partial results as they come, and the whole result last."""
        yield from self._thread.each(self._pieces(payload, options))

    # ---- talking

    def say(self, words: str | bytes, **options: Unpack[TalkOptions]) -> BlockingSaying:
        """Say a text, or a sound as a whole; raises as Session.say does."""
        saying = self._thread.do(lambda: self._session.say(words, **options))
        return BlockingSaying(saying, self._thread)

    def speak(self, **options: Unpack[SpeechOptions]) -> BlockingSaying:
        """Say something while it is spoken: push() its sound piece by piece, then end()."""
        saying = self._thread.do(lambda: self._session.speak(**options))
        return BlockingSaying(saying, self._thread)

    def audio(self, chunks: Iterable[bytes], **options: Unpack[SpeechOptions]) -> BlockingSaying:
        """Say what these pieces of sound are, as they come; returns when they have ended.

        What reading them raises is raised here, and what was said so far is cancelled.
        """
        with self.speak(**options) as saying:
            for sound in chunks:
                saying.push(sound)
        return saying

    def happenings(self) -> Iterator[Happening]:
        """Yield what others say to this session and do, until it is over; see Session.happenings.

        Read it in a thread of its own to talk meanwhile.
        """
        return self._thread.each(self._session.happenings())

    def join(self, room: str, *, lang: str = "", name: str = "") -> RoomState:
        """Enter a room; raises as Session.join does."""
        return self._thread.call(self._session.join(room, lang=lang, name=name))

    def leave(self) -> None:
        """Leave the room."""
        self._thread.do(self._session.leave)

    def tell_played(self, heard: Heard, *, is_over: bool = False) -> None:
        """Let who spoke see that it is being played here, or was (is_over)."""
        self._thread.do(lambda: self._session.tell_played(heard, is_over=is_over))

    def close(self, *, flush: bool = True, timeout_s: float | None = None) -> None:
        """End the session; running jobs have timeout_s to end (flush), then are cancelled."""
        self._thread.call(self._session.close(flush=flush, timeout_s=timeout_s))

    async def _pieces(
        self, payload: bytes | str, options: SubmitOptions
    ) -> AsyncIterator[JobPartial | JobResult]:
        async with self._session.stream(payload, **options) as stream:
            async for piece in stream:
                yield piece
            yield await stream.result()


async def _next(things: AsyncIterator[T]) -> T | None:
    return await anext(things, None)


async def _close(things: AsyncIterator[Any]) -> None:
    close = getattr(things, "aclose", None)
    if close is not None:
        await close()


class Connecting:
    """A session that is opened on entering and closed on leaving; made by connect()."""

    def __init__(self, context: AbstractAsyncContextManager[asynchronous.Session]) -> None:
        self._context = context
        self._thread: LoopThread | None = None

    def __enter__(self) -> BlockingSession:
        thread = self._thread = LoopThread()
        try:
            session = thread.call(_enter(self._context))
        except BaseException:
            thread.close()
            raise
        return BlockingSession(session, thread)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._thread is not None
        try:
            self._thread.call(_leave(self._context, kind, error, traceback))
        finally:
            self._thread.close()


async def _enter(
    context: AbstractAsyncContextManager[asynchronous.Session],
) -> asynchronous.Session:
    return await context.__aenter__()


async def _leave(
    context: AbstractAsyncContextManager[asynchronous.Session],
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    await context.__aexit__(kind, error, traceback)


def connect(address: str, **options: Unpack[ConnectOptions]) -> Connecting:
    """Open a session: ``with connect(...) as session``.  Raises as pointsman.connect does."""
    return Connecting(asynchronous.connect(address, **options))

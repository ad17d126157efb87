"""The blocking client: the same sessions for programs without an event loop.

    from pointsman import blocking

    with blocking.connect("127.0.0.1:7400", src="en", tgt="es") as session:
        result = session.submit(b"...", services=["nmt"])

Each connect() runs the asyncio client on a private thread; a session may be used from several
threads at once.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeVar, Unpack

from pointsman import session as asynchronous
from pointsman.options import ConnectOptions, SubmitOptions
from pointsman.results import JobPartial, JobResult

T = TypeVar("T")


class LoopThread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="pointsman-client", daemon=True
        )
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it; an interrupt here cancels it there."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the loop and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


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

    def submit(self, payload: bytes | str, **options: Unpack[SubmitOptions]) -> JobResult:
        """Have one job run and return its result; raises as Session.submit does."""
        return self._thread.call(self._session.submit(payload, **options))

    def stream(
        self, payload: bytes | str, **options: Unpack[SubmitOptions]
    ) -> Iterator[JobPartial | JobResult]:
        """Yield the partial results as they come, and the whole result last."""
        pieces = self._pieces(payload, options)
        try:
            while (piece := self._thread.call(_next(pieces))) is not None:
                yield piece
        finally:
            self._thread.call(_close(pieces))

    async def _pieces(
        self, payload: bytes | str, options: SubmitOptions
    ) -> AsyncIterator[JobPartial | JobResult]:
        async with self._session.stream(payload, **options) as stream:
            async for piece in stream:
                yield piece
            yield await stream.result()


async def _next(
    pieces: AsyncIterator[JobPartial | JobResult],
) -> JobPartial | JobResult | None:
    return await anext(pieces, None)


async def _close(pieces: AsyncIterator[JobPartial | JobResult]) -> None:
    close = getattr(pieces, "aclose", None)
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

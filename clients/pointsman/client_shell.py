"""The client's shell: one core, one driver, and the futures of those who wait.

It hands out handles and tickets, posts wishes, and turns what the core tells into results,
exceptions and partial results.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from pointsman.errors import SessionError, Unreachable
from pointsman.recording.client_scribe import ClientScribe
from pointsman.recording.history_file import HistoryFile
from pointsman.recording.recorded_core import RecordedCore
from pointsman.secure.reaching import Belief
from pointsman.secure.session_dialling import session_dialling
from pointsman.session_core.client import ClientCore
from pointsman.session_core.events import (
    CancelWished,
    ClientSetup,
    CloseSession,
    JobWasAccepted,
    Notice,
    OpenSession,
    PartialCame,
    ProgressCame,
    RequestFailed,
    ResultCame,
    ResultsMissing,
    SessionEnded,
    SessionInterrupted,
    SessionOpened,
    SubmitWished,
)
from pointsman.session_core.opening import UNREACHABLE
from pointsman.session_core.talk_events import (
    PieceSpoken,
    PlayTold,
    RoomWished,
    SessionRenamed,
    TalkHeard,
    UtteranceEnded,
    UtterancePartial,
    UtteranceRefused,
    UtteranceResult,
    UtteranceStep,
    UtteranceWished,
)
from pointsman.talking.hearing import ConnectionChange, Ears
from pointsman.talking.saying import Saying
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    AcceptedJob,
    JobAccepted,
    MissingResult,
    Partial,
    Progress,
    Result,
    SessionInit,
    SessionInitAck,
    Submit,
    ToClient,
)
from pointsman_wire.sockets.crash_points import CrashSpot, Moment, read_crash_point
from pointsman_wire.sockets.crashing import driver_for
from pointsman_wire.sockets.tcp import AddressError
from pointsman_wire.sockets.web.json_messages import JSON_BYTES_MAX, json_bytes
from pointsman_wire.talk.talk_messages import AudioChunk, RoomJoin, RoomLeave, UiEvent, Utterance

MISSING_KEPT_MAX = 1_000
_log = logging.getLogger("pointsman.client")
# Where a test kills a client, in the order of a job; read when a client is made.
CRASH_SPOTS = (
    CrashSpot("client-mid-submit", Moment.HALF_SENT, (Submit,)),
    CrashSpot("client-after-submit", Moment.SENT, (Submit,)),
    CrashSpot("client-after-accepted", Moment.HEARD, (JobAccepted,)),
    CrashSpot("client-after-result", Moment.HEARD, (Result,)),
)
_numbers = count(1)  # tells the clients of one process apart


class Waiter(Protocol):
    """Who waits for one submit; told of at most one of failed() and ended()."""

    def accepted(self, job: AcceptedJob) -> None: ...

    def partial(self, partial: Partial, payload: bytes) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def ended(self, result: Result, payload: bytes) -> None: ...

    def failed(self, error: ErrorInfo) -> None: ...


class OpenedSession:
    """What the shell knows of one session; `ended` is done once it is over."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.number = 0
        self.ack = SessionInitAck()
        # Utterances that were skipped, newest last.
        self.missing: deque[MissingResult] = deque(maxlen=MISSING_KEPT_MAX)
        self.ears = Ears()
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[ErrorInfo | None] = loop.create_future()


class ClientShell:
    """Runs the core of one client on the running loop.

    Raises AddressError, OSError (history, ca), ValueError (pin), ModuleNotFoundError (ws://).
    """

    def __init__(
        self,
        address: str,
        *,
        belief: Belief,
        is_trunk: bool,
        history: str | Path | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._session_id = ""  # of the newest session, for a WebSocket's target
        settings = session_dialling(address, belief, lambda: self._session_id)
        if is_trunk and settings.web is not None:
            raise AddressError("a trunk speaks the binary protocol: write HOST:PORT, without ws://")
        self._is_web = settings.web is not None
        setup = ClientSetup(entropy=os.urandom, is_trunk=is_trunk, is_web=self._is_web)
        self.core = ClientCore(setup)
        self._history = HistoryFile(history) if history else None
        role = Role.TRUNK if is_trunk else Role.SESSION
        crash = read_crash_point(os.environ)
        self._driver = driver_for(crash, CRASH_SPOTS)(
            self._recorded(),
            unions={role: ToClient},
            execute=self._execute,
            settings=settings,
        )
        self._driver.broken.add_done_callback(self._broke)
        self._sessions: dict[int, OpenedSession] = {}
        self._waiters: dict[int, Waiter] = {}
        self._sayings: dict[int, Saying] = {}
        self._handles = 0
        self._tickets = 0
        self._over: ErrorInfo | None = None  # why nothing is done any more
        self._told: dict[type, Callable[[Any], None]] = {
            ResultCame: self._result_came,
            RequestFailed: self._request_failed,
            JobWasAccepted: self._job_was_accepted,
            ResultsMissing: self._results_missing,
            PartialCame: self._partial_came,
            ProgressCame: self._progress_came,
            SessionOpened: self._session_opened,
            SessionEnded: self._session_ended,
            SessionInterrupted: self._session_interrupted,
            **self._told_of_talk(),
            Notice: lambda notice: _log.warning(notice.text),
        }

    def _recorded(self) -> ClientCore | RecordedCore:
        if self._history is None:
            return self.core
        scribe = ClientScribe(f"client-{os.getpid()}-{next(_numbers)}")
        return RecordedCore(self.core, scribe, self._history)

    async def open(self, init: SessionInit, within_s: float | None) -> OpenedSession:
        """Open a session.  Raises Unreachable or SessionError."""
        if self._over is not None:
            raise session_error(self._over)
        self._handles += 1
        session = OpenedSession(self._handles)
        self._post(OpenSession(handle=session.handle, init=init, within_s=within_s))
        self._sessions[session.handle] = session
        self._session_id = init.session_id
        try:
            await session.opened
        except asyncio.CancelledError:
            self._post(CloseSession(handle=session.handle, flush=False, within_s=0.0))
            raise
        return session

    async def close(self, session: OpenedSession, *, flush: bool, within_s: float) -> None:
        """End a session; returns when it is over."""
        if not session.ended.done():
            self._post(CloseSession(handle=session.handle, flush=flush, within_s=within_s))
            await asyncio.shield(session.ended)

    async def close_all(self) -> None:
        """End every session at once; what the service has of them is cancelled."""
        for session in (left := [*self._sessions.values()]):
            self._post(CloseSession(handle=session.handle, flush=False))
        if left:
            await asyncio.wait([session.ended for session in left])

    async def end(self) -> None:
        """End every connection; what is still open is cancelled, and fails."""
        for session in (left := [*self._sessions.values()]):
            self._post(CloseSession(handle=session.handle, flush=False, within_s=0.0))
        try:
            if left:
                await asyncio.wait([session.ended for session in left], timeout=1.0)
        finally:
            await self._end_driver()

    async def _end_driver(self) -> None:
        try:
            await self._driver.end(timeout_s=1.0)
        finally:  # also when who waits is cancelled, once more
            self._give_up(error_info(Code.SESSION_CLOSED, "the client was closed"))
            if self._history is not None:
                self._history.close()
                self._history = None

    def new_request_id(self) -> str:
        """Return an id that no other request has."""
        return f"req-{os.urandom(6).hex()}"

    def submit(self, handle: int, submit: Submit, payload: bytes, waiter: Waiter) -> int:
        """Wish for a job; `waiter` is told of its end.  Returns the ticket.  Raises ValueError."""
        self._check_json(submit)
        self._tickets += 1
        ticket = self._tickets
        if self._over is not None:
            waiter.failed(self._over)
            return ticket
        self._post(SubmitWished(handle=handle, ticket=ticket, submit=submit, payload=payload))
        self._waiters[ticket] = waiter
        return ticket

    def say(
        self, handle: int, message: Utterance | AudioChunk, payload: bytes, saying: Saying
    ) -> None:
        """Wish for something to be said; `saying` is told of all that comes.  Raises ValueError."""
        self._check_json(message)
        self._tickets += 1
        saying.ticket = ticket = self._tickets
        if self._over is not None:
            saying.over(self._over)
            return
        self._post(UtteranceWished(handle=handle, ticket=ticket, message=message, payload=payload))
        self._sayings[ticket] = saying

    def _check_json(self, message: Submit | Utterance | AudioChunk) -> None:
        """Over WebSocket it may be too long: the server could not say what it has refused."""
        if self._is_web and (size := json_bytes(message)) > JSON_BYTES_MAX:
            words = f"{size} bytes of JSON beside the payload, at most {JSON_BYTES_MAX} are taken"
            advice = "put what is large into the payload, or connect over tcp, without ws://"
            raise ValueError(f"{message.__struct_config__.tag}: {words}: {advice}")

    def spoken(self, ticket: int, payload: bytes, *, is_final: bool) -> None:
        """Go on with what is being said."""
        if ticket in self._sayings:
            self._post(PieceSpoken(ticket=ticket, payload=payload, is_final=is_final))

    def go(self, handle: int, message: RoomJoin | RoomLeave) -> None:
        """Enter a room, or leave it; Ears.entered tells what came of it."""
        self._post(RoomWished(handle=handle, message=message))

    def tell_played(self, handle: int, message: UiEvent) -> None:
        """Let who spoke know that it is being played."""
        self._post(PlayTold(handle=handle, message=message))

    def cancel(self, ticket: int) -> None:
        """Have a job, or what is said, stopped."""
        if ticket in self._waiters or ticket in self._sayings:
            self._post(CancelWished(ticket))

    def _post(self, wish: object) -> None:
        """Tell the core in its coming turn.  Raises RuntimeError in another event loop."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "a session serves the event loop that opened it: use pointsman.blocking from "
                "several threads, or open one in each loop"
            )
        self._driver.post(wish)

    # ---- what the core tells

    def _execute(self, command: Any) -> None:
        self._told[type(command)](command)

    def _told_of_talk(self) -> dict[type, Callable[[Any], None]]:
        sayings = self._sayings
        return {
            UtteranceStep: lambda told: sayings[told.ticket].step(told.step),
            UtterancePartial: lambda told: sayings[told.ticket].partial(told.partial, told.payload),
            UtteranceResult: lambda told: sayings[told.ticket].came(told.result, told.payload),
            UtteranceRefused: lambda told: sayings[told.ticket].refused(
                told.request_id, told.error
            ),
            UtteranceEnded: lambda told: sayings.pop(told.ticket).over(told.error),
            SessionRenamed: self._session_renamed,
            TalkHeard: lambda told: self._sessions[told.handle].ears.take(
                told.message, told.payload
            ),
        }

    def _session_renamed(self, renamed: SessionRenamed) -> None:
        self._session_id = renamed.session_id

    def _result_came(self, came: ResultCame) -> None:
        self._waiters.pop(came.ticket).ended(came.result, came.payload)

    def _request_failed(self, failed: RequestFailed) -> None:
        self._waiters.pop(failed.ticket).failed(failed.error)

    def _results_missing(self, came: ResultsMissing) -> None:
        missing = came.missing
        session = self._sessions[came.handle]
        session.missing.append(missing)
        session.ears.keep(missing)
        last = missing.utterance_index + missing.count - 1
        words = "did not end in time" if missing.reason == "running" else "were not submitted"
        _log.warning("utterances %d to %d %s", missing.utterance_index, last, words)

    def _job_was_accepted(self, accepted: JobWasAccepted) -> None:
        self._waiters[accepted.ticket].accepted(accepted.accepted)

    def _partial_came(self, came: PartialCame) -> None:
        self._waiters[came.ticket].partial(came.partial, came.payload)

    def _progress_came(self, came: ProgressCame) -> None:
        self._waiters[came.ticket].progress(came.progress)

    def _session_opened(self, opened: SessionOpened) -> None:
        session = self._sessions[opened.handle]
        session.ack = opened.ack
        session.number = opened.ack.session_number
        self._session_id = opened.ack.session_id
        if not session.opened.done():
            session.opened.set_result(None)
        elif opened.is_again:
            session.ears.keep(ConnectionChange(is_up=True, is_resumed=opened.ack.resumed))

    def _session_interrupted(self, interrupted: SessionInterrupted) -> None:
        ears = self._sessions[interrupted.handle].ears
        ears.keep(ConnectionChange(is_up=False, reason=interrupted.reason))

    def _session_ended(self, ended: SessionEnded) -> None:
        session = self._sessions.pop(ended.handle)
        if not session.opened.done():
            error = ended.error or error_info(Code.SESSION_CLOSED, "closed before it opened")
            session.opened.set_exception(session_error(error))
        if not session.ended.done():
            session.ended.set_result(ended.error)
        session.ears.over(ended.error)

    def _broke(self, broken: asyncio.Future[None]) -> None:
        """A step raised: that is a bug of ours; nobody shall wait for an answer for ever."""
        if broken.cancelled():
            return
        error = broken.exception()
        self._give_up(error_info(Code.INTERNAL_ERROR, f"the client broke: {error!r}"))

    def _give_up(self, error: ErrorInfo) -> None:
        """Nobody is served any more: tell all who wait, and from now on who comes."""
        self._over = self._over or error
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters.values():
            waiter.failed(error)
        for ticket in [*self._sayings]:
            self._sayings.pop(ticket).over(error)
        for handle in [*self._sessions]:
            self._session_ended(SessionEnded(handle, error))


def session_error(error: ErrorInfo) -> Unreachable | SessionError:
    """Return the typed error of a session that did not open, or is over."""
    return Unreachable(error) if error.code == UNREACHABLE else SessionError(error)

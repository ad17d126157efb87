"""The client's core: facts in, wishes out.

It keeps sessions and their requests over any number of connections: every submit is answered
exactly once, under the id it was first sent with, however often the connection breaks and
whichever worker answers.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pointsman.backoff import NS_PER_MS
from pointsman.session_core import closing, links, opening, rooms, submitting, talking
from pointsman.session_core.events import (
    CancelWished,
    ClientSetup,
    CloseSession,
    OpenSession,
    SubmitWished,
)
from pointsman.session_core.records import Book, Link, Session, SessionState
from pointsman.session_core.talk_events import (
    PieceSpoken,
    PlayTold,
    RoomWished,
    UtteranceWished,
)
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.link import (
    Close,
    Closed,
    Connection,
    DialFailed,
    Dialled,
    LoopWasLate,
    Received,
    Send,
)
from pointsman_wire.messages import Error, error_info
from pointsman_wire.session_messages import (
    ClientHeartbeatAck,
    GoingAway,
    JobAccepted,
    MissingResult,
    Moved,
    Partial,
    Progress,
    Result,
    ResultsWaiting,
    SessionClosed,
    SessionInitAck,
)
from pointsman_wire.talk.talk_messages import RoomState, UiEvent, UtteranceJobs

Say = Callable[[Link, Any, bytes], None]


class ClientCore:
    """One client.  `step` absorbs events and returns every command they lead to, in order."""

    def __init__(self, setup: ClientSetup) -> None:
        self._book = Book(setup)
        self._absorb: dict[type, Callable[[Any], None]] = {
            Received: self._received,
            SubmitWished: lambda event: submitting.submit(self._book, event),
            CancelWished: self._cancel,
            **self._talk(),
            OpenSession: lambda event: opening.open_session(self._book, event),
            CloseSession: lambda event: closing.close(self._book, event),
            Dialled: self._dialled,
            DialFailed: self._dial_failed,
            Closed: self._closed,
            LoopWasLate: self._loop_was_late,
        }
        self._said: dict[type, Say] = {
            Result: self._result,
            JobAccepted: self._jobs_accepted,
            MissingResult: self._of_session(submitting.missing_came),
            ResultsWaiting: self._of_session(submitting.results_wait),
            Partial: self._partial,
            Progress: self._of_session(submitting.progress_came),
            ClientHeartbeatAck: lambda link, message, payload: None,
            SessionInitAck: lambda link, m, _: opening.acknowledged(self._book, link, m),
            Moved: lambda link, m, _: opening.moved(self._book, link, m),
            SessionClosed: lambda link, m, _: closing.closed(self._book, link, m),
            GoingAway: lambda link, m, _: links.going_away(self._book, link, m),
            RoomState: self._of_session(rooms.state_came),
            UiEvent: self._of_session(talking.step_came),
            UtteranceJobs: self._of_session(self._announced),
            Error: self._error,
            Unreadable: self._unreadable,
        }
        self._due: dict[str, Callable[[Any], None]] = {
            "dial": lambda link: links.dial(self._book, link),
            "dial_end": lambda link: self._lost(link, "the server does not answer"),
            "beat": lambda link: links.beat(self._book, link),
            "silent": self._look_for_silence,
            "leave": self._look_to_leave,
            "init_end": self._look_for_an_answer,
            "open_end": lambda session: opening.not_opened(self._book, session),
            "close_end": lambda session: closing.close_ended(self._book, session),
            "retry": lambda session: opening.try_again(self._book, session),
            "doubt": lambda session: submitting.ask_again(self._book, session),
            "deadline": lambda request: submitting.deadline_passed(self._book, request),
        }

    def _talk(self) -> dict[type, Callable[[Any], None]]:
        book = self._book
        return {
            UtteranceWished: lambda event: talking.wish(book, event),
            PieceSpoken: lambda event: talking.spoken(book, event),
            RoomWished: lambda event: rooms.wish(book, event),
            PlayTold: lambda event: rooms.play(book, event),
        }

    def _cancel(self, event: CancelWished) -> None:
        submitting.cancel(self._book, event.ticket)
        talking.cancel(self._book, event)

    def step(self, now_ns: int, events: Sequence[object]) -> list[object]:
        """Absorb what happened by now and return what shall be done, in order."""
        book = self._book
        book.now_ns = now_ns
        out = book.out = list[object]()
        for event in events:
            self._absorb[type(event)](event)
        for name, thing in book.timers.pop_due(now_ns):
            self._due[name](thing)
        while book.busy:
            self._finish([*book.busy.values()])
        return out

    def next_deadline_ns(self) -> int | None:
        """When to step even if nothing happens; None when only events count."""
        return self._book.timers.next_ns()

    def check_invariants(self) -> None:
        """Assert what must hold after every step."""
        self._book.check()

    def session(self, handle: int) -> Session | None:
        """Return a session's record to look at, or None when it is over."""
        return self._book.sessions.get(handle)

    @property
    def open_requests(self) -> int:
        """Submits that have no answer yet."""
        return len(self._book.requests)

    def _finish(self, busy: list[Link]) -> None:
        """Send what waits on links that had something to do, and end what is at its end."""
        book = self._book
        book.busy.clear()
        for link in busy:
            submitting.pump(book, link)
        moving = [*book.moving.values()]
        book.moving.clear()
        for session in moving:
            if session.handle in book.sessions:
                opening.try_to_move(book, session)
        leaving = [*book.closing.values()]
        book.closing.clear()
        for session in leaving:
            if session.handle in book.sessions:
                closing.try_to_close(book, session)

    # ---- connections

    def _dialled(self, event: Dialled) -> None:
        link = self._book.by_purpose.pop(event.purpose, None)
        if link is None:
            self._book.out.append(Close(event.connection, "not wanted any more"))
            return
        links.stand(self._book, link, event.connection)
        for session in [*link.sessions.values()]:
            opening.send_init(self._book, session)

    def _dial_failed(self, event: DialFailed) -> None:
        link = self._book.by_purpose.get(event.purpose)
        if link is not None:
            self._lost(link, event.reason)

    def _closed(self, event: Closed) -> None:
        link = self._book.by_connection.get(event.connection)
        if link is not None:
            self._lost(link, event.reason or "the connection was closed")

    def _lost(self, link: Link, reason: str) -> None:
        """Give connection or dial up and begin again, as long as a session needs the link."""
        book = self._book
        retry_after_ms = link.error.retry_after_ms if link.error else None
        if link.is_leaving:
            left_ns = max(0, link.due.get("leave", book.now_ns) - book.now_ns)
            retry_after_ms = max(retry_after_ms or 0, left_ns // NS_PER_MS)
        is_final = link.error and not link.error.retryable and not link.elsewhere.is_away
        if link.error and is_final and not link.by_number:
            opening.fail_unopened(book, link, link.error)
        links.hang_up(book, link, reason)
        for session in [*link.sessions.values()]:
            opening.interrupted(book, session, reason)
        links.wait_to_dial(book, link, retry_after_ms)

    def _loop_was_late(self, event: LoopWasLate) -> None:
        book = self._book
        book.timers.shift(links.JUDGING, event.late_ns)
        for link in {id(s.link): s.link for s in book.sessions.values()}.values():
            link.heard_at_ns += event.late_ns

    # ---- what workers say

    def _received(self, event: Received) -> None:
        connection: Connection = event.connection
        link = self._book.by_connection.get(connection)
        if link is None:
            return
        link.heard_at_ns = self._book.now_ns
        for message, payload in event.frames:
            handler = self._said.get(type(message))
            if handler is None:
                words = f"{message.__struct_config__.tag} is not for a client"
                self._answer(link, words)
            else:
                handler(link, message, payload)
            if link.connection != connection:  # an earlier frame has ended the connection
                return

    def _answer(self, link: Link, words: str) -> None:
        if link.connection is not None:
            error = Error(error_info(Code.INVALID_MESSAGE, words))
            self._book.out.append(Send(link.connection, error))

    def _of_session(self, act: Callable[[Book, Session, Any], None]) -> Say:
        def say(link: Link, message: Any, _: bytes) -> None:
            session = link.by_number.get(message.session_number)
            if session is not None:
                act(self._book, session, message)

        return say

    def _result(self, link: Link, message: Result, payload: bytes) -> None:
        session = link.by_number.get(message.session_number)
        if session is not None:
            submitting.result_came(self._book, session, message, payload)

    def _jobs_accepted(self, link: Link, message: JobAccepted, _: bytes) -> None:
        for job in message.jobs:
            session = link.by_number.get(job.session_number)
            if session is not None:
                submitting.accepted(self._book, session, job)

    def _partial(self, link: Link, message: Partial, payload: bytes) -> None:
        session = link.by_number.get(message.session_number)
        if session is not None:
            submitting.partial_came(self._book, session, message, payload)

    @staticmethod
    def _announced(book: Book, session: Session, message: UtteranceJobs) -> None:
        closing.told(book, session, message.utterance_id, message.request_ids)
        talking.announced(book, session, message)

    def _unreadable(self, link: Link, message: Unreadable, _: bytes) -> None:
        self._answer(link, f"{message.name or 'a frame'}: {message.reason}")

    def _error(self, link: Link, message: Error, _: bytes) -> None:
        """An error names a session_init by ref, a submit by session and id, or neither."""
        error = message.error
        opening_session = link.sessions.get(message.ref)
        session = link.by_number.get(message.session_number)
        if opening_session is not None:
            opening_session.asked = max(0, opening_session.asked - 1)
        if opening_session is not None and opening_session.state is SessionState.OPENING:
            if opening.shall_look_further(link, error):
                self._lost(link, f"{error.code}: {error.message}")
            else:
                opening.refused(self._book, opening_session, error)
        elif session is not None and error.code in opening.LOST_CODES:
            opening.lost(self._book, session)
        elif session is not None and message.request_id:
            closing.told(self._book, session, message.request_id)
            if not submitting.refused(self._book, session, message.request_id, error):
                rooms.refused(self._book, session, message.request_id, error)
        else:
            link.error = error
            self._book.out.append(opening.notice_of(error))

    # ---- what is due

    def _look_for_silence(self, link: Link) -> None:
        if links.is_silent(self._book, link):
            self._lost(link, "the server has gone silent")

    def _look_for_an_answer(self, session: Session) -> None:
        if opening.is_answer_late(self._book, session):
            self._lost(session.link, "session_init is not answered")

    def _look_to_leave(self, link: Link) -> None:
        if links.may_leave(self._book, link):
            link.is_leaving = False
            self._lost(link, "the worker is stopping")

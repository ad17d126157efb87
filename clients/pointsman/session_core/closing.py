"""A session is closed by its owner: when its requests have their answers, or at once.

Whoever waited is told at once in the second case, and what the server may have is cancelled, or it
would go on for nobody.  That takes a connection, and there may be none: so it is tried for a
moment, on a new one if need be, and then given up.  A close that waits for answers and has waited
for as long as it may goes on as one at once.
"""

from collections.abc import Iterable

from pointsman.backoff import NS_PER_S
from pointsman.session_core import links, opening, submitting, talking
from pointsman.session_core.events import CloseSession
from pointsman.session_core.records import Book, Link, Session, SessionState
from pointsman_wire.errors import Code
from pointsman_wire.link import Send
from pointsman_wire.messages import error_info
from pointsman_wire.session_messages import Cancel, SessionClose, SessionClosed

# So long a close at once may take for its cancels.
AT_ONCE_S = 1.0


def close(book: Book, event: CloseSession) -> None:
    """End the session as soon as its requests have their answers, or at once."""
    session = book.sessions.get(event.handle)
    if session is None:
        return
    session.is_closing = True
    submitting.stay(book, session)
    if event.flush and not session.has_given_up:
        talking.finish_all(book, session)
        _close_within(book, session, event.within_s)
    else:
        _give_up(book, session)
        _close_within(book, session, min(event.within_s, AT_ONCE_S))


def _close_within(book: Book, session: Session, within_s: float) -> None:
    if within_s <= 0:
        close_ended(book, session)
        return
    book.timers.set(session, "close_end", book.now_ns + int(within_s * NS_PER_S))
    if session.unwanted:
        links.dial(book, session.link)  # the next dial may be due when this is over
    try_to_close(book, session)


def _give_up(book: Book, session: Session) -> None:
    """Nobody waits any more: note what the server may have."""
    session.has_given_up = True
    sent = (name for name, request in session.requests.items() if request.is_sent)
    session.unwanted |= dict.fromkeys([*sent, *talking.names(session)])
    session.untold |= {
        name for name, turn in session.turns.items() if turn.sent_count and not turn.announced
    }
    submitting.fail_all(book, session, error_info(Code.CANCELLED, "the session was closed"))


def told(book: Book, session: Session, name: str, request_ids: Iterable[str] = ()) -> None:
    """The server says which jobs an utterance has become; none, where it answers with an error."""
    if name in session.untold:
        session.untold.discard(name)
        session.unwanted |= dict.fromkeys(request_ids)
        book.look_at_close(session)


def try_to_close(book: Book, session: Session) -> None:
    """Ask for the end once nothing is open; without a connection there is nobody to ask."""
    link = session.link
    if session.requests or session.turns or session.is_close_sent:
        return
    if session.state is not SessionState.OPEN or link.connection is None:
        if not session.unwanted:
            opening.end(book, session, None)
        return
    submitting.pump(book, link)  # the last results are acknowledged first
    if session.unwanted:
        _cancel(book, session)
    if not session.untold:
        _say_so(book, session, flush=not session.unwanted)


def _cancel(book: Book, session: Session) -> None:
    """Have the server stop what it was not asked to stop yet on this connection."""
    connection = session.link.connection
    assert connection is not None
    for name in [*session.unwanted][session.cancelled :]:
        book.out.append(Send(connection, Cancel(session_number=session.number, request_id=name)))
    session.cancelled = len(session.unwanted)


def _say_so(book: Book, session: Session, *, flush: bool) -> None:
    connection = session.link.connection
    assert connection is not None
    session.is_close_sent = True
    message = SessionClose(session_number=session.number, flush=flush)
    book.out.append(Send(connection, message))


def close_ended(book: Book, session: Session) -> None:
    """Time is up: what is still open is given up, and there is a moment to cancel it."""
    is_flushing = not session.has_given_up
    if is_flushing:
        _give_up(book, session)
    is_told = session.state is SessionState.OPEN and session.link.connection is not None
    if is_flushing and (session.untold or (session.unwanted and not is_told)):
        _close_within(book, session, AT_ONCE_S)
        return
    if is_told:
        _cancel(book, session)
        _say_so(book, session, flush=False)
    opening.end(book, session, None)


def closed(book: Book, link: Link, message: SessionClosed) -> None:
    """The worker ended the session."""
    session = link.by_number.get(message.session_number)
    if session is None:
        return
    if session.asked and not session.is_closing:
        opening.lost(book, session)  # it gives it to our second session_init, and says so next
        return
    reason = message.reason or "the server ended the session"
    error = None if session.is_closing else error_info(Code.SESSION_CLOSED, reason)
    opening.end(book, session, error)

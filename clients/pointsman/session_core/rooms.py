"""Rooms: entered again on every connection, and followed to the worker that has them.

A room may be another worker's, and a session belongs to the worker of its id.  So who enters such a
room gets a new session there.  What was sent in the old one is answered there first: submitted
under another session id it would be another job, and might be done twice.  What is wished for
meanwhile is sent in the new one.
"""

import msgspec

from pointsman.session_core import submitting
from pointsman.session_core.records import Book, Link, Session, SessionState
from pointsman.session_core.talk_events import PlayTold, RoomWished, SessionRenamed, TalkHeard
from pointsman_wire.link import Send
from pointsman_wire.messages import Error, ErrorInfo
from pointsman_wire.session_messages import Moved, SessionClose
from pointsman_wire.talk.talk_messages import RoomJoin, RoomLeave, RoomState, UiEvent


def wish(book: Book, event: RoomWished) -> None:
    """Somebody enters a room, or leaves it."""
    session = book.sessions.get(event.handle)
    if session is None:
        return
    message = event.message
    session.room = message if isinstance(message, RoomJoin) else None
    if session.move is not None:
        submitting.stay(book, session)
    send(book, session, message)


def enter_again(book: Book, session: Session) -> None:
    """The session stands on a connection that knows of no room."""
    session.move = None
    if session.room is not None:
        send(book, session, session.room)


def play(book: Book, event: PlayTold) -> None:
    """Tell who spoke that it is being played."""
    session = book.sessions.get(event.handle)
    if session is not None:
        send(book, session, event.message)


def send(book: Book, session: Session, message: UiEvent | RoomJoin | RoomLeave) -> None:
    """Send it, if there is anybody to send it to."""
    connection = session.link.connection
    if session.state is SessionState.OPEN and connection is not None:
        numbered = msgspec.structs.replace(message, session_number=session.number)
        book.out.append(Send(connection, numbered))


def state_came(book: Book, session: Session, message: RoomState) -> None:
    """Tell who is in the room."""
    book.out.append(TalkHeard(session.handle, message))


def refused(book: Book, session: Session, name: str, error: ErrorInfo) -> bool:
    """The session does not come into the room.  Was it asked for?"""
    if session.room is None or session.room.room != name:
        return False
    session.room = None
    book.out.append(TalkHeard(session.handle, Error(error, request_id=name)))
    return True


def moved(book: Book, link: Link, message: Moved) -> Session | None:
    """The room is another worker's: return the session that is to go there, once it may."""
    session = link.by_number.get(message.session_number)
    if session is None or session.room is None or session.room.room != message.room:
        return None
    session.move = message
    for request in session.requests.values():
        link.unsent.pop(request.key, None)  # to be sent from there
    return session


def may_move(session: Session) -> bool:
    """Is everything answered that was sent in the old session?"""
    is_sent = any(request.is_sent for request in session.requests.values())
    return not is_sent and not any(turn.sent_count for turn in session.turns.values())


def leave_old(book: Book, session: Session, move: Moved) -> None:
    """End the old session, and be a new one."""
    connection = session.link.connection
    if session.state is SessionState.OPEN and connection is not None:
        book.out.append(Send(connection, SessionClose(session_number=session.number)))
    session.session_id = move.session_id
    book.out.append(SessionRenamed(session.handle, move.session_id))
    session.resume_token = ""
    session.last_result = 0
    session.move = None

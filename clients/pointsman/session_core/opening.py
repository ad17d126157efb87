"""Sessions: opened, moved to the worker that owns them, resumed, closed.

A session keeps its id over all its connections, so its requests keep their meaning: the server
answers a repeated one with the same job.  After a broken connection the client names what is
unfinished and the last result it has, and submits again what the server calls unknown.
"""

from collections.abc import Callable

import msgspec

from pointsman.backoff import NS_PER_S, Backoff
from pointsman.session_core import links, rooms, submitting, talking
from pointsman.session_core.events import (
    Notice,
    OpenSession,
    SessionEnded,
    SessionInterrupted,
    SessionOpened,
)
from pointsman.session_core.records import Book, Link, Session, SessionState, forget_number
from pointsman_wire.errors import Code
from pointsman_wire.limits import HANDSHAKE_BYTES_MAX
from pointsman_wire.link import Send
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    Moved,
    SessionClose,
    SessionInitAck,
)
from pointsman_wire.shards import session_key, shard_of

INIT_TIMEOUT_S = 10.0
# A first frame is bounded; ids that do not fit are found by submitting them again.
PREFIX_ROOM_BYTES = 24
ID_ROOM_BYTES = 1  # a comma, in JSON
MOVES_MAX = 8
BACKOFF_FIRST_S = 0.1
BACKOFF_CAP_S = 10.0
UNREACHABLE = "UNREACHABLE"
# The server does not know the session any more: it is opened again under its id.
LOST_CODES = frozenset({Code.INVALID_SESSION.value, Code.SESSION_CLOSED.value})


def open_session(book: Book, event: OpenSession) -> None:
    """Begin a session on the link that its id belongs to."""
    link = _link_for(book, event.init.session_id)
    session = Session(
        handle=event.handle,
        init=event.init,
        link=link,
        backoff=Backoff(book.setup.entropy, first_s=BACKOFF_FIRST_S, cap_s=BACKOFF_CAP_S),
        session_id=event.init.session_id,
        resume_token=event.init.resume_token,
    )
    book.sessions[event.handle] = session
    book.sessions_made += 1
    if event.within_s is not None:
        end_ns = book.now_ns + int(event.within_s * NS_PER_S)
        book.timers.set(session, "open_end", end_ns)
    _put_on(book, session, link)


def _link_for(book: Book, session_id: str) -> Link:
    """Return the session's own link, or the trunk to the worker that owns it."""
    if not book.setup.is_trunk:
        return links.new_link(book, Role.SESSION, session_key(session_id) if session_id else None)
    shard: int | None = None
    if book.worker_count and session_id:
        shard = shard_of(session_id, book.worker_count)
    elif book.worker_count:
        shard = book.sessions_made % book.worker_count
    return _trunk(book, shard)


def _trunk(book: Book, shard: int | None, address: str = "") -> Link:
    link = book.trunks.get(shard)
    if link is None or (address and link.address != address):
        link = book.trunks[shard] = links.new_link(book, Role.TRUNK, shard, address)
    return link


def _put_on(book: Book, session: Session, link: Link) -> None:
    session.link = link
    session.state = SessionState.WAITING
    link.sessions[session.handle] = session
    if link.connection is not None:
        send_init(book, session)
    elif "dial" not in link.due:
        links.dial(book, link)


def send_init(book: Book, session: Session) -> None:
    """Ask the worker for the session, naming what is unfinished."""
    link = session.link
    if link.connection is None or link.is_leaving:
        return
    session.state = SessionState.OPENING
    init = msgspec.structs.replace(
        session.init,
        ref=session.handle,
        session_id=session.session_id,
        resume_token=session.resume_token,
        last_result=session.last_result,
    )
    encode = msgspec.json.encode if book.setup.is_web else msgspec.msgpack.encode
    bytes_left = HANDSHAKE_BYTES_MAX - len(encode(init)) - PREFIX_ROOM_BYTES
    if bytes_left < 0:
        text = f"the session's own options exceed the {HANDSHAKE_BYTES_MAX} bytes of a first frame"
        end(book, session, error_info(Code.INVALID_MESSAGE, text))
        return
    init = msgspec.structs.replace(init, unfinished=_named(session, bytes_left, encode))
    book.timers.set(session, "init_end", book.now_ns + int(INIT_TIMEOUT_S * NS_PER_S))
    book.out.append(Send(link.connection, init))
    session.asked += 1


def _named(session: Session, bytes_left: int, encode: Callable[[str], bytes]) -> list[str]:
    """Return the ids of requests that were sent, as many as fit, the longest open first."""
    sent = (name for name, request in session.requests.items() if request.is_sent)
    named: list[str] = []
    for request_id in (*sent, *talking.names(session)):
        bytes_left -= len(encode(request_id)) + ID_ROOM_BYTES
        if bytes_left < 0:
            break
        named.append(request_id)
    return named


def acknowledged(book: Book, link: Link, ack: SessionInitAck) -> None:
    """The session stands: take up its requests."""
    session = link.sessions.get(ack.ref)
    if session is None or link.connection is None:
        return
    session.asked = max(0, session.asked - 1)
    if session.state is SessionState.OPEN:  # it was asked for twice, and stands already
        if ack.session_id != session.session_id:
            extra = SessionClose(session_number=ack.session_number, flush=False)
            book.out.append(Send(link.connection, extra))
        return
    book.timers.clear(session, "init_end", "open_end", "doubt", "retry")
    session.state = SessionState.OPEN
    session.number = ack.session_number
    session.session_id = ack.session_id or session.session_id
    session.resume_token = ack.resume_token
    session.payload_bytes_max = ack.payload_bytes_max
    session.moves = 0
    session.backoff.reset()
    if not ack.resumed:
        session.last_result = 0
    link.by_number[session.number] = session
    link.address = link.elsewhere.arrived()
    _learn_place(book, link, ack)
    links.set_interval(book, link, ack.heartbeat_interval_s)
    book.out.append(SessionOpened(session.handle, ack, session.was_open))
    session.was_open = True
    rooms.enter_again(book, session)
    submitting.settle(book, session, ack.unfinished)
    if session.is_closing:
        book.look_at_close(session)


def _learn_place(book: Book, link: Link, ack: SessionInitAck) -> None:
    """Remember where this link leads, for its next dial and for the next sessions."""
    book.worker_count = ack.worker_count
    if link.role is Role.SESSION:
        link.key = session_key(ack.session_id)
        return
    if link.key is None:
        link.key = ack.shard
    if book.trunks.get(None) is link:
        del book.trunks[None]
    book.trunks.setdefault(ack.shard, link)


def moved(book: Book, link: Link, message: Moved) -> None:
    """The session belongs to another worker, or its room does: go there."""
    if message.room:
        if (session := rooms.moved(book, link, message)) is not None:
            try_to_move(book, session)
        return
    session = link.sessions.get(message.ref)
    if session is None:
        return
    book.worker_count = message.worker_count
    session.session_id = message.session_id or session.session_id
    session.moves += 1
    book.timers.clear(session, "init_end")
    if session.moves > MOVES_MAX:
        session.moves = 0
        session.trouble = "workers sent the session to and fro"
        _retry(book, session, None)
        return
    _go(book, session, message)


def _go(book: Book, session: Session, message: Moved) -> None:
    link = session.link
    _leave(book, session)
    # A worker that names no address means one of its own instance, wherever that was found.
    address = message.address or link.elsewhere.dialled
    if link.role is Role.TRUNK:
        _put_on(book, session, _trunk(book, message.shard, address))
        return
    links.hang_up(book, link, "moved")
    link = links.new_link(book, Role.SESSION, message.shard, address)
    _put_on(book, session, link)


def try_to_move(book: Book, session: Session) -> None:
    """Go to the worker of the session's room, if nothing is awaited from this one."""
    move = session.move
    if move is None or session.is_closing or not rooms.may_move(session):
        return
    submitting.pump(book, session.link)  # the last results are acknowledged first
    rooms.leave_old(book, session, move)
    _go(book, session, move)


def _leave(book: Book, session: Session) -> None:
    """Take the session off its link, its requests with it."""
    link = session.link
    for request in session.requests.values():
        submitting.leave_window(link, request)
        link.unsent.pop(request.key, None)
    link.sessions.pop(session.handle, None)
    forget_number(session)
    session.asked = 0
    session.state = SessionState.WAITING


def shall_look_further(link: Link, error: ErrorInfo) -> bool:
    """Is this the no of an alternative, which says nothing of the session's own service?"""
    is_no = not error.retryable and error.code not in LOST_CODES
    return is_no and link.elsewhere.is_away


def refused(book: Book, session: Session, error: ErrorInfo) -> None:
    """The worker does not open the session: for good, for now, or only not this resumption."""
    book.timers.clear(session, "init_end")
    session.state = SessionState.WAITING
    session.trouble = f"{error.code}: {error.message}"
    if error.code in LOST_CODES and session.resume_token:
        session.resume_token = ""
        session.last_result = 0
        _retry(book, session, error.retry_after_ms)
    elif error.retryable:
        _retry(book, session, error.retry_after_ms)
    elif error.code == Code.INVALID_PAIRING_CODE and session.was_open:
        # The server has forgotten whom the session was paired with: better unpaired than ended.
        session.init = msgspec.structs.replace(session.init, pairing_code="")
        _retry(book, session, None)
    else:
        end(book, session, error)


def lost(book: Book, session: Session) -> None:
    """The worker knows the session no more: open it again under its id."""
    forget_number(session)
    for request in session.requests.values():
        submitting.leave_window(session.link, request)
        session.link.unsent.pop(request.key, None)
    session.state = SessionState.WAITING
    session.resume_token = ""
    _retry(book, session, None)


def _retry(book: Book, session: Session, retry_after_ms: int | None) -> None:
    session.state = SessionState.WAITING
    delay_ns = session.backoff.next_delay_ns(retry_after_ms)
    book.timers.set(session, "retry", book.now_ns + delay_ns)


def is_answer_late(book: Book, session: Session) -> bool:
    """Has the worker said nothing at all since it was asked?  If it has, ask it again."""
    if book.now_ns - session.link.heard_at_ns >= int(INIT_TIMEOUT_S * NS_PER_S):
        return True
    _retry(book, session, None)
    return False


def try_again(book: Book, session: Session) -> None:
    """The wait after a refusal is over."""
    if session.state is SessionState.WAITING:
        send_init(book, session)


def interrupted(book: Book, session: Session, reason: str) -> None:
    """The session's connection is gone."""
    if session.state is SessionState.OPEN:
        book.out.append(SessionInterrupted(session.handle, reason))
    session.state = SessionState.WAITING
    session.asked = 0
    forget_number(session)
    session.trouble = reason or session.trouble
    book.timers.clear(session, "init_end", "doubt", "retry")
    submitting.interrupted(session)
    session.is_close_sent = False
    session.cancelled = 0
    session.untold.clear()  # they were told to nobody, and an utterance's own id will do
    if session.is_closing and not session.is_awaited():
        end(book, session, None)


# ---- the end


def not_opened(book: Book, session: Session) -> None:
    """It did not open in time."""
    words = session.trouble or "the server does not answer"
    hint = "Is the service running there, and is this its address?"
    end(book, session, ErrorInfo(UNREACHABLE, words, retryable=True, fault="operator", hint=hint))


def end(book: Book, session: Session, error: ErrorInfo | None) -> None:
    """Forget the session; what it has open fails."""
    link = session.link
    words = error.message if error else "the session was closed"
    open_error = error or error_info(Code.SESSION_CLOSED, words)
    submitting.fail_all(book, session, open_error)
    _leave(book, session)
    book.timers.clear_all(session)
    del book.sessions[session.handle]
    if link.role is Role.SESSION:
        links.hang_up(book, link, "the session is over")
    elif not link.sessions and link.connection is None:
        links.forget_connection(book, link)
    book.out.append(SessionEnded(session.handle, error))


def fail_unopened(book: Book, link: Link, error: ErrorInfo) -> None:
    """The worker wants nothing to do with this client: sessions that never opened end."""
    for session in [*link.sessions.values()]:
        if not session.was_open:
            end(book, session, error)


def notice_of(error: ErrorInfo) -> Notice:
    """Return an error of a connection as words for the log."""
    return Notice(f"the server says {error.code}: {error.message}")

"""Requests: submitted under their ids until an answer came, over any number of connections.

A worker that has not answered yet is sent no more than the window holds; so a slow one is not
flooded, and a fast one never waits.
"""

import msgspec

from pointsman.backoff import NS_PER_S
from pointsman.session_core import given_up, links, talking
from pointsman.session_core.events import (
    JobWasAccepted,
    Notice,
    PartialCame,
    ProgressCame,
    RequestFailed,
    ResultCame,
    ResultsMissing,
    SubmitWished,
)
from pointsman.session_core.records import Book, Link, NextPartial, Request, Session, SessionState
from pointsman_wire.errors import Code
from pointsman_wire.limits import PAYLOAD_BYTES_MAX
from pointsman_wire.link import Send
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import (
    AcceptedJob,
    Cancel,
    MissingResult,
    Partial,
    Progress,
    Result,
    ResultAck,
    ResultsWaiting,
    Submit,
)

# The server tells first that a deadline has passed; so much later the client does by itself.
DEADLINE_GRACE_S = 2.0
# In an utterance session a result waits for those before it: so long, unless an operator changed
# sessions.gap_window_s.
GAP_GRACE_S = 10.0
# A resumed session sends the result of an ended request by itself; if not, it is asked for again.
DOUBT_S = 2.0


def submit(book: Book, event: SubmitWished) -> None:
    """Take a wish: refuse it here, let it join an open request, or make it one."""
    session = book.sessions.get(event.handle)
    message = event.submit
    if session is None or session.is_closing:
        error = error_info(Code.SESSION_CLOSED, "the session is closed")
        book.out.append(RequestFailed(event.ticket, error))
        return
    if not message.request_id:
        request_id = f"req-{book.setup.entropy(6).hex()}"
        message = msgspec.structs.replace(message, request_id=request_id)
    same = session.requests.get(message.request_id)
    if (error_or_none := _why_not(book, session, event, same)) is not None:
        book.out.append(RequestFailed(event.ticket, error_or_none))
        return
    if same is not None:
        same.tickets.append(event.ticket)
        book.requests[event.ticket] = same
        return
    request = Request(
        key=event.ticket,
        handle=event.handle,
        submit=message,
        payload=event.payload,
        tickets=[event.ticket],
    )
    session.requests[message.request_id] = request
    book.requests[event.ticket] = request
    book.open_bytes += len(request.payload)
    if message.deadline_s is not None:
        request.deadline_at_ns = book.now_ns + int(message.deadline_s * NS_PER_S)
        end_ns = request.deadline_at_ns + int(DEADLINE_GRACE_S * NS_PER_S)
        book.timers.set(request, "deadline", end_ns)
    queue(book, session, request)


def _why_not(
    book: Book, session: Session, event: SubmitWished, same: Request | None
) -> ErrorInfo | None:
    limits = book.setup.limits
    size = len(event.payload)
    payload_bytes_max = session.payload_bytes_max or PAYLOAD_BYTES_MAX
    if size > payload_bytes_max:
        words = f"a payload of {size} bytes, the server takes {payload_bytes_max}"
        return error_info(Code.INVALID_MESSAGE, words)
    if same is not None:
        if same.payload == event.payload:
            return None
        words = f"request {same.submit.request_id} is open with another body"
        return error_info(Code.CONFLICT, words)
    if (
        len(book.requests) >= limits.open_count_max
        or book.open_bytes + size > limits.open_bytes_max
    ):
        words = f"{len(book.requests)} requests of {book.open_bytes} bytes are open in this client"
        return error_info(Code.QUEUE_FULL, words, retry_after_ms=100)
    return None


def queue(book: Book, session: Session, request: Request) -> None:
    """Have a request sent as soon as session and window allow."""
    request.is_sent = False
    if session.state is SessionState.OPEN and session.move is None:
        session.link.unsent[request.key] = request
        book.mark_busy(session.link)


def pump(book: Book, link: Link) -> None:
    """Send what waits, as far as the window goes; acknowledge results; once per step."""
    connection = link.connection
    if connection is None:
        return
    if link.unacknowledged:
        book.out.append(Send(connection, ResultAck(results=[*link.unacknowledged.items()])))
        link.unacknowledged.clear()
    if link.is_leaving or not link.unsent:
        return
    limits = book.setup.limits
    sent = []
    for key, request in link.unsent.items():
        if link.window_count >= limits.window_count or link.window_bytes >= limits.window_bytes:
            break
        sent.append(key)
        request.is_sent = request.is_in_window = True
        link.window_count += 1
        link.window_bytes += len(request.payload)
        number = book.sessions[request.handle].number
        message = _as_sent(book, request, number)
        book.out.append(Send(connection, message, request.payload))
    for key in sent:
        del link.unsent[key]


def _as_sent(book: Book, request: Request, number: int) -> Submit:
    """Return the submit with the session's number and what is left of the deadline."""
    message = request.submit
    if message.session_number != number:
        message = request.submit = msgspec.structs.replace(message, session_number=number)
    if request.deadline_at_ns is None:
        return message
    left_s = max(0.001, (request.deadline_at_ns - book.now_ns) / NS_PER_S)
    return msgspec.structs.replace(message, deadline_s=left_s)


def leave_window(link: Link, request: Request) -> None:
    """The worker has answered: its window has room again."""
    if request.is_in_window:
        request.is_in_window = False
        link.window_count -= 1
        link.window_bytes -= len(request.payload)


def _close(book: Book, session: Session, request: Request) -> list[int]:
    """Forget a request that has its answer; return who waits for it."""
    del session.requests[request.submit.request_id]
    session.link.unsent.pop(request.key, None)
    leave_window(session.link, request)
    book.open_bytes -= len(request.payload)
    book.timers.clear_all(request)
    for ticket in request.tickets:
        del book.requests[ticket]
    book.mark_busy(session.link)
    if session.is_closing:
        book.closing[session.handle] = session
    if session.move is not None:
        book.moving[session.handle] = session
    return request.tickets


def fail(book: Book, session: Session, request: Request, error: ErrorInfo) -> None:
    """End a request with an error."""
    for ticket in _close(book, session, request):
        book.out.append(RequestFailed(ticket, error))


def fail_all(book: Book, session: Session, error: ErrorInfo) -> None:
    """End every request of a session with an error."""
    for request in [*session.requests.values()]:
        fail(book, session, request, error)
    talking.fail_all(book, session, error)


# ---- what the worker says


def accepted(book: Book, session: Session, job: AcceptedJob) -> None:
    """The worker holds the job."""
    given_up.has_a_job(session, job.request_id)
    request = session.requests.get(job.request_id)
    if request is None:
        talking.accepted(book, session, job)
        return
    leave_window(session.link, request)
    book.mark_busy(session.link)
    for ticket in request.tickets:
        book.out.append(JobWasAccepted(ticket, job))


def refused(book: Book, session: Session, request_id: str, error: ErrorInfo) -> bool:
    """The worker takes the submit not; a stopping one leaves it to its successor.

    Returns whether it was one of ours.
    """
    if given_up.is_meant(session, request_id, error.code):
        return True
    request = session.requests.get(request_id)
    if request is None:
        return talking.refused(book, session, request_id, error)
    if error.code == Code.SHUTTING_DOWN:
        leave_window(session.link, request)
        links.start_leaving(book, session.link, error.retry_after_ms or 0)
        queue(book, session, request)
    else:
        fail(book, session, request, error)
    return True


def result_came(book: Book, session: Session, result: Result, payload: bytes) -> None:
    """Acknowledge a result, and tell it if it is news."""
    is_news = not result.number or result.number > session.last_result
    if result.number:
        session.last_result = max(session.last_result, result.number)
        session.link.unacknowledged[session.number] = session.last_result
        book.mark_busy(session.link)
    if result.speaker:
        if is_news:
            talking.overheard(book, session, result, payload)
        return
    given_up.has_a_job(session, result.request_id)
    request = session.requests.get(result.request_id)
    if request is None:
        talking.result_came(book, session, result, payload)
        return
    for ticket in _close(book, session, request):
        book.out.append(ResultCame(ticket, result, payload))


def missing_came(book: Book, session: Session, missing: MissingResult) -> None:
    """Acknowledge it like a result, and tell it once."""
    is_news = missing.number > session.last_result
    session.last_result = max(session.last_result, missing.number)
    session.link.unacknowledged[session.number] = session.last_result
    book.mark_busy(session.link)
    if is_news:
        book.out.append(ResultsMissing(session.handle, missing))


def results_wait(book: Book, session: Session, waiting: ResultsWaiting) -> None:
    """The server holds results until this client has read what came before: they follow by
    themselves, as it acknowledges.  What the server could not hold is asked for again.
    """
    if waiting.count and not session.is_slow:
        session.is_slow = True
        book.out.append(Notice("results wait at the server, as this client reads them slowly"))
    if waiting.count or not waiting.forgotten:
        return
    for request in session.requests.values():
        if request.is_in_window:
            continue
        if request.is_cancelled:
            send_cancel(book, session, request)
        elif request.is_sent:
            queue(book, session, request)
    talking.say_again(book, session)


def partial_came(book: Book, session: Session, partial: Partial, payload: bytes) -> None:
    """Tell a piece of a result once, in order; pieces of an older attempt are no news."""
    request = session.requests.get(partial.request_id)
    if request is None:
        talking.partial_came(book, session, partial, payload)
        return
    if request.next_partial is not None and request.next_partial.is_past(partial):
        return
    request.next_partial = NextPartial.after(partial)
    for ticket in request.tickets:
        book.out.append(PartialCame(ticket, partial, payload))


def progress_came(book: Book, session: Session, progress: Progress) -> None:
    """Pass on that a job is alive."""
    request = session.requests.get(progress.request_id)
    if request is None:
        talking.progress_came(book, session, progress)
    for ticket in request.tickets if request else []:
        book.out.append(ProgressCame(ticket, progress))


# ---- cancelling, deadlines


def cancel(book: Book, ticket: int) -> None:
    """Take one waiter away; when it was the last, have the job stopped."""
    request = book.requests.get(ticket)
    if request is None or request.is_cancelled:
        return
    session = book.sessions[request.handle]
    if len(request.tickets) > 1:
        request.tickets.remove(ticket)
        del book.requests[ticket]
        error = error_info(Code.CANCELLED, "cancelled; another submit of the same id goes on")
        book.out.append(RequestFailed(ticket, error))
        return
    request.is_cancelled = True
    if not request.is_sent:
        fail(book, session, request, error_info(Code.CANCELLED, "cancelled before it was sent"))
    else:
        send_cancel(book, session, request)


def send_cancel(book: Book, session: Session, request: Request) -> None:
    """Ask the worker to stop a job; its result says how it ended."""
    connection = session.link.connection
    if session.state is SessionState.OPEN and connection is not None:
        message = Cancel(session_number=session.number, request_id=request.submit.request_id)
        book.out.append(Send(connection, message))


def deadline_passed(book: Book, request: Request) -> None:
    """The server has not told it, so the client does."""
    session = book.sessions[request.handle]
    assert request.deadline_at_ns is not None
    last_ns = request.deadline_at_ns + int((DEADLINE_GRACE_S + GAP_GRACE_S) * NS_PER_S)
    if _may_be_held(session, request) and book.now_ns < last_ns:
        book.timers.set(request, "deadline", last_ns)
        return
    if request.is_sent:
        if not request.is_cancelled:
            send_cancel(book, session, request)
        given_up.note(session, request)
    words = f"no result within {request.submit.deadline_s:g} s, nor word from the server"
    fail(book, session, request, error_info(Code.JOB_TIMEOUT, words))


def _may_be_held(session: Session, request: Request) -> bool:
    """May it have ended, at a server that is there, behind results that have to come first?"""
    is_accepted = request.is_sent and not request.is_in_window
    is_ordered = session.init.order == "utterance"
    return is_ordered and is_accepted and session.state is SessionState.OPEN


# ---- after a broken connection


def interrupted(session: Session) -> None:
    """The connection broke: what the server knows will be asked when the session is resumed."""
    for request in session.requests.values():
        request.is_in_window = False


def settle(book: Book, session: Session, answers: dict[str, str]) -> None:
    """After session_init_ack: submit again, under the same ids, what the server does not know.

    `answers` says of ids that were named: running, ended or unknown.
    """
    session.given_up = {}
    in_doubt = talking.settle(book, session, answers)
    for request_id, request in [*session.requests.items()]:
        answer = answers.get(request_id, "unknown") if request.is_sent else "unknown"
        if answer == "unknown" and request.is_cancelled:
            words = "cancelled while the connection was broken"
            fail(book, session, request, error_info(Code.CANCELLED, words))
        elif answer == "unknown":
            queue(book, session, request)
        else:
            in_doubt |= answer == "ended"
            if request.is_cancelled:
                send_cancel(book, session, request)
    if in_doubt:
        book.timers.set(session, "doubt", book.now_ns + int(DOUBT_S * NS_PER_S))
        session.doubted = {i for i, answer in answers.items() if answer == "ended"}


def stay(book: Book, session: Session) -> None:
    """The session goes nowhere after all: send what was to be sent from there."""
    session.move = None
    for request in session.requests.values():
        if not request.is_sent:
            queue(book, session, request)
    for turn in session.turns.values():
        talking.pump(book, session, turn)


def ask_again(book: Book, session: Session) -> None:
    """Results that the server said to have did not come: submit their requests again."""
    for request_id in sorted(session.doubted):
        request = session.requests.get(request_id)
        if request is not None and not request.is_in_window:
            queue(book, session, request)
    talking.say_again(book, session, session.doubted)
    session.doubted = set()

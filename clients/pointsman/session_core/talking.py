"""Utterances: kept with all their sound until every job of theirs is answered, whatever breaks.

The server tells which jobs an utterance has become (utterance_jobs); it is over when each of them
has a result or was refused.  After a lost connection it is said again under its id, which leads to
the same jobs; pieces of sound that the server has already are dropped there by their numbers.
"""

import msgspec

from pointsman.session_core import links
from pointsman.session_core.events import CancelWished
from pointsman.session_core.records import Book, NextPartial, Session, SessionState, Turn
from pointsman.session_core.talk_events import (
    PieceSpoken,
    TalkHeard,
    UtteranceEnded,
    UtterancePartial,
    UtteranceRefused,
    UtteranceResult,
    UtteranceStep,
    UtteranceWished,
)
from pointsman_wire.errors import Code
from pointsman_wire.limits import PAYLOAD_BYTES_MAX
from pointsman_wire.link import Send
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import AcceptedJob, Cancel, Partial, Progress, Result
from pointsman_wire.talk.talk_messages import AudioChunk, UiEvent, Utterance, UtteranceJobs

UTTERANCES_OPEN_MAX = 1_000  # of a client
ASR_SUFFIX = ":asr"  # of the job that only recognises
PIECE_BYTES_MAX = 256 * 1024  # of sound, in one message
SOUND_BYTES_MAX = 4 * 1024 * 1024  # of one utterance; servers take less


def wish(book: Book, event: UtteranceWished) -> None:
    """Take a wish: refuse it here, or make it an utterance."""
    session = book.sessions.get(event.handle)
    message = event.message
    refusal: ErrorInfo | None = None
    if session is None or session.is_closing:
        refusal = error_info(Code.SESSION_CLOSED, "the session is closed")
    elif message.utterance_id in session.turns:
        words = f"utterance {message.utterance_id} is open already"
        refusal = error_info(Code.CONFLICT, words)
    elif len(event.payload) > PAYLOAD_BYTES_MAX:
        words = f"a sound of {len(event.payload)} bytes, at most {PAYLOAD_BYTES_MAX} fit a message"
        refusal = error_info(Code.INVALID_MESSAGE, words)
    elif len(book.turns) >= UTTERANCES_OPEN_MAX or _is_full(book, len(event.payload)):
        words = f"{len(book.turns)} utterances are open in this client"
        refusal = error_info(Code.QUEUE_FULL, words, retry_after_ms=100)
    if session is None or refusal is not None:
        book.out.append(UtteranceEnded(event.ticket, refusal))
        return
    turn = Turn(key=event.ticket, handle=event.handle, utterance_id=message.utterance_id)
    turn.is_complete = isinstance(message, Utterance) or message.is_final
    session.turns[message.utterance_id] = turn
    book.turns[event.ticket] = turn
    _add(book, turn, message, event.payload)
    pump(book, session, turn)


def _is_full(book: Book, more_bytes: int) -> bool:
    return book.open_bytes + more_bytes > book.setup.limits.open_bytes_max


def spoken(book: Book, event: PieceSpoken) -> None:
    """Take a further piece, cut where it fits no message; what comes after the end is dropped."""
    turn = book.turns.get(event.ticket)
    if turn is None or turn.is_complete:
        return
    session = book.sessions[turn.handle]
    if turn.size + len(event.payload) > SOUND_BYTES_MAX or _is_full(book, len(event.payload)):
        words = f"an utterance of more than {turn.size} bytes"
        fail(book, session, turn, error_info(Code.QUEUE_FULL, words))
        return
    first = turn.frames[0][0]
    turn.is_complete = event.is_final
    last = max(0, len(event.payload) - 1) // PIECE_BYTES_MAX
    for at in range(last + 1):
        piece = event.payload[at * PIECE_BYTES_MAX : (at + 1) * PIECE_BYTES_MAX]
        is_final = event.is_final and at == last
        message = msgspec.structs.replace(first, seq=len(turn.frames), is_final=is_final)
        _add(book, turn, message, piece)
    pump(book, session, turn)


def _add(book: Book, turn: Turn, message: Utterance | AudioChunk, payload: bytes) -> None:
    turn.frames.append((message, payload))
    turn.size += len(payload)
    book.open_bytes += len(payload)


def pump(book: Book, session: Session, turn: Turn) -> None:
    """Send what has not been sent, if there is anybody to send it to."""
    link = session.link
    if session.state is not SessionState.OPEN or link.connection is None:
        return
    if session.move is not None or (link.is_leaving and not turn.sent_count):
        return
    for message, payload in turn.frames[turn.sent_count :]:
        numbered = msgspec.structs.replace(message, session_number=session.number)
        book.out.append(Send(link.connection, numbered, payload))
    turn.sent_count = len(turn.frames)


def _close(book: Book, session: Session, turn: Turn, error: ErrorInfo | None) -> None:
    del session.turns[turn.utterance_id]
    del book.turns[turn.key]
    book.open_bytes -= turn.size
    book.mark_busy(session.link)
    if session.is_closing:
        book.closing[session.handle] = session
    if session.move is not None:
        book.moving[session.handle] = session
    book.out.append(UtteranceEnded(turn.key, error))


def fail(book: Book, session: Session, turn: Turn, error: ErrorInfo) -> None:
    """End an utterance as a whole with an error."""
    _close(book, session, turn, error)


def fail_all(book: Book, session: Session, error: ErrorInfo) -> None:
    """End every utterance of a session with an error."""
    for turn in [*session.turns.values()]:
        fail(book, session, turn, error)


def finish_all(book: Book, session: Session) -> None:
    """Nobody speaks any more: what has begun ends here."""
    for turn in [*session.turns.values()]:
        spoken(book, PieceSpoken(ticket=turn.key, payload=b"", is_final=True))


# ---- what the worker says


def _turn_of(session: Session, request_id: str) -> Turn | None:
    """Find the utterance of a job: its id may have a language, or a stage, behind it."""
    turn = session.turns.get(request_id)
    return turn or session.turns.get(request_id.rpartition(":")[0])


def announced(book: Book, session: Session, message: UtteranceJobs) -> None:
    """These are the jobs of an utterance."""
    turn = session.turns.get(message.utterance_id)
    if turn is None:
        return
    if turn.is_guessed:
        turn.is_guessed = False
        turn.announced.pop(turn.utterance_id, None)
    for request_id in turn.doubted:
        if request_id not in message.request_ids:
            turn.announced.pop(request_id, None)
    turn.doubted = set()
    turn.announced |= dict.fromkeys(message.request_ids)
    if turn.is_cancelled:
        _send_cancels(book, session, turn)
    _look(book, session, turn)


def _look(book: Book, session: Session, turn: Turn) -> None:
    """Is each of its jobs answered?"""
    if turn.announced and not turn.open_ids():
        _close(book, session, turn, None)


def refused(book: Book, session: Session, request_id: str, error: ErrorInfo) -> bool:
    """The worker takes an utterance, or one of its jobs, not.  Was it one of ours?"""
    turn = _turn_of(session, request_id)
    if turn is None:
        return False
    if error.code == Code.SHUTTING_DOWN:
        links.start_leaving(book, session.link, error.retry_after_ms or 0)
        turn.sent_count = 0
    elif request_id in turn.announced:
        turn.answered[request_id] = None
        book.out.append(UtteranceRefused(turn.key, request_id, error))
        _look(book, session, turn)
    elif turn.is_cancelled and error.code == Code.NOT_FOUND:
        # The cancel of its own id; where there are jobs of it, each has its own.
        if not turn.announced:
            words = "cancelled before it was a job"
            fail(book, session, turn, error_info(Code.CANCELLED, words))
    else:
        fail(book, session, turn, error)
    return True


def result_came(book: Book, session: Session, result: Result, payload: bytes) -> None:
    """Tell a result of an utterance once."""
    turn = _turn_of(session, result.request_id)
    if turn is None or result.request_id in turn.answered:
        return
    turn.answered[result.request_id] = None
    book.out.append(UtteranceResult(turn.key, result, payload))
    _expect_more(turn, result, payload)
    _look(book, session, turn)


def _expect_more(turn: Turn, result: Result, payload: bytes) -> None:
    """What was recognised is translated next, under the utterance's own id.

    The server says so before, but to nobody if the connection was broken just then.
    """
    is_recognised = result.request_id == turn.utterance_id + ASR_SUFFIX and payload.strip()
    if is_recognised and result.status == "completed" and not turn.open_ids():
        turn.is_guessed = len(turn.announced) == 1
        if turn.is_guessed:
            turn.announced[turn.utterance_id] = None


def overheard(book: Book, session: Session, result: Result, payload: bytes) -> None:
    """Somebody else has said something to this session."""
    book.out.append(TalkHeard(session.handle, result, payload))


def step_came(book: Book, session: Session, step: UiEvent) -> None:
    """Tell a step to who waits for the utterance, or to the session."""
    turn = None if step.speaker or step.listener else session.turns.get(step.utterance_id)
    told = TalkHeard(session.handle, step) if turn is None else UtteranceStep(turn.key, step)
    book.out.append(told)


def accepted(book: Book, session: Session, job: AcceptedJob) -> None:
    """The worker holds one of its jobs."""
    if (turn := _turn_of(session, job.request_id)) is not None:
        book.out.append(UtteranceStep(turn.key, job))


def partial_came(book: Book, session: Session, partial: Partial, payload: bytes) -> None:
    """Tell a piece of a result once, in order; pieces of an older attempt are no news."""
    turn = _turn_of(session, partial.request_id)
    last = turn.next_partial.get(partial.request_id) if turn is not None else None
    if turn is None or (last is not None and last.is_past(partial)):
        return
    turn.next_partial[partial.request_id] = NextPartial.after(partial)
    book.out.append(UtterancePartial(turn.key, partial, payload))


def progress_came(book: Book, session: Session, progress: Progress) -> None:
    """Pass on that one of its jobs is alive."""
    if (turn := _turn_of(session, progress.request_id)) is not None:
        book.out.append(UtteranceStep(turn.key, progress))


# ---- cancelling, and what is broken


def cancel(book: Book, event: CancelWished) -> None:
    """Have the jobs of an utterance stopped; one that is being spoken ends here."""
    turn = book.turns.get(event.ticket)
    if turn is None or turn.is_cancelled:
        return
    turn.is_cancelled = True
    session = book.sessions[turn.handle]
    if not turn.sent_count:
        fail(book, session, turn, error_info(Code.CANCELLED, "cancelled before it was sent"))
        return
    spoken(book, PieceSpoken(ticket=turn.key, payload=b"", is_final=True))
    _send_cancels(book, session, turn)


def _send_cancels(book: Book, session: Session, turn: Turn) -> None:
    connection = session.link.connection
    if session.state is SessionState.OPEN and connection is not None:
        for request_id in turn.open_ids() or [turn.utterance_id]:
            message = Cancel(session_number=session.number, request_id=request_id)
            book.out.append(Send(connection, message))


def names(session: Session) -> list[str]:
    """Return what to ask the server about when the session is taken up again."""
    sent = (turn for turn in session.turns.values() if turn.sent_count)
    return [request_id for turn in sent for request_id in turn.open_ids() or [turn.utterance_id]]


def settle(book: Book, session: Session, answers: dict[str, str]) -> bool:
    """After session_init_ack: say again what the server does not know.

    Returns whether the server says that it has results which have yet to come.
    """
    is_in_doubt = False
    for turn in [*session.turns.values()]:
        told = {answers.get(i, "unknown") for i in turn.open_ids() or [turn.utterance_id]}
        if turn.is_cancelled and "unknown" in told:
            lost = {i for i in turn.open_ids() if answers.get(i) != "running"}
            turn.answered |= dict.fromkeys(lost)
            if turn.open_ids():  # those that it has go on otherwise
                _send_cancels(book, session, turn)
            words = "cancelled while the connection was broken"
            fail(book, session, turn, error_info(Code.CANCELLED, words))
            continue
        # A server that has not told all of its jobs is asked for them by saying it again.
        if "unknown" in told or not turn.announced:
            turn.sent_count = 0
            _doubt(turn, answers)
        is_in_doubt |= "ended" in told
        pump(book, session, turn)
        if turn.is_cancelled:
            _send_cancels(book, session, turn)
    return is_in_doubt


def _doubt(turn: Turn, answers: dict[str, str]) -> None:
    """Said again it may become other jobs: into the languages of those who hear it now.

    A translation that follows a recognition is announced after it.
    """
    turn.doubted = {i for i in turn.open_ids() if answers.get(i, "unknown") == "unknown"}
    if turn.utterance_id + ASR_SUFFIX in turn.announced:
        turn.doubted.discard(turn.utterance_id)


def say_again(book: Book, session: Session, request_ids: set[str] | None = None) -> None:
    """Results of these jobs, or of any, were given up by the server: ask for them once more."""
    for turn in [*session.turns.values()]:
        wanted = set(turn.open_ids()) if request_ids is None else request_ids
        if request_ids is None or wanted & {turn.utterance_id, *turn.open_ids()}:
            turn.sent_count = 0
            _doubt(turn, {i: "running" for i in turn.open_ids() if i not in wanted})
            pump(book, session, turn)

"""What a session's order brings with it: the state it needs, and how much may be pending."""

from msgspec.structs import replace

from pointsman_wire.errors import Code
from pointsman_wire.messages import NUMBER_MAX, ErrorInfo, error_info
from pointsman_wire.session_messages import Submit
from pointsman_workers.core.state import Line, Lines, Session, Utterances
from pointsman_workers.ordering.utterances import (
    index_of,
    next_index,
    note_accepted,
)


def set_order(session: Session, order: str, lines: Lines) -> None:
    """Begin the order of a session, with what it has open."""
    session.order = order
    if order != "serial":
        session.line = None
    else:
        session.line = line_of((session.tenant, session.session_id), lines)
    session.utterances = None
    if order == "utterance":
        session.utterances = Utterances(session=session)
        for job in session.open_jobs.values():
            note_accepted(session.utterances, index_of(job))


def line_of(whose: tuple[str, str], lines: Lines) -> Line:
    """The line of all serial sessions, one after the other, that have this id."""
    return lines.get(whose) or lines.setdefault(whose, Line(whose=whose))


def kept_order(session: Session, wanted: str) -> ErrorInfo | None:
    """Why a session cannot go over to another order now, None when it can."""
    if not session.open_jobs or session.order == wanted:
        return None
    text = f"the session has jobs in order {session.order!r}, and keeps it until they have ended"
    hint = f"Open it with order {session.order!r}, or another session."
    return replace(error_info(Code.CONFLICT, text), hint=hint)


def hindrance_of_order(session: Session, submit: Submit, pending_max: int) -> ErrorInfo | None:
    """Why a session with an order does not take this job, None when it does."""
    if session.order == "free":
        return None
    pending, line = len(session.open_jobs), session.utterances
    if line is not None:
        pending += line.held_count
        if submit.utterance_index is None and next_index(line) is None:
            text = (
                f"utterance_index {NUMBER_MAX} was used, there is none after it: name another one"
            )
            return error_info(Code.INVALID_MESSAGE, text)
    if pending < pending_max:
        return None
    text = (
        f"{pending} jobs of this {session.order} session have no result yet, at most that many may "
        "be pending"
    )
    return error_info(Code.QUEUE_FULL, text, retry_after_ms=1_000)

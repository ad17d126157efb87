"""What a session's order brings with it: the state it needs, and how much may be pending."""

from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_workers.core.state import Line, Lines, Session, Utterances
from pointsman_workers.ordering.utterances import index_of, note_accepted


def set_order(session: Session, order: str, lines: Lines) -> None:
    """Begin the order of a session, with what it has open."""
    session.order = order
    session.terms = None
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


def too_many_pending(session: Session, pending_max: int) -> ErrorInfo | None:
    """Why a session with an order takes no more jobs for now, None when it does."""
    if session.order == "free":
        return None
    pending = len(session.open_jobs)
    if session.utterances is not None:
        pending += session.utterances.held_count
    if pending < pending_max:
        return None
    text = (
        f"{pending} jobs of this {session.order} session have no result yet, at most that many may "
        "be pending"
    )
    return error_info(Code.QUEUE_FULL, text, retry_after_ms=1_000)

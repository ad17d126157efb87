"""Requests that the client gave up by itself before the server had said anything of them.

Their answers may come late, when the same id is a new request: errors name no more than the id.
They come in order, and those of the earlier request end with that to its Cancel.
"""

from pointsman.session_core.records import Request, Session, SessionState
from pointsman_wire.errors import Code

# How a Cancel is answered where no job was made that has a result.
CANCEL_CODES = frozenset(
    {Code.CANCELLED.value, Code.NOT_FOUND.value, Code.UNAUTHORIZED.value},
)


def note(session: Session, request: Request) -> None:
    """It is given up, and its Cancel was sent."""
    if request.is_in_window and session.state is SessionState.OPEN:
        request_id = request.submit.request_id
        session.given_up[request_id] = session.given_up.get(request_id, 0) + 1


def is_meant(session: Session, request_id: str, code: str) -> bool:
    """Is this error the answer to one that was given up, and not to its successor?"""
    count = session.given_up.get(request_id, 0)
    # A stopping worker takes neither.
    if not count or code == Code.SHUTTING_DOWN:
        return False
    if code in CANCEL_CODES and count == 1:
        del session.given_up[request_id]
    elif code in CANCEL_CODES:
        session.given_up[request_id] = count - 1
    return True


def has_a_job(session: Session, request_id: str) -> None:
    """There is a job, one for all requests of that id: its result is the answer to a Cancel."""
    if session.given_up:
        session.given_up.pop(request_id, None)

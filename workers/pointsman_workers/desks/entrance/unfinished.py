"""What became of the requests that a client names when it comes back."""

from collections.abc import Sequence

from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Session

# Of the ids that are answered: as JSON, too, the answer fits in a frame.  A first frame has 16 KiB.
ANSWERED_BYTES_MAX = 64 * 1024
ANSWER_BYTES = 10  # what an id takes besides itself


def answer_unfinished(shard: Shard, session: Session, request_ids: Sequence[str]) -> dict[str, str]:
    """Say of ids that the client still waits for: running, ended, or unknown.

    Of more than fit in an answer, of the first: its client submits the others in any case.
    """
    answers: dict[str, str] = {}
    session.repeats.clear()
    left = ANSWERED_BYTES_MAX
    for request_id in request_ids:
        left -= len(request_id.encode()) + ANSWER_BYTES
        if left < 0:
            break
        job = shard.window.find((session.tenant, session.session_id, request_id))
        if job is None or job.is_beyond_telling:  # a repeated submit is told why
            session.repeats.add(request_id)
            answers[request_id] = "unknown"
        else:
            answers[request_id] = "running" if job.is_open else "ended"
    return answers


def is_unfinished(session: Session | None) -> bool:
    """Does something of it still run here, or wait to be read?"""
    return session is not None and bool(session.open_jobs or session.unread or session.held)

"""What became of the requests that a client names when it comes back."""

from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Session


def answer_unfinished(shard: Shard, session: Session, request_ids: list[str]) -> dict[str, str]:
    """Say of each id that the client still waits for: running, ended, or unknown."""
    answers = {}
    for request_id in request_ids:
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

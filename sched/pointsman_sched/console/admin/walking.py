"""Lists that each worker holds for itself: walked worker by worker, a page at a time."""

from typing import TypeVar

from msgspec.structs import replace

from pointsman_sched.console.admin.asking import Processes
from pointsman_sched.console.admin.cursors import (
    Cursor,
    decode_cursor,
    encode_cursor,
    number_of,
)
from pointsman_sched.console.admin.problems import ApiError, bad_request
from pointsman_sched.console.admin.views import (
    JobOfWorker,
    JobsPage,
    SessionOfWorker,
    SessionsPage,
)
from pointsman_wire.admin_messages import AdminQuery, Sessions, SessionsQuery
from pointsman_wire.queries.work_messages import Jobs, JobsQuery

Kind = TypeVar("Kind")


async def walk_sessions(processes: Processes, limit: int = 100, cursor: str = "") -> SessionsPage:
    """A page of sessions, by worker and id."""
    at = _checked(decode_cursor(cursor), processes)
    found: list[SessionOfWorker] = []
    silent: dict[str, str] = {}
    following: Cursor | None = at
    while following is not None and len(found) < limit:
        at = following
        worker = processes.workers[at.worker]
        room = limit - len(found)
        query = SessionsQuery(limit=room, after=at.key, after_tenant=at.tenant)
        page = await _page(processes, worker, query, Sessions(sessions=[]), silent)
        found += [SessionOfWorker(worker=worker, session=line) for line in page.sessions]
        last = page.sessions[-1] if page.more else None
        following = _next(at, last.session_id if last is not None else "", processes)
        if following is not None and last is not None:
            following = replace(following, tenant=last.tenant)
    totals = SessionsQuery(limit=1)
    answers, _ = await processes.each(processes.workers, totals, Sessions)
    return SessionsPage(
        sessions=found,
        total=sum(page.total for page in answers.values()),
        next_cursor=encode_cursor(following) if following is not None else "",
        no_answer=silent,
    )


async def walk_jobs(processes: Processes, wanted: JobsQuery, cursor: str = "") -> JobsPage:
    """A page of open jobs, by worker and age; `wanted.after` is set by the cursor."""
    at = _checked(decode_cursor(cursor), processes)
    found: list[JobOfWorker] = []
    silent: dict[str, str] = {}
    is_truncated = False
    following: Cursor | None = at
    while following is not None and len(found) < wanted.limit:
        at = following
        worker = processes.workers[at.worker]
        query = replace(wanted, limit=wanted.limit - len(found), after=number_of(at))
        page = await _page(processes, worker, query, Jobs(), silent)
        found += [JobOfWorker(worker=worker, job=line) for line in page.jobs]
        is_truncated |= page.truncated
        last = str(page.jobs[-1].arrival) if page.more else ""
        following = _next(at, last, processes)
    answers, _ = await processes.each(processes.workers, replace(wanted, limit=1), Jobs)
    return JobsPage(
        jobs=found,
        total=sum(page.total for page in answers.values()),
        truncated=is_truncated,
        next_cursor=encode_cursor(following) if following is not None else "",
        no_answer=silent,
    )


async def _page(
    processes: Processes, worker: str, query: AdminQuery, empty: Kind, silent: dict[str, str]
) -> Kind:
    try:
        return await processes.one(worker, query, type(empty))
    except ApiError as error:
        silent[worker] = error.detail
        return empty


def _checked(cursor: Cursor, processes: Processes) -> Cursor:
    if not 0 <= cursor.worker < processes.worker_count:
        todo = "begin anew without a cursor: the service has another number of workers now"
        raise bad_request("this cursor is of another service", todo, "cursor")
    return cursor


def _next(at: Cursor, last: str, processes: Processes) -> Cursor | None:
    """Where the list goes on: after `last` of this worker, else at the next one, else nowhere."""
    if last:
        return Cursor(at.worker, last)
    return Cursor(at.worker + 1) if at.worker + 1 < processes.worker_count else None

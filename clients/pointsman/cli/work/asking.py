"""Asking a service about its pools and its work at hand: data only, no output.

Each worker answers for its own sessions; the answers are put together here.
"""

from typing import NamedTuple

from msgspec.structs import replace

from pointsman.cli.fleet.asking import MANAGER, Heard, Service, ask_each, of_kind
from pointsman_wire.limits import PAGE_LINES_MAX
from pointsman_wire.queries.fleet_messages import Pools, PoolsQuery
from pointsman_wire.queries.reason_sums import add_up, best_change
from pointsman_wire.queries.work_messages import (
    JobLine,
    Jobs,
    JobsQuery,
    QueueLine,
    Queues,
    QueuesQuery,
    ReasonLine,
    Reasons,
    ReasonsQuery,
)


class FoundJobs(NamedTuple):
    """(worker, job), the oldest first, how many there are, and who gave no answer.

    is_truncated: a worker with very many sessions did not look at all of them.
    """

    lines: list[tuple[str, JobLine]]
    total: int
    is_truncated: bool
    faults: list[Heard]


class Waiting(NamedTuple):
    """(worker, queue), the longest first, and how many jobs wait in all queues."""

    lines: list[tuple[str, QueueLine]]
    waiting: int
    waiting_bytes: int


class Why(NamedTuple):
    """Why jobs were refused or waited, over all workers, and what would mend most refusals."""

    lines: list[ReasonLine]
    refused: int
    waited: int
    best_change: str
    best_change_jobs: int


async def ask_pools(service: Service) -> Pools | Heard:
    """Return the pools, or why the manager did not name them."""
    (heard,) = await ask_each(service.runtime_dir, [MANAGER], PoolsQuery())
    if isinstance(heard.answer, Pools):
        return heard.answer
    return heard._replace(answer=None, fault=heard.fault or "the manager gave no such answer")


async def ask_jobs(service: Service, query: JobsQuery, *, lines_max: int) -> FoundJobs:
    """Return the jobs of all workers that have not ended, page by page, at most `lines_max`."""
    lines: list[tuple[str, JobLine]] = []
    faults: list[Heard] = []
    total, is_truncated = 0, False
    for worker in service.workers:
        found = await _ask_pages(service, worker, query, lines_max)
        if isinstance(found, Heard):
            faults.append(found)
            continue
        lines += found.lines
        total += found.total
        is_truncated |= found.is_truncated
    lines.sort(key=lambda line: -line[1].age_ms)
    return FoundJobs(lines[:lines_max], total, is_truncated, faults)


async def _ask_pages(
    service: Service, worker: str, query: JobsQuery, lines_max: int
) -> FoundJobs | Heard:
    lines: list[tuple[str, JobLine]] = []
    after = 0
    while True:
        page_query = replace(query, limit=min(PAGE_LINES_MAX, lines_max - len(lines)), after=after)
        (heard,) = await ask_each(service.runtime_dir, [worker], page_query)
        page = heard.answer
        if not isinstance(page, Jobs):
            return heard._replace(answer=None, fault=heard.fault or f"{worker}: no such answer")
        lines += [(worker, line) for line in page.jobs]
        if not page.more or not page.jobs or len(lines) >= lines_max:
            return FoundJobs(lines, page.total, page.truncated, [])
        after = page.jobs[-1].arrival


async def ask_waiting(service: Service, *, lines_max: int) -> Waiting:
    """Return what waits at all workers; those that do not answer are left out."""
    query = QueuesQuery(limit=min(PAGE_LINES_MAX, lines_max))
    answers = of_kind(await ask_each(service.runtime_dir, service.workers, query), Queues)
    lines = [(worker, line) for worker, found in answers.items() for line in found.queues]
    lines.sort(key=lambda line: -line[1].waiting)
    return Waiting(
        lines[:lines_max],
        sum(found.waiting for found in answers.values()),
        sum(found.waiting_bytes for found in answers.values()),
    )


async def ask_why(service: Service, *, minutes: int) -> Why:
    """Return why jobs were refused or waited lately; silent workers are left out."""
    query = ReasonsQuery(minutes=minutes)
    answers = of_kind(await ask_each(service.runtime_dir, service.workers, query), Reasons)
    lines = add_up([line for found in answers.values() for line in found.reasons])
    change, jobs = best_change(lines)
    return Why(
        lines,
        sum(found.refused for found in answers.values()),
        sum(found.waited for found in answers.values()),
        change,
        jobs,
    )

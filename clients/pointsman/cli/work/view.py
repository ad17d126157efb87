"""What `pools` and `jobs` show: answers in, tables out."""

from rich.table import Table

from pointsman.cli.fleet.asking import Service
from pointsman.cli.fleet.view import age_words, count_words
from pointsman.cli.placement_words import pool_words
from pointsman.cli.screen import say, show, table
from pointsman.cli.work.asking import FoundJobs
from pointsman_wire.queries.fleet_messages import PoolLine, Pools
from pointsman_wire.queries.work_messages import JobLine

CODES_SHOWN = 6


def show_pools(service: Service, found: Pools) -> None:
    """The pools, one a line, and how they come about."""
    if found.pools:
        show(pools_table(found))
    paused = " · PAUSED: no jobs are taken" if found.paused else ""
    mode = f" ({found.mode})" if found.mode else ""
    words = count_words(len(found.pools), "pool")
    say(f"{words}{mode} · {service.instance} · snapshot {found.snapshot_version}{paused}")


def pools_table(found: Pools) -> Table:
    """Return the pools as a table."""
    heads = ["pool", "id", "nodes", "ready", "services", "languages", "state"]
    return table(heads, map(_pool_row, found.pools), numbers=("id", "nodes", "ready"))


def _pool_row(line: PoolLine) -> list[str]:
    more = len(line.languages) - CODES_SHOWN
    cut = [*line.languages[:CODES_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return [
        pool_words(line.name),
        str(line.id),
        str(line.nodes),
        str(line.ready),
        " ".join(line.services),
        " ".join(cut),
        "paused" if line.paused else "",
    ]


def show_jobs(found: FoundJobs) -> None:
    """The jobs that have not ended, one a line, the oldest first."""
    heads = ["job", "request", "session", "tenant", "state", "what", "priority", "try", "node"]
    rows = [_job_row(worker, line) for worker, line in found.lines]
    heads += ["worker", "age"]
    if not any(line.tenant for _, line in found.lines):
        # Where nobody names one, ids have its room.
        place = heads.index("tenant")
        heads, rows = _without(heads, place), [_without(row, place) for row in rows]
    if rows:
        show(table(heads, rows, numbers=("try", "age")))
    shown, total = len(rows), found.total
    more = f", {shown} of them shown: --limit {total} shows all" if total > shown else ""
    least = "at least " if found.is_truncated else ""
    say(
        f"{least}{count_words(total, 'job')} that {'has' if total == 1 else 'have'} not ended{more}"
    )


def _without(cells: list[str], place: int) -> list[str]:
    return [*cells[:place], *cells[place + 1 :]]


def _job_row(worker: str, line: JobLine) -> list[str]:
    return [
        line.job_id,
        line.request_id,
        line.session_id,
        line.tenant,
        f"{line.state}, waits" if line.waits else line.state,
        what_words(line.services, line.src_lang, line.tgt_lang),
        line.priority,
        str(line.attempt or ""),
        line.node_id,
        worker.removeprefix("worker-"),
        age_words(line.age_ms),
    ]


def what_words(services: list[str], src_lang: str, tgt_lang: str) -> str:
    """Return what a job asks for: `nmt+tts en>es`."""
    pair = ">".join(filter(None, [src_lang, tgt_lang]))
    return " ".join(filter(None, ["+".join(services), pair]))

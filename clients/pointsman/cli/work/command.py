"""`pools`, `jobs`: how the fleet is divided, and what has not ended."""

import asyncio
from typing import Annotated

import typer

from pointsman.cli.endings import Commands
from pointsman.cli.fleet import asking as fleet
from pointsman.cli.fleet.view import show_faults
from pointsman.cli.options import Instance, Json, Limit, RuntimeDir
from pointsman.cli.screen import complete, fields, say_json
from pointsman.cli.work import asking, view
from pointsman_wire.queries.work_messages import JobsQuery

app = typer.Typer(cls=Commands)


@app.command()
def pools(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """List the pools: what each demands of its nodes, and how many there are."""
    service = fleet.find_service(instance, runtime_dir)
    found = asyncio.run(asking.ask_pools(service))
    if isinstance(found, fleet.Heard):
        raise fleet.nobody_there(service, [found])
    if not as_json:
        view.show_pools(service, found)
        return
    say_json(
        {
            "instance": service.instance,
            "mode": found.mode,
            "paused": found.paused,
            "snapshot_version": found.snapshot_version,
            "pools": complete(found.pools),
        }
    )


@app.command()
def jobs(
    *,
    session: Annotated[str, typer.Option(help="Only of this session.")] = "",
    tenant: Annotated[str, typer.Option(help="Only of this tenant.")] = "",
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List the jobs of all workers that were accepted and have not ended."""
    service = fleet.find_service(instance, runtime_dir)
    query = JobsQuery(session_id=session, tenant=tenant)
    found = asyncio.run(asking.ask_jobs(service, query, lines_max=limit))
    if len(found.faults) == len(service.workers):
        raise fleet.nobody_there(service, found.faults)
    if not as_json:
        show_faults(found.faults)
        view.show_jobs(found)
        return
    listed = [{"worker": worker, **fields(line)} for worker, line in found.lines]
    say_json(
        {
            "instance": service.instance,
            "total": found.total,
            "truncated": found.is_truncated,
            "jobs": listed,
            **fleet.no_answer(found.faults),
        }
    )

"""`nodes`, `instances`, `snapshot`, `status`, `sessions`, `poison`: what runs, and how it fares."""

import asyncio

import typer

from pointsman.cli.endings import FAILED, Commands
from pointsman.cli.fleet import asking, view
from pointsman.cli.fleet.asking import no_answer
from pointsman.cli.options import Instance, Json, Limit, RuntimeDir
from pointsman.cli.screen import complete, fields, say_json
from pointsman_wire.admin_messages import SnapshotQuery, SnapshotView, Status, StatusQuery
from pointsman_wire.queries.fleet_messages import Instances, InstancesQuery

app = typer.Typer(cls=Commands)


@app.command()
def nodes(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List the nodes: from the manager, or with it dead, from a worker's snapshot."""
    service = asking.find_service(instance, runtime_dir)
    try:
        fleet = asyncio.run(asking.ask_fleet(service, lines_max=limit))
    except asking.NobodyAnswers as error:
        raise asking.nobody_there(service, error.faults) from None
    if not as_json:
        view.show_fleet(service, fleet)
        return
    say_json(
        {
            "instance": service.instance,
            "answered_by": fleet.answered_by,
            "manager_alive": fleet.has_manager,
            "snapshot_version": fleet.page.snapshot_version,
            "snapshot_age_ms": fleet.page.snapshot_age_ms,
            "total": max(fleet.page.total, len(fleet.nodes)),
            "nodes": complete(fleet.nodes),
        }
    )


@app.command()
def instances(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """List the instances that share the fleet, as the manager of this one knows them."""
    service = asking.find_service(instance, runtime_dir)
    query = InstancesQuery()
    (heard,) = asyncio.run(asking.ask_each(service.runtime_dir, [asking.MANAGER], query))
    told = heard.answer
    if not isinstance(told, Instances):
        raise asking.nobody_there(service, [heard])
    if as_json:
        say_json({"instance": service.instance, **fields(told)})
    else:
        view.show_instances(told)


@app.command()
def snapshot(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Show what each process sees in shared memory: version, age, rows, ledger."""
    service = asking.find_service(instance, runtime_dir)
    readers = [asking.MANAGER, *service.workers]
    heard = asyncio.run(asking.ask_each(service.runtime_dir, readers, SnapshotQuery()))
    views = asking.of_kind(heard, SnapshotView)
    faults = [one for one in heard if one.process not in views]
    if not views:
        raise asking.nobody_there(service, faults)
    if as_json:
        say_json({"instance": service.instance, "processes": complete(views), **no_answer(faults)})
    else:
        view.show_faults(faults)
        view.show_snapshots(service, views)


@app.command()
def status(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Show every process of the service: pid, uptime, counters, timings.

    Exit code 1 when a process does not answer.
    """
    service = asking.find_service(instance, runtime_dir)
    heard = asyncio.run(asking.ask_each(service.runtime_dir, service.processes, StatusQuery()))
    answers = asking.of_kind(heard, Status)
    faults = [one for one in heard if one.process not in answers]
    if not answers:
        raise asking.nobody_there(service, faults)
    if as_json:
        say_json(
            {"instance": service.instance, "processes": complete(answers), **no_answer(faults)}
        )
    else:
        view.show_faults(faults)
        view.show_status(service, answers)
    if faults:
        raise typer.Exit(FAILED)


@app.command()
def sessions(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List the sessions of all workers."""
    service = asking.find_service(instance, runtime_dir)
    lines, total, faults = asyncio.run(asking.ask_sessions(service, lines_max=limit))
    if len(faults) == len(service.workers):
        raise asking.nobody_there(service, faults)
    if as_json:
        listed = [{"worker": worker, **fields(line)} for worker, line in lines]
        say_json(
            {"instance": service.instance, "total": total, "sessions": listed, **no_answer(faults)}
        )
    else:
        view.show_faults(faults)
        view.show_sessions(lines, total)


@app.command()
def poison(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List jobs that were given up because they failed wherever they ran.

    A worker keeps the newest of its own, for as long as it lives.
    """
    service = asking.find_service(instance, runtime_dir)
    lines, total, faults = asyncio.run(asking.ask_poison(service, lines_max=limit))
    if len(faults) == len(service.workers):
        raise asking.nobody_there(service, faults)
    if as_json:
        listed = [{"worker": worker, **fields(line)} for worker, line in lines]
        say_json(
            {"instance": service.instance, "total": total, "jobs": listed, **no_answer(faults)}
        )
    else:
        view.show_faults(faults)
        view.show_poison(lines, total)

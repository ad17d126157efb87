"""`drain`, `undrain`, `pause`, `resume`, `quarantine`, `release`, `cancel`, `audit`.

Exit codes are those of every command: 0 it was done, 1 it was not (nobody there, or in its way),
2 what was named does not exist or was named wrongly.
"""

import asyncio
from time import monotonic, sleep
from typing import Annotated

import typer
from msgspec.structs import replace

from pointsman.cli.endings import FAILED, Commands, Trouble
from pointsman.cli.fleet.asking import MANAGER, Service, ask_each, find_service, of_kind
from pointsman.cli.fleet.ordering import done_by, give, order_each
from pointsman.cli.operating.targets import Target, jobs_left, pool_number, worker_named
from pointsman.cli.options import Instance, Json, Limit, RuntimeDir
from pointsman.cli.screen import complete, say, say_json, show, table
from pointsman_wire.queries.operating_messages import (
    Audit,
    AuditLine,
    AuditQuery,
    CancelOrder,
    DrainOrder,
    DrainWorkerOrder,
    OrderDone,
    PauseOrder,
    QuarantineOrder,
    ReleaseOrder,
    ResumeOrder,
    UndrainOrder,
    UndrainWorkerOrder,
)
from pointsman_wire.shards import shard_of

LOOK_S = 0.5
AUDIT_LINES_MAX = 500

app = typer.Typer(cls=Commands)

AnyNode = Annotated[str | None, typer.Argument(metavar="[NODE_ID]", help="A node.")]
Node = Annotated[str, typer.Argument(metavar="NODE_ID", help="A node, as `nodes` lists it.")]
Pool = Annotated[
    str | None, typer.Option(metavar="POOL", help="All nodes of a pool: its name or its number.")
]
Worker = Annotated[int | None, typer.Option(min=0, help="The worker of this number.")]
Whole = Annotated[bool, typer.Option("--service", help="All workers.")]
Reason = Annotated[str, typer.Option(help="Why; `nodes` shows it.")]


@app.command()
def drain(
    node_id: AnyNode = None,
    *,
    pool: Pool = None,
    worker: Worker = None,
    whole: Whole = False,
    deadline: Annotated[
        float | None, typer.Option(min=0, max=86_400, help="Seconds; else nodes.drain_s.")
    ] = None,
    reason: Reason = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until nothing runs there.")] = False,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Give a node, the nodes of a pool, or a worker nothing new; what runs goes on.

    Nodes are offline when the time is up. A worker refuses new sessions and
    jobs until it is undrained or restarted; where the fleet has other
    instances, its sessions are sent there.
    """
    target = Target(node_id, pool, worker, is_all=whole)
    service = find_service(instance, runtime_dir)
    target.find(service)
    if workers := target.workers(service):
        done = _give_all(service, workers, DrainWorkerOrder())
    else:
        order = DrainOrder(
            node_id=target.node_id, pool=target.pool, deadline_s=deadline, reason=reason
        )
        done = give(service, MANAGER, order, OrderDone)
    if wait:
        until_s = None if workers else monotonic() + done.left_s
        left = _wait(service, target, until_s, is_quiet=as_json)
        if left:
            raise Trouble(f"{left} jobs still ran when the time was up", code=FAILED)
        done = replace(done, jobs=0)
    tell(done, as_json=as_json)


@app.command()
def undrain(
    node_id: AnyNode = None,
    *,
    pool: Pool = None,
    worker: Worker = None,
    whole: Whole = False,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Take a drain back."""
    target = Target(node_id, pool, worker, is_all=whole)
    service = find_service(instance, runtime_dir)
    target.find(service)
    if workers := target.workers(service):
        done = _give_all(service, workers, UndrainWorkerOrder())
    else:
        undone = UndrainOrder(node_id=target.node_id, pool=target.pool)
        done = give(service, MANAGER, undone, OrderDone)
    tell(done, as_json=as_json)


@app.command()
def pause(
    *,
    pool: Pool = None,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Take no new jobs at all, or with --pool give its nodes none; what runs goes on."""
    service = find_service(instance, runtime_dir)
    order = PauseOrder(pool=pool_number(service, pool))
    tell(give(service, MANAGER, order, OrderDone), as_json=as_json)


@app.command()
def resume(
    *,
    pool: Pool = None,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Take a pause back."""
    service = find_service(instance, runtime_dir)
    order = ResumeOrder(pool=pool_number(service, pool))
    tell(give(service, MANAGER, order, OrderDone), as_json=as_json)


@app.command()
def quarantine(
    node_id: Node,
    *,
    lasts: Annotated[float, typer.Option(min=0, max=86_400, help="Seconds.")] = 3_600.0,
    reason: Reason = "",
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """End a node at once, and keep its id out for a time; its jobs go to others."""
    order = QuarantineOrder(node_id=node_id, lasts_s=lasts, reason=reason)
    service = find_service(instance, runtime_dir)
    tell(give(service, MANAGER, order, OrderDone), as_json=as_json)


@app.command()
def release(
    node_id: Node,
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Let a quarantined node in again."""
    service = find_service(instance, runtime_dir)
    tell(give(service, MANAGER, ReleaseOrder(node_id=node_id), OrderDone), as_json=as_json)


@app.command()
def cancel(
    session_id: Annotated[str, typer.Argument(help="The session, as `sessions` lists it.")],
    request_id: Annotated[str, typer.Argument(help="The client's own id of the job.")],
    *,
    tenant: Annotated[str, typer.Option(help="Whose session it is.")] = "",
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """End a job, as its client could."""
    service = find_service(instance, runtime_dir)
    owner = worker_named(service, shard_of(session_id, len(service.workers)))
    order = CancelOrder(session_id=session_id, request_id=request_id, tenant=tenant)
    tell(give(service, owner, order, OrderDone), as_json=as_json)


@app.command()
def audit(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Show who ordered what of the service, the newest first."""
    service = find_service(instance, runtime_dir)
    query = AuditQuery(limit=min(limit, AUDIT_LINES_MAX))
    heard = asyncio.run(ask_each(service.runtime_dir, service.processes, query))
    found = of_kind(heard, Audit)
    if not found:
        raise Trouble("no process of the service answers", code=FAILED)
    lines = [line for page in found.values() for line in page.lines]
    lines.sort(key=lambda line: line.at, reverse=True)
    lines = lines[:limit]
    if as_json:
        say_json({"instance": service.instance, "lines": complete(lines)})
    elif not lines:
        say("nothing was ordered yet")
    else:
        heads = ("when", "process", "order", "who", "outcome")
        show(table(heads, [_row(line) for line in lines]))


def _give_all(
    service: Service, workers: list[str], order: DrainWorkerOrder | UndrainWorkerOrder
) -> OrderDone:
    """Have each of these carry it out; what is left is that of all.

    Raises Trouble for the first that has not, once all were told.
    """
    heard = asyncio.run(order_each(service, workers, order))
    told = [done_by(one, OrderDone) for one in heard]
    if len(told) == 1:
        return told[0]
    words = (f"{worker}: {one.words}" for worker, one in zip(workers, told, strict=True))
    return OrderDone(
        words="\n".join(words),
        sessions=sum(one.sessions for one in told),
        jobs=sum(one.jobs for one in told),
    )


def _row(line: AuditLine) -> tuple[str, str, str, str, str]:
    said = " ".join(f"{name}={value}" for name, value in line.fields.items())
    return line.at, line.process, f"{line.order} {said}".strip(), line.who, line.outcome


def tell(done: OrderDone, *, as_json: bool) -> None:
    """Say what was done, and what is left."""
    if as_json:
        say_json(complete(done))
        return
    say(done.words)
    if done.sessions:
        say(f"{done.sessions} sessions are left")
    if done.jobs:
        say(f"{done.jobs} jobs run there still")


def _wait(service: Service, target: Target, until_s: float | None, *, is_quiet: bool) -> int | None:
    """Look until nothing runs there, or its time is up; return what is left, None if unknown."""
    told = -1
    while True:
        left = jobs_left(service, target)
        if left == 0 or (until_s is not None and monotonic() >= until_s):
            return left
        if left is not None and left != told and not is_quiet:
            seconds = "" if until_s is None else f", {max(0.0, until_s - monotonic()):.0f} s left"
            say(f"{left} jobs{seconds}")
            told = left
        sleep(LOOK_S)

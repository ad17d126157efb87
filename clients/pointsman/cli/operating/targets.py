"""What an operator's order is about: a node, a pool or a worker; and what still runs there."""

import asyncio
from typing import TypeVar

from pointsman.cli.endings import USAGE, Trouble
from pointsman.cli.fleet.asking import MANAGER, Service, ask_each, ask_fleet
from pointsman_wire.queries.fleet_messages import Pools, PoolsQuery
from pointsman_wire.queries.work_messages import Jobs, JobsQuery

NODES_MAX = 1_000_000

Kind = TypeVar("Kind")


class Target:
    """What is drained: a node, a pool or a worker; exactly one of them."""

    def __init__(self, node_id: str | None, pool: int | None, worker: int | None) -> None:
        named = [what for what in (node_id, pool, worker) if what is not None]
        if len(named) != 1:
            raise Trouble(
                "name one thing: a node, a pool or a worker",
                todo="write NODE_ID, or --pool NUMBER, or --worker NUMBER",
                code=USAGE,
            )
        self.node_id = node_id or ""
        self.pool = pool
        self.worker = worker


def worker_named(service: Service, worker: int) -> str:
    """Return the process of a worker; raises Trouble when the service has no such one."""
    process = f"worker-{worker}"
    if process not in service.workers:
        known = ", ".join(service.workers)
        raise Trouble(f"there is no {process}", todo=f"this service has {known}", code=USAGE)
    return process


def jobs_left(service: Service, target: Target) -> int | None:
    """Return how many jobs run there still, None when that cannot be asked."""
    if target.worker is not None:
        process = worker_named(service, target.worker)
        found = _one(service, process, JobsQuery(limit=1), Jobs)
        return None if found is None else found.total
    fleet = asyncio.run(ask_fleet(service, lines_max=NODES_MAX))
    if target.pool is None:
        return sum(node.held for node in fleet.nodes if node.node_id == target.node_id)
    pools = _one(service, MANAGER, PoolsQuery(), Pools)
    if pools is None:
        return None
    names = {line.name for line in pools.pools if line.id == target.pool}
    return sum(node.held for node in fleet.nodes if names & set(node.pools))


def _one(
    service: Service, process: str, query: JobsQuery | PoolsQuery, kind: type[Kind]
) -> Kind | None:
    (heard,) = asyncio.run(ask_each(service.runtime_dir, [process], query))
    return heard.answer if isinstance(heard.answer, kind) else None

"""What an order is about: a node, a pool, a worker or all of them; and what still runs there."""

import asyncio

from pointsman.cli.endings import USAGE, Trouble
from pointsman.cli.fleet.asking import Heard, Service, ask_each, ask_fleet, of_kind
from pointsman.cli.placement_words import pool_words
from pointsman.cli.work.asking import ask_pools
from pointsman_wire.queries.work_messages import Jobs, JobsQuery

NODES_MAX = 1_000_000
POOLS_SHOWN = 10


class Target:
    """What is drained: a node, a pool, a worker or all workers; exactly one of them."""

    def __init__(
        self, node_id: str | None, pool: str | None, worker: int | None, *, is_all: bool
    ) -> None:
        named = [what for what in (node_id, pool, worker, is_all or None) if what is not None]
        if len(named) != 1:
            raise Trouble(
                "name one thing: a node, a pool, a worker or the service",
                todo="write NODE_ID, or --pool POOL, or --worker NUMBER, or --service",
                code=USAGE,
            )
        self.node_id = node_id or ""
        self._named_pool = pool
        # Its number, once it was found.
        self.pool: int | None = None
        self.worker = worker
        self.is_all = is_all

    def find(self, service: Service) -> None:
        """Look up what is named.  Raises Trouble when there is no such pool."""
        self.pool = pool_number(service, self._named_pool)

    def workers(self, service: Service) -> list[str]:
        """Return the processes that are told, none where it is the manager's business.

        Raises Trouble when the service has no such worker.
        """
        if self.worker is not None:
            return [worker_named(service, self.worker)]
        return [*service.workers] if self.is_all else []


def worker_named(service: Service, worker: int) -> str:
    """Return the process of a worker; raises Trouble when the service has no such one."""
    process = f"worker-{worker}"
    if process not in service.workers:
        known = ", ".join(service.workers)
        raise Trouble(f"there is no {process}", todo=f"this service has {known}", code=USAGE)
    return process


def pool_number(service: Service, named: str | None) -> int | None:
    """Return the number of a pool that is named by its number, or as `pools` shows it.

    Raises Trouble when the service has no pool of that name; numbers are the manager's to judge.
    """
    if named is None or named.isdecimal():
        return None if named is None else int(named)
    found = asyncio.run(ask_pools(service))
    if isinstance(found, Heard):
        words = f"the manager, which knows the names of pools, does not answer: {found.fault}"
        raise Trouble(words, todo="write the pool's number")
    lines = found.pools
    for line in lines:
        if named in (line.name, pool_words(line.name)):
            return line.id
    known = ", ".join(f"{pool_words(line.name)} ({line.id})" for line in lines[:POOLS_SHOWN])
    todo = f"`pointsman pools` lists them: {known}" if known else "there are none yet"
    raise Trouble(f"there is no pool {named!r}", todo=todo, code=USAGE)


def jobs_left(service: Service, target: Target) -> int | None:
    """Return how many jobs run there still, None when that cannot be asked."""
    if workers := target.workers(service):
        heard = asyncio.run(ask_each(service.runtime_dir, workers, JobsQuery(limit=1)))
        found = of_kind(heard, Jobs)
        is_whole = len(found) == len(workers)
        return sum(jobs.total for jobs in found.values()) if is_whole else None
    fleet = asyncio.run(ask_fleet(service, lines_max=NODES_MAX))
    if target.pool is None:
        return sum(node.held for node in fleet.nodes if node.node_id == target.node_id)
    pools = asyncio.run(ask_pools(service))
    if isinstance(pools, Heard):
        return None
    names = {line.name for line in pools.pools if line.id == target.pool}
    return sum(node.held for node in fleet.nodes if names & set(node.pools))

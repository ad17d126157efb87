"""Is everything over that was begun?  Asked when nobody does harm or asks for anything any more."""

from pointsman_shm.memory.rows import NodeState, unpack_standing
from pointsman_sim.cluster import Cluster
from pointsman_sim.parts.worker_part import WorkerProcess


def what_is_left(cluster: Cluster) -> list[str]:
    """Return what is not yet as it must become by itself: I1, I10, I13."""
    left = [f"{site.name} waits for {len(site.open_tickets)} answers"
            for site in cluster.clients if site.open_tickets]  # fmt: skip
    if cluster.instance.manager is None:
        left.append("there is no manager")
    for index, worker in enumerate(cluster.instance.workers):
        if worker is None:
            left.append(f"there is no worker {index}")
        else:
            left += _left_at_worker(worker)
    left += _left_in_ledger(cluster)
    for node in cluster.nodes:
        process = node.process
        if process is None or not process.is_alive:
            left.append(f"{node.name} does not run")
            continue
        if process.handlers.running:
            left.append(f"{node.name} runs {len(process.handlers.running)} jobs")
        if process.core.jobs.held:
            left.append(f"{node.name} holds {len(process.core.jobs.held)} results")
        if process.core.state != "ready" or not _is_shown_ready(cluster, process.core.node_id):
            left.append(f"{node.name} is {process.core.state}")
    return left


def _left_at_worker(worker: WorkerProcess) -> list[str]:
    shard = worker.core.shard
    left = []
    if not shard.is_settled:
        left.append(f"{worker.name} is not settled")
    if shard.open_job_count:
        left.append(f"{worker.name} has {shard.open_job_count} open jobs")
    if shard.orphans:
        left.append(f"{worker.name} has {len(shard.orphans)} orphans")
    if holds := sum(len(lane.holds) for lane in shard.lanes.values()):
        left.append(f"{worker.name} has {holds} holds")
    sessions = [s for s in shard.sessions.values() if s.peer is not None]
    unread = sum(len(s.unread) + len(s.held or ()) for s in sessions)
    if unread:
        left.append(f"{worker.name} has {unread} results that nobody acknowledged")
    return left


def _left_in_ledger(cluster: Cluster) -> list[str]:
    memory = cluster.instance.memory
    held = {row: memory.ledger.held(row) for row in range(memory.max_nodes)}
    return [f"the ledger holds {count} slots of row {row}" for row, count in held.items() if count]


def _is_shown_ready(cluster: Cluster, node_id: str) -> bool:
    """Does the row of a node say that it is Ready?"""
    manager = cluster.instance.manager
    node = manager.core.state.nodes.by_id.get(node_id) if manager is not None else None
    if node is None:
        return False
    standing = unpack_standing(cluster.instance.memory.rows.standing[node.row])
    return standing.state is NodeState.READY

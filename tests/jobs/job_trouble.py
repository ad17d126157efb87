"""What can become of an attempt, each as one function of the node that has it."""

from worker_harness import Host, Node, WorkerHarness

from pointsman_shm.config import Config, JobsConfig
from pointsman_wire.lane_messages import Assign, JobRefused
from pointsman_workers.core.state import Cause

ROWS = (3, 4, 5, 6)


def fleet(
    count: int = 4, *, slots: int = 1, config: Config | None = None, **jobs: object
) -> tuple[WorkerHarness, dict[int, Node]]:
    """Some equal nodes with their lanes up."""
    host = Host(config or Config(jobs=JobsConfig(**jobs)))  # type: ignore[arg-type]
    for row in ROWS[:count]:
        host.node(row, slots=slots)
    host.publish(1_000_000_000)
    h = WorkerHarness(host)
    h.feed()
    return h, {row: h.open_lane(row) for row in ROWS[:count]}


def counted(h: WorkerHarness) -> dict[str, int]:
    """How often jobs failed over, by cause."""
    counters = h.core.shard.setup.memory.stats.read().counters
    assert counters["failovers"] == sum(counters[f"failovers_{cause}"] for cause in Cause)
    return {str(cause): n for cause in Cause if (n := counters[f"failovers_{cause}"])}


def refuse(node: Node, job: Assign, code: str) -> None:
    refused = JobRefused(job_id=job.job_id, epoch=1, dispatch=job.dispatch, code=code)
    node.harness.receive(node.connection, refused)


def no_ack(node: Node, _: Assign) -> None:
    node.harness.advance(2.2)


def no_result(node: Node, job: Assign) -> None:
    node.acknowledge(job.number)
    node.harness.advance(30.2)


def node_lost(node: Node, job: Assign) -> None:
    node.acknowledge(job.number)
    node.hang_up()
    node.harness.advance(5.2)


def node_refusal(node: Node, job: Assign) -> None:
    refuse(node, job, "NODE_UNAVAILABLE")


def node_error(node: Node, job: Assign) -> None:
    node.end(job, b"", status="failed", code="INTERNAL_ERROR", message="boom")


def lane_broken(node: Node, _: Assign) -> None:
    node.hang_up()
    node.harness.open_lane(node.row)

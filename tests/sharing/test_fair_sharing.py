"""A tenant's weight is a weight, wherever its jobs come in."""

from collections import Counter, deque

import pytest
from several import MILLISECOND_NS, Instance, Several
from worker_harness import SECOND_NS, Node

from pointsman_shm.config import ListedTenant, TenantsConfig
from pointsman_wire.lane_messages import Assign
from pointsman_wire.session_messages import Result

SLOTS = 4
DEPTH = 24  # jobs that each tenant keeps waiting
JOB_ROUNDS = 5
ROUND_S = 0.02
ROUNDS = 400
WARM_UP = 100  # rounds that do not count

HEAVY = TenantsConfig(listed=(ListedTenant(name="heavy", weight=4.0),))

Running = deque[tuple[int, Node, Assign]]  # the round in which it ends


def play(tenants: dict[str, Instance], nodes: list[Node], instances: Several) -> Counter[str]:
    """Work of each tenant comes in at one worker, always more than is done; who had how much."""
    clients = {name: worker.open_session(tenant=name) for name, worker in tenants.items()}
    served: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    running: Running = deque(maxlen=SLOTS * len(nodes))
    number = 0
    for now in range(ROUNDS):
        for tenant, client in clients.items():
            for _ in range(DEPTH - waiting[tenant]):
                number += 1
                client.submit(f"r-{number}", wait_busy_s=3_600.0)
            waiting[tenant] = DEPTH
        ended: dict[Node, list[Assign]] = {}
        while running and running[0][0] <= now:
            _, node, job = running.popleft()
            ended.setdefault(node, []).append(job)
            waiting[job.tenant] -= 1
            served[job.tenant] += now >= WARM_UP
        for node, jobs in ended.items():
            node.end_together(jobs)
        instances.run(ROUND_S)
        for node in nodes:
            running.extend((now + JOB_ROUNDS, node, job) for job in node.assignments())
    for client in clients.values():
        assert {result.status for result in client.all(Result)} == {"completed"}
    return served


@pytest.mark.parametrize("way_ms", [0, 30])
def test_t19_four_to_one_stays_four_to_one_with_all_jobs_at_one_instance_and_the_node_at_another(
    way_ms: int,
) -> None:
    """T19: nobody waits at the home, so it has no order to keep: the borrower's is kept."""
    instances = Several("A", "B", tenants=HEAVY)
    instances.way_ns = way_ms * MILLISECOND_NS
    instances.node(3, "A", slots=SLOTS)
    tenants = {"light": instances["B"], "heavy": instances["B"]}
    served = play(tenants, [instances["A"].node(3)], instances)
    judge(served, 1, way_ms=way_ms)


@pytest.mark.parametrize("way_ms", [0, 30])
@pytest.mark.parametrize("rows", [{3: "A", 4: "A"}, {3: "B", 4: "B"}, {3: "A", 4: "B"}])
def test_t19_four_to_one_stays_four_to_one_wherever_jobs_and_nodes_come_in(
    rows: dict[int, str], way_ms: int
) -> None:
    """T19: within 5 %, with nodes where one of the tenants is, or at both, near or far."""
    instances = Several("A", "B", tenants=HEAVY)
    instances.way_ns = way_ms * MILLISECOND_NS
    for row, home in rows.items():
        instances.node(row, home, slots=SLOTS)
    nodes = [instances[home].node(row) for row, home in rows.items()]
    served = play({"light": instances["A"], "heavy": instances["B"]}, nodes, instances)
    judge(served, len(rows), way_ms=way_ms)


def test_t19_four_to_one_holds_where_the_home_has_a_worker_that_the_other_instance_never_asks() -> (
    None
):
    """T19: all light work comes in at that worker, and it frees most of the slots."""
    instances = Several("A", "B", workers=2, tenants=HEAVY)
    second = instances.second("A")
    instances.node(3, "A", slots=SLOTS)
    nodes = [instances["A"].node(3), second.node(3)]
    served = play({"light": second, "heavy": instances["B"]}, nodes, instances)
    judge(served, 1)


def judge(served: Counter[str], node_count: int, *, way_ms: int = 0) -> None:
    share = served["heavy"] / served.total()
    assert abs(share - 0.8) <= 0.8 * 0.05, served
    # The slots are used, although offers travel.
    job_rounds = JOB_ROUNDS + 2 * way_ms * MILLISECOND_NS / (ROUND_S * SECOND_NS)
    assert served.total() >= 0.8 * node_count * SLOTS * (ROUNDS - WARM_UP) / job_rounds

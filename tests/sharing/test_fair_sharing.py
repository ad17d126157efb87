"""A tenant's weight is a weight, wherever its jobs come in."""

from collections import Counter, deque

import pytest
from several import Several

from pointsman_shm.config import ListedTenant, TenantsConfig
from pointsman_wire.lane_messages import Assign
from pointsman_wire.session_messages import Result

SLOTS = 4
DEPTH = 24  # jobs that each tenant keeps waiting
JOB_ROUNDS = 5
ROUND_S = 0.02
ROUNDS = 600
WARM_UP = 100  # rounds that do not count

Running = deque[tuple[int, int, Assign]]  # the round in which it ends, its node's row


def play(instances: Several, rows: dict[int, str]) -> Counter[str]:
    """Light work comes in at A, heavy at B, always more than is done; who had how many jobs."""
    clients = {
        "light": instances["A"].open_session(tenant="light"),
        "heavy": instances["B"].open_session(tenant="heavy"),
    }
    nodes = {row: instances[home].node(row) for row, home in rows.items()}
    served: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    running: Running = deque(maxlen=SLOTS * len(rows))
    number = 0
    for now in range(ROUNDS):
        for tenant, client in clients.items():
            for _ in range(DEPTH - waiting[tenant]):
                number += 1
                client.submit(f"r-{number}", wait_busy_s=3_600.0)
            waiting[tenant] = DEPTH
        while running and running[0][0] <= now:
            _, row, job = running.popleft()
            nodes[row].end(job)
            waiting[job.tenant] -= 1
            served[job.tenant] += now >= WARM_UP
        instances.run(ROUND_S)
        for row, node in nodes.items():
            running.extend((now + JOB_ROUNDS, row, job) for job in node.assignments())
    for client in clients.values():
        assert {result.status for result in client.all(Result)} == {"completed"}
    return served


@pytest.mark.parametrize("rows", [{3: "A", 4: "A"}, {3: "B", 4: "B"}, {3: "A", 4: "B"}])
def test_t19_four_to_one_stays_four_to_one_wherever_jobs_and_nodes_come_in(
    rows: dict[int, str],
) -> None:
    """T19: within 5 %, with nodes where one of the tenants is, or at both."""
    tenants = TenantsConfig(listed=(ListedTenant(name="heavy", weight=4.0),))
    instances = Several("A", "B", tenants=tenants)
    for row, home in rows.items():
        instances.node(row, home, slots=SLOTS)
    served = play(instances, rows)
    share = served["heavy"] / served.total()
    assert abs(share - 0.8) <= 0.8 * 0.05, served
    # The slots are used, although offers travel.
    assert served.total() >= 0.8 * len(rows) * SLOTS * (ROUNDS - WARM_UP) / JOB_ROUNDS

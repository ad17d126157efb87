"""Stories of jobs that wait at one instance for what comes up at another."""

from collections import Counter, deque

import pytest
from fleet_samples import speech_class
from several import Several
from worker_harness import Client, Node

from pointsman_wire.lane_messages import Assign
from pointsman_wire.session_messages import Result

LONG_S = 3_600.0
DEPTH = 12  # jobs that each client keeps waiting
JOB_ROUNDS = 5
ROUND_S = 0.02
SOON_S = 0.1  # far less than the next look at what waits, were there no news


def two_with_a_node_at_b(slots: int = 1) -> tuple[Several, Node]:
    """A has sessions only."""
    instances = Several("A", "B")
    instances.node(3, "B", slots=slots)
    return instances, instances["B"].node(3)


def given_within(instances: Several, node: Node, seconds: float) -> Assign:
    """The job that the node gets in this time."""
    instances.run(seconds)
    return node.assignment()


@pytest.mark.parametrize("others", [(), (3,)])
def test_a_job_that_nobody_can_do_gets_the_capable_node_that_comes_to_another_instance(
    others: tuple[int, ...],
) -> None:
    """Long after it came, and also when it is the first node that its instance hears of there."""
    instances = Several("A", "B")
    for row in others:
        instances.node(row, "B")
    client = instances["A"].open_session()
    client.submit("a-1", tgt_lang="fr", wait_none_s=LONG_S)
    instances.run(20.0)
    instances.node(5, "B", speech_class("en", "fr"))
    job = given_within(instances, instances["B"].node(5), SOON_S)
    assert job.request_id == "a-1"
    instances["B"].node(5).end(job)
    instances.carry()
    assert client.one(Result).status == "completed"


def test_a_job_that_waits_for_busy_nodes_gets_the_slot_that_is_freed_at_another_instance() -> None:
    instances, node = two_with_a_node_at_b()
    instances["B"].open_session().submit("b-1", timeout_s=LONG_S)
    running = node.assignment()
    node.acknowledge(running.number)
    client = instances["A"].open_session()
    client.submit("a-1", wait_busy_s=LONG_S)
    instances.run(60.0)
    assert not node.assignments()
    node.end(running)
    assert given_within(instances, node, SOON_S).request_id == "a-1"


def test_jobs_of_one_tenant_are_served_in_the_order_of_their_ages_wherever_they_wait() -> None:
    instances, node = two_with_a_node_at_b()
    here, there = instances["B"].open_session(), instances["A"].open_session()
    here.submit("b-0", timeout_s=LONG_S)
    running = node.assignments()
    for number in range(6):
        there.submit(f"a-{number}", wait_busy_s=LONG_S)
    instances.run(0.5)
    for number in range(1, 7):
        here.submit(f"b-{number}", wait_busy_s=LONG_S)
    order = []
    for _ in range(12):
        node.end(running.pop())
        running = [given_within(instances, node, SOON_S)]
        order.append(running[0].request_id)
    assert order == [f"a-{n}" for n in range(6)] + [f"b-{n}" for n in range(1, 7)]


def play(instances: Several, node: Node, clients: dict[str, Client]) -> Counter[str]:
    """All clients keep jobs waiting all the time; how many of each were served."""
    served: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    running: deque[tuple[int, Assign]] = deque(maxlen=64)
    number = 0
    for now in range(400):
        for name, client in clients.items():
            for _ in range(DEPTH - waiting[name]):
                number += 1
                client.submit(f"{name}-{number}", wait_busy_s=LONG_S, priority="interactive")
            waiting[name] = DEPTH
        while running and running[0][0] <= now:
            _, job = running.popleft()
            node.end(job)
            name = job.request_id.split("-")[0]
            waiting[name] -= 1
            served[name] += 1
        instances.run(ROUND_S)
        running.extend((now + JOB_ROUNDS, job) for job in node.assignments())
    return served


@pytest.mark.parametrize("slots", [1, 4])
def test_equal_jobs_that_wait_at_the_nodes_home_do_not_starve_those_of_another_instance(
    slots: int,
) -> None:
    """One tenant, as many jobs waiting here as there: neither gets less than four tenths."""
    instances, node = two_with_a_node_at_b(slots)
    clients = {"a": instances["A"].open_session(), "b": instances["B"].open_session()}
    served = play(instances, node, clients)
    assert min(served.values()) >= 0.4 * served.total(), served
    assert served.total() >= 0.9 * slots * 400 / (JOB_ROUNDS + 1)


def test_a_job_of_the_lowest_priority_moves_on_although_others_come_at_both_instances() -> None:
    """The turn of the oldest is the turn of the oldest of all instances."""
    instances, node = two_with_a_node_at_b()
    clients = {"a": instances["A"].open_session(), "b": instances["B"].open_session()}
    for name in ("a", "b"):
        clients[name].submit(f"{name}-0", wait_busy_s=LONG_S, priority="interactive")
    low = instances["A"].open_session()
    low.submit("low-0", wait_busy_s=LONG_S, priority="bulk")
    served = play(instances, node, clients)
    assert served["low"] == 1, served

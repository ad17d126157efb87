"""Stories of jobs of one instance on nodes of another."""

from typing import Any

from fleet_harness import count
from several import Several, guest, two
from worker_harness import SECOND_NS

from pointsman_shm.memory.rows import NodeState
from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.lane_messages import (
    CancelJob,
    JobRefused,
    NodePartial,
    NodeProgress,
    NodeResultAck,
)
from pointsman_wire.session_messages import JobAccepted, Partial, Progress, Result
from pointsman_workers.core.events import HearingChanged, Stopped, StopWished


def test_a_job_of_one_instance_runs_on_a_node_of_another_and_its_result_comes_once() -> None:
    """R10, I10: one job, one result, and no slot is left."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    client.submit("r-1", b"hello")
    assert client.one(JobAccepted).jobs[0].request_id == "r-1"
    instances.carry()

    node = home.node(3)
    job = node.assignment()
    assert (job.request_id, job.tenant, job.services) == ("r-1", "", ["nmt"])
    assert (home.held(3), borrower.held(3)) == (1, 1)
    node.acknowledge(job.number)
    node.end(job, b"hola")
    instances.carry()

    (result,) = client.all(Result)
    assert (result.status, result.node_id, result.failovers) == ("completed", "node-3", 0)
    assert (home.held(3), borrower.held(3)) == (0, 0)
    instances.run(0.1)
    acks = home.take(node.connection, NodeResultAck)
    assert (acks[-1].number, acks[-1].withheld) == (1, [])


def test_a_node_that_two_instances_use_at_once_is_never_given_more_than_it_has_slots() -> None:
    """I4: both place at the same instant; the home's ledger decides."""
    instances = two(slots=2)
    home, borrower = instances["A"], instances["B"]
    ours, theirs = home.open_session(), borrower.open_session()
    for number in range(3):
        ours.submit(f"a-{number}")
        theirs.submit(f"b-{number}")
    instances.carry()
    node = home.node(3)
    ran = []
    for _ in range(40):
        running = node.assignments()
        assert home.held(3) <= 2
        for job in running:
            assert home.held(3) <= 2
            node.acknowledge(job.number)
            node.end(job)
            ran.append(job.request_id)
        instances.run(0.1)
    assert sorted(ran) == ["a-0", "a-1", "a-2", "b-0", "b-1", "b-2"]
    assert len(ours.all(Result)) == len(theirs.all(Result)) == 3
    assert (home.held(3), borrower.held(3)) == (0, 0)


def test_a_node_that_is_full_refuses_a_guest_and_that_is_no_failover() -> None:
    instances = two()
    home, borrower = instances["A"], instances["B"]
    home.open_session().submit("a-1")
    client = borrower.open_session()
    client.submit("b-1")
    instances.carry()
    node = home.node(3)
    first = node.assignment()
    instances.run(1.0)
    node.end(first)
    instances.run(1.1)
    job = node.assignment()
    assert (job.request_id, job.attempt) == ("b-1", 1)
    node.end(job)
    instances.carry()
    result = client.one(Result)
    assert (result.failovers, result.attempts) == (0, [])


def test_a_home_that_is_stopped_waits_until_its_last_borrower_has_its_result() -> None:
    """I2: a job that ran on a node here does not run again because its way home has ended."""
    instances = two()
    home = instances["A"]
    client, node, job = guest(instances, "r-1")
    home.feed(StopWished(home.now_ns + 25 * SECOND_NS))
    instances.run(5.0)
    assert not any(isinstance(command, Stopped) for command in home.commands), "it still runs"
    node.end(job, b"hola")
    instances.run(2.0)
    result = client.one(Result)
    assert (result.status, result.failovers) == ("completed", 0)
    assert any(isinstance(command, Stopped) for command in home.commands)


def test_a_home_that_is_stopped_offers_its_slots_to_no_borrower() -> None:
    """Who has a slot of it in their turn again and again would keep it from its end."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    for number in range(3):
        client.submit(f"r-{number}")
    instances.carry()
    node = home.node(3)
    job = node.assignment()
    node.acknowledge(job.number)
    home.feed(StopWished(home.now_ns + 25 * SECOND_NS))
    node.end(job)
    instances.run(2.0)
    assert not node.assignments()
    assert [result.request_id for result in client.all(Result)] == ["r-0"]
    assert any(isinstance(command, Stopped) for command in home.commands)


def test_a_home_that_is_stopped_does_not_wait_for_a_borrower_that_cannot_be_told() -> None:
    instances = two()
    home = instances["A"]
    guest(instances)
    home.feed(HearingChanged(can_hear=False))
    home.feed(StopWished(home.now_ns + 25 * SECOND_NS))
    instances.run(0.2)
    assert any(isinstance(command, Stopped) for command in home.commands)


def test_a_cancelled_guest_keeps_its_slot_until_the_node_confirms() -> None:
    instances = two()
    home, borrower = instances["A"], instances["B"]
    client, node, job = guest(instances)
    instances.carry()
    client.cancel("b-1")
    assert client.one(Result).status == "cancelled"
    instances.carry()
    cancelled = home.one(node.connection, CancelJob)
    assert cancelled.job_id == job.job_id
    assert (home.held(3), borrower.held(3)) == (1, 1)
    node.end(job, status="cancelled")
    instances.carry()
    assert (home.held(3), borrower.held(3)) == (0, 0)


def test_pieces_and_progress_of_a_guest_pass_through() -> None:
    instances = two()
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    client.submit("b-1", stream=True)
    instances.carry()
    node = home.node(3)
    job = node.assignment()
    fence: dict[str, Any] = {"job_id": job.job_id, "epoch": 1, "dispatch": job.dispatch}
    home.receive(node.connection, NodeProgress(percent=50.0, **fence))
    home.receive(node.connection, NodePartial(seq=1, **fence), b"ho")
    instances.carry()
    assert client.one(Progress).percent == 50.0
    assert client.one(Partial).seq == 1


def test_a_local_node_is_taken_when_both_are_idle_and_the_other_when_it_is_busy() -> None:
    instances = Several("A", "B")
    instances.node(3, "A", slots=2)
    instances.node(5, "B", slots=2)
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    client.submit("b-1")
    client.submit("b-2")
    instances.carry()
    assert borrower.node(5).assignment().request_id == "b-1"
    assert home.node(3).assignment().request_id == "b-2"


def test_a_refused_guest_does_not_make_its_lane_look_stuck() -> None:
    instances = two(slots=2)
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    client.submit("b-1")
    client.submit("b-2")
    instances.carry()
    node = home.node(3)
    first, second = node.assignments()
    fence: dict[str, Any] = {"job_id": first.job_id, "epoch": 1, "dispatch": first.dispatch}
    home.receive(node.connection, JobRefused(code="UNSUPPORTED_FEATURE", **fence))
    instances.carry()
    again = node.assignment()
    assert again.request_id == first.request_id
    node.acknowledge(again.number)
    instances.run(4.0)
    assert borrower.core.shard.lanes[3].is_stuck is False
    node.end(second)
    node.end(again)
    instances.carry()
    assert {result.status for result in client.all(Result)} == {"completed"}


def test_a_node_that_has_left_its_home_costs_no_attempt_before_the_catalog_tells_of_it() -> None:
    """Catalogs follow within a second; the home itself tells all borrowers at once."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    host = instances.hosts["A"]
    host.stand(3, state=NodeState.OFFLINE)
    host.publish(instances.now_ns)
    instances.run(0.1)
    client = borrower.open_session()
    client.submit("b-1", wait_none_s=60.0)
    instances.run(0.5)
    assert not client.all(Result)
    assert count(home, Counter.GUESTS_REFUSED) == 0
    instances.node(5, "B")
    job = borrower.node(5).assignment()
    assert (job.request_id, job.attempt) == ("b-1", 1)

"""Stories of guests whose node, home or borrower dies, stands still or is cut off."""

from several import guest, two

from pointsman_shm.memory.rows import NodeState
from pointsman_wire.lane_messages import (
    CancelJob,
    JobFence,
    LaneReport,
    NodeResultAck,
)
from pointsman_wire.session_messages import Result


def test_a_guest_whose_node_dies_runs_again_where_its_session_is() -> None:
    """P3 across instances: the home gives the node up, the borrower fails the job over."""
    instances = two()
    instances.node(5, "B")
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    client.submit("b-1")
    client.submit("b-2")
    instances.carry()
    node = home.node(3)
    job = node.assignment()
    node.acknowledge(job.number)
    own = borrower.node(5)
    own.end(own.assignment())
    instances.carry()
    home.host.stand(3, state=NodeState.OFFLINE)
    instances.run(0.3)
    again = own.assignment()
    assert (again.request_id, again.attempt) == (job.request_id, 2)
    own.end(again)
    assert [result.failovers for result in client.all(Result)] == [0, 1]
    assert (home.held(3), borrower.held(3), borrower.held(5)) == (0, 0, 0)


def test_a_node_that_came_back_without_a_guest_is_told_of_as_one_that_lost_it() -> None:
    instances = two()
    home, borrower = instances["A"], instances["B"]
    client, node, _ = guest(instances)
    instances.carry()
    node.hang_up()
    node = home.open_lane(3)
    instances.run(0.1)
    again = node.assignment()
    assert (again.request_id, again.attempt) == ("b-1", 2)
    assert (home.held(3), borrower.held(3)) == (1, 1)
    node.end(again)
    instances.carry()
    (reason,) = client.one(Result).attempts
    assert "does not have it any more" in reason


def test_a_result_that_comes_when_the_job_was_given_to_another_is_dropped() -> None:
    """T26, I3: the attempt's time is over while the node still works; that changes nothing."""
    instances = two()
    instances.node(5, "B")
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    own = borrower.node(5)
    client.submit("b-0")
    first = own.assignment()
    client.submit("b-1", timeout_s=2.0)
    instances.carry()
    node = home.node(3)
    job = node.assignment()
    node.acknowledge(job.number)
    own.end(first)
    instances.run(2.5)
    again = own.assignment()
    assert again.request_id == "b-1"
    node.end(job, b"late")
    instances.run(0.1)
    assert [result.request_id for result in client.all(Result)] == ["b-0"]
    own.end(again, b"in time")
    assert client.one(Result).failovers == 1
    assert (home.held(3), borrower.held(3)) == (0, 0)


def test_an_assignment_that_is_delivered_twice_runs_once() -> None:
    """R10: what a dead consumer had read is read again."""
    instances = two(slots=2)
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    client.submit("b-1")
    instances._send(borrower)
    letters = [*instances.streams["A"]]
    instances.carry()
    instances.streams["A"].extend(letters)
    instances.carry()
    node = home.node(3)
    job = node.assignment()
    assert home.held(3) == 1
    node.end(job)
    instances.carry()
    assert client.one(Result).status == "completed"


def test_a_home_that_starts_anew_hears_of_its_guests_from_the_nodes() -> None:
    """P2: nothing of a guest stands in the home's journal, and it goes on all the same."""
    instances = two(slots=2)
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    client.submit("b-1")
    client.submit("b-2")
    instances.carry()
    runs, held = home.node(3).assignments()
    home.node(3).acknowledge(2)
    instances.carry()
    instances.kill("A")
    instances.run(0.2)
    home = instances.start("A", epoch=2)
    instances.run(0.2)
    fences = [
        JobFence(j.job_id, 1, j.dispatch, j.tenant, j.session_id, j.request_id, j.origin)
        for j in (runs, held)
    ]
    node = home.open_lane(3, report=LaneReport(running=[fences[0]], held=[fences[1]]))
    node.end_fence(fences[1], b"held")
    instances.run(4.0)
    assert home.held(3) == 1
    assert client.one(Result).request_id == held.request_id
    node.end_fence(fences[0], b"hola")
    instances.run(0.1)
    result = client.one(Result)
    assert (result.request_id, result.failovers) == (runs.request_id, 0)
    assert (home.held(3), borrower.held(3)) == (0, 0)
    assert not home.take(node.connection, CancelJob)


def test_a_home_that_is_gone_for_good_loses_its_jobs_to_others() -> None:
    """P2, R9: the link is silent, then its lanes have their grace, then the jobs go elsewhere."""
    instances = two()
    instances.node(5, "B")
    borrower = instances["B"]
    client = borrower.open_session()
    client.submit("b-0")
    client.submit("b-1")
    instances.carry()
    instances["A"].node(3).acknowledge(1)
    instances.carry()
    own = borrower.node(5)
    own.end(own.assignment())
    instances.kill("A")
    instances.run(11.0)
    again = own.assignment()
    assert (again.request_id, again.attempt) == ("b-1", 2)
    own.end(again)
    assert [result.failovers for result in client.all(Result)] == [0, 1]
    assert borrower.held(3) == 0


def test_an_instance_that_is_known_to_be_gone_loses_its_jobs_at_once() -> None:
    instances = two()
    instances.node(5, "B")
    borrower = instances["B"]
    client = borrower.open_session()
    client.submit("b-0")
    client.submit("b-1")
    instances.carry()
    own = borrower.node(5)
    own.end(own.assignment())
    instances.kill("A")
    instances.introduce("B", "A")
    instances.hosts["B"].stand(3, state=NodeState.OFFLINE)
    instances.hosts["B"].publish(instances.now_ns)
    instances.run(0.3)
    assert own.assignment().request_id == "b-1"


def test_a_short_stop_of_the_home_changes_nothing() -> None:
    """P6."""
    instances = two()
    client, node, job = guest(instances)
    instances.stop("A", 2.0)
    instances.run(1.0)
    node.end(job)
    instances.run(0.1)
    assert client.one(Result).failovers == 0


def test_what_waited_for_a_home_that_stood_still_is_not_begun_when_it_wakes() -> None:
    """P6, I3: its borrower has given the jobs to others; it finds a new link."""
    instances = two(slots=2)
    instances.node(5, "B", slots=2)
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()
    own = borrower.node(5)
    for name in ("b-1", "b-2", "b-3", "b-4"):
        client.submit(name)
    instances._send(borrower)
    firsts = own.assignments()
    instances.stop("A", 0.01)
    node = home.node(3)
    job, other = node.assignments()
    node.acknowledge(other.number)
    node.end(other)
    instances.carry()
    client.submit("b-5")
    instances._send(borrower)
    for first in firsts:
        own.end(first)
    instances.stop("A", 10.0)
    instances.run(0.5)
    assert node.assignments() == []
    assert home.take(node.connection, CancelJob)[0].job_id == job.job_id
    node.end(job, status="cancelled")
    for again in own.assignments():
        assert again.attempt == 2
        own.end(again)
    instances.carry()
    assert {result.status for result in client.all(Result)} == {"completed"}
    assert (home.held(3), borrower.held(3), borrower.held(5)) == (0, 0, 0)


def test_a_borrower_that_stood_still_finds_its_jobs_where_they_were() -> None:
    """P6: its pings were missing, so the home closed the link; nothing was stopped."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    client, node, job = guest(instances)
    instances.carry()
    instances.stop("B", 10.0)
    instances.run(1.5)
    assert not home.take(node.connection, CancelJob)
    node.end(job)
    instances.run(0.5)
    assert client.one(Result).failovers == 0
    assert (home.held(3), borrower.held(3)) == (0, 0)


def test_a_borrower_that_is_gone_holds_no_slot_after_its_lease() -> None:
    """R9: what runs for it is stopped, and the slot is free when the node says so."""
    instances = two()
    home = instances["A"]
    _, node, job = guest(instances)
    instances.kill("B")
    instances.run(14.0)
    assert not home.take(node.connection, CancelJob)
    instances.run(2.0)
    assert home.one(node.connection, CancelJob).job_id == job.job_id
    assert home.held(3) == 1
    node.end(job, status="cancelled")
    assert home.held(3) == 0
    instances.run(0.1)
    acks = home.take(node.connection, NodeResultAck)
    assert (acks[-1].number, acks[-1].withheld) == (1, [])


def test_a_borrower_cut_off_for_a_while_takes_the_result_that_waited() -> None:
    """R7: the result is kept, and the node keeps it too, until the borrower has it."""
    instances = two()
    home = instances["A"]
    client, node, job = guest(instances)
    instances.carry()
    home.is_cut = True
    node.end(job)
    instances.run(5.0)
    assert all(ack.withheld == [1] for ack in home.take(node.connection, NodeResultAck))
    home.is_cut = False
    instances.run(1.5)
    assert client.one(Result).failovers == 0
    assert home.take(node.connection, NodeResultAck)[-1].withheld == []

"""Stories of requests whose owner is away: it has stopped, or has died with a result."""

from fleet_harness import Fleet, Member, count, opened
from test_moving_stories import journalled, written

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import Assign
from pointsman_wire.session_messages import JobAccepted, Result
from pointsman_workers.core.events import StopWished

SOON_NS = 20_000_000_000


def stopped(member: Member) -> None:
    """Have it stop: it serves what runs, and leaves what waits to its next life, or to others."""
    member.feed(StopWished(member.now_ns + SOON_NS))


def busy(fleet: Fleet, durability: str = "journal") -> Assign:
    """Have r-1 run at instance a, whose only slot it takes, and r-2 wait for it."""
    node, client = opened(fleet["a"])
    client.submit("r-1", timeout_s=3600.0)
    job = node.assignment()
    node.acknowledge(job.number)
    client.submit("r-2", durability=durability, wait_busy_s=300.0)
    assert not node.assignments()
    return job


def test_what_waited_at_an_instance_that_stops_runs_at_once_where_its_client_asks_again() -> None:
    """R9: nobody waits for the lease of an owner that said farewell; what runs is not given up."""
    fleet = Fleet("a", "b", slots=1, journal=journalled().setup["journal"])
    a, b = fleet["a"], fleet["b"]
    busy(fleet)
    node_b, client_b = b.open_lane(3), b.open_session("s-1")
    client_b.submit("r-1")
    client_b.submit("r-2")
    accepted = {
        job.request_id: job.job_id for told in client_b.all(JobAccepted) for job in told.jobs
    }
    assert not node_b.assignments()
    stopped(a)
    fleet.advance(2.0)
    (job,) = node_b.assignments()
    assert (job.request_id, job.job_id) == ("r-2", accepted["r-2"])
    node_b.acknowledge(job.number)
    node_b.end(job)
    assert client_b.one(Result).request_id == "r-2"
    fleet.advance(20.0)
    assert not node_b.assignments()  # r-1 runs where it was


def test_what_waited_is_gone_on_with_by_the_next_life_if_nobody_asked_for_it() -> None:
    """P4: a farewell gives nothing away that nobody wants."""
    fleet = Fleet("a", "b", slots=1, journal=journalled().setup["journal"])
    a = fleet["a"]
    busy(fleet)
    stopped(a)
    fleet.advance(3.0)
    a = fleet.restart("a", recovered=written(a))
    node = a.open_lane(3)
    fleet.advance(8.0)
    ran = []
    for _ in range(3):
        for job in node.assignments():
            node.acknowledge(job.number)
            node.end(job)
            ran.append(job.request_id)
        fleet.advance(1.0)
    assert "r-2" in ran
    assert count(a, Counter.JOBS_FENCED) == 0


def test_what_waited_with_durability_redis_is_adopted_when_its_instance_stops() -> None:
    """R9: within one round of the buckets, not after a lease."""
    fleet = Fleet("a", "b", slots=1, journal=journalled().setup["journal"])
    busy(fleet, "redis")
    node_b = fleet["b"].open_lane(3)
    stopped(fleet["a"])
    fleet.advance(10.0)
    assert [job.request_id for job in node_b.assignments()] == ["r-2"]
    assert count(fleet["b"], Counter.JOBS_ADOPTED) == 1


def ended_at_a(fleet: Fleet) -> None:
    """Have r-1 end at instance a, which alone has its result, and then is gone."""
    a = fleet["a"]
    node, client = opened(a)
    client.submit("r-1")
    node.end(node.assignment(), b"hola")
    a.kill()


def test_a_result_whose_owner_is_gone_is_answered_at_once_with_when_to_ask_again() -> None:
    """R9: the job is not run a second time, and the key stands for the owner that comes back."""
    fleet = journalled("a", "b")
    a, b = fleet["a"], fleet["b"]
    ended_at_a(fleet)
    fleet.tell_members()
    node_b, client_b = opened(b)
    for _ in range(2):
        client_b.submit("r-1")
        fleet.advance(1.0)
        result = client_b.one(Result)
        assert result.error is not None
        assert (result.error.code, result.error.retryable) == (Code.SCHEDULER_DEPENDENCY_DOWN, True)
        assert result.error.retry_after_ms
        assert "instance a" in result.error.message
    fleet.restart("a", recovered=written(a))
    fleet.advance(2.0)
    client_b.submit("r-1")
    fleet.advance(1.0)
    assert client_b.one(Result).status == "completed"
    assert not node_b.assignments()


def test_a_result_whose_owner_is_starting_anew_is_waited_for() -> None:
    fleet = journalled("a", "b")
    a = fleet["a"]
    ended_at_a(fleet)  # and nobody knows yet that it is gone
    _, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    fleet.advance(4.0)
    assert not client_b.all(Result)
    fleet.restart("a", recovered=written(a))
    fleet.advance(6.0)
    assert client_b.one(Result).status == "completed"

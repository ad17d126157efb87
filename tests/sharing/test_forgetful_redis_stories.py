"""Stories of a Redis that was flushed, or failed over to a copy that is behind."""

import pytest
from fleet_harness import Fleet, count, opened, started

from pointsman_shm.config import Config, JobsConfig
from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import JobAccepted, Result


def test_a_flush_is_noticed_and_running_jobs_are_published_again() -> None:
    """R3: the same key afterwards is the same job, at every instance."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    job = started(a, node_a, client_a)
    fleet.model.flush()
    fleet.advance(5.0)
    assert count(a, Counter.BUCKETS_FORGOTTEN) >= 1
    node_b, client_b = opened(b)
    client_b.submit("r-1")
    assert client_b.one(JobAccepted).jobs[0].job_id == job.job_id
    assert not node_b.assignments()
    node_a.end(job)
    assert client_b.one(Result).status == "completed"


def test_ended_jobs_are_remembered_through_a_flush() -> None:
    """R3: what has ended within the window is not run again."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    client_a.submit("r-1")
    job = node_a.assignment()
    node_a.end(job)
    fleet.model.flush()
    fleet.advance(5.0)
    node_b, client_b = opened(b)
    client_b.submit("r-1")
    assert client_b.one(Result).job_id == job.job_id
    assert not node_b.assignments()


def test_nothing_new_is_bound_in_a_bucket_until_all_have_published() -> None:
    """R3, R5: one instance is slow to notice, so its jobs are not known yet."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    job = started(a, node_a, client_a)
    node_b, client_b = opened(b)
    a.is_held = True  # nothing of it is answered
    fleet.model.flush()
    fleet.advance(2.0)
    client_b.submit("r-1")
    fleet.advance(1.0)
    assert client_b.one(Error).error.code == Code.SCHEDULER_DEPENDENCY_DOWN
    a.let_go()
    fleet.advance(3.0)
    client_b.submit("r-1")
    assert client_b.one(JobAccepted).jobs[0].job_id == job.job_id
    assert not node_b.assignments()


def test_a_bucket_is_thawed_without_an_instance_that_never_publishes() -> None:
    """R3: after ten seconds, so that one that hangs does not stop all others."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    a.is_held = True
    fleet.model.flush()
    node_b, client_b = opened(b)
    fleet.advance(15.0)
    client_b.submit("r-1")
    assert node_b.assignment().request_id == "r-1"


def test_a_bucket_that_forgets_twice_waits_for_all_a_second_time() -> None:
    """R3, R5: who waits already must not count from the first time."""
    fleet = Fleet("a", "b", "c")
    b, c = fleet["b"], fleet["c"]
    node_c, client_c = opened(c)
    job = started(c, node_c, client_c)
    node_b, client_b = opened(b)
    c.is_held = True
    fleet.model.flush()
    fleet.advance(9.0)
    fleet.model.flush()
    fleet.advance(4.0)
    client_b.submit("r-1")
    fleet.advance(1.0)
    assert not node_b.assignments()
    c.let_go()
    fleet.advance(3.0)
    client_b.submit("r-1")
    assert client_b.one(JobAccepted).jobs[0].job_id == job.job_id
    assert not node_b.assignments()


def test_a_failover_to_a_stale_copy_forgets_no_running_job() -> None:
    """R5: the copy has not heard of the job."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    stale = fleet.model.snapshot()
    node_a, client_a = opened(a)
    job = started(a, node_a, client_a)
    fleet.model.fail_over(stale)
    fleet.advance(5.0)
    node_b, client_b = opened(b)
    client_b.submit("r-1")
    assert client_b.one(JobAccepted).jobs[0].job_id == job.job_id
    assert not node_b.assignments()


def test_a_restored_copy_of_the_same_reign_is_noticed_by_the_counters() -> None:
    """R5: nothing tells but that an instance's own counter went back."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    stale = fleet.model.snapshot()
    job = started(a, node_a, client_a)
    fleet.advance(1.0)
    fleet.model.store.entries = stale
    fleet.advance(5.0)
    node_b, client_b = opened(b)
    client_b.submit("r-1")
    assert client_b.one(JobAccepted).jobs[0].job_id == job.job_id
    assert not node_b.assignments()


@pytest.mark.parametrize("ends_first", [False, True])
def test_a_job_that_was_taken_without_redis_gets_the_key_of_one_that_its_worker_lost(
    ends_first: bool,
) -> None:
    """R7: until then its end was told to nobody, and kept to be told, for ever."""
    fleet = Fleet("a", is_local=True)
    a = fleet["a"]
    node, client = opened(a)
    lost = started(a, node, client)
    a = fleet.restart("a")
    node, client = opened(a)
    a.is_cut = True
    job = started(a, node, client)
    assert job.job_id != lost.job_id
    if ends_first:
        node.end(job)
    a.is_cut = False
    fleet.advance(5.0)
    if not ends_first:
        node.end(job)
        fleet.advance(5.0)
    assert client.one(Result).job_id == job.job_id
    assert a.core._sharing is not None
    assert a.core._sharing.ending.untold_count == 0
    assert fleet.bound().job_id == job.job_id


def test_an_end_that_could_not_be_told_is_let_go_with_its_job() -> None:
    """I9: its key is a newer job's by now, of which alone Redis is asked."""
    fleet = Fleet("a", is_local=True, slots=1, config=Config(jobs=JobsConfig(window_s=5.0)))
    a = fleet["a"]
    node, client = opened(a)
    a.is_cut = True
    node.end(started(a, node, client))
    fleet.advance(8.0)
    started(a, node, client, "r-2")
    client.submit("r-1", wait_busy_s=0.5)
    fleet.advance(1.0)
    assert client.all(Result)[-1].status == "expired"
    a.is_cut = False
    fleet.advance(5.0)
    assert a.core._sharing is not None
    assert a.core._sharing.ending.untold_count == 0

"""Stories of a Redis that is gone or does not answer, and of instances that die or are late."""

import pytest
from fleet_harness import (
    LEASE_S,
    SESSION,
    Fleet,
    awaited,
    count,
    opened,
    started,
    taken_over_while_cut,
)

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.requests import Bind, End, Lookup, Move, Release, Renew
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import CancelJob
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import JobAccepted, Result, SessionClose
from pointsman_workers.core.events import Say
from pointsman_workers.sharing.keys import ending

# -- R1, R7: gone, for all or for one


def test_a_result_that_waits_for_redis_is_told_however_much_has_ended_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """I1: what its client has is given up first."""
    monkeypatch.setattr(ending, "UNTOLD_MAX", 3)
    fleet = Fleet("a", is_local=True)
    a = fleet["a"]
    node, client = opened(a)
    job = started(a, node, client)
    a.is_cut = True
    fleet.advance(LEASE_S + 5)
    node.end(job)
    assert not client.all(Result)
    for number in range(6):
        client.submit(f"local-{number}")
        node.end(node.assignment())
    assert len(client.all(Result)) == 6
    a.is_cut = False
    fleet.advance(5.0)
    assert client.one(Result).request_id == "r-1"


def test_without_redis_new_jobs_are_refused_and_running_ones_go_on() -> None:
    """R1, R7: policy fail_closed."""
    fleet = Fleet("a", "b")
    a = fleet["a"]
    node, client = opened(a)
    job = started(a, node, client)
    a.is_cut = True
    client.submit("r-2")
    error = client.one(Error).error
    assert error.code == Code.SCHEDULER_DEPENDENCY_DOWN
    assert error.retryable
    assert error.retry_after_ms
    node.end(job)
    assert client.one(Result).status == "completed"
    # The other instance is not cut off.
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-3")
    assert node_b.assignment().request_id == "r-3"


def test_an_end_without_an_answer_is_told_again_until_redis_is_back() -> None:
    """R1: then the other instance finds it."""
    fleet = Fleet("a", "b")
    a = fleet["a"]
    node, client = opened(a)
    job = started(a, node, client)
    a.is_cut = True
    node.end(job)
    assert client.one(Result).status == "completed"
    fleet.advance(3.0)
    a.is_cut = False
    fleet.advance(3.0)
    assert a.count_of(End) > 1
    fleet.advance(LEASE_S + 1)
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    assert client_b.one(Result).job_id == job.job_id
    assert not node_b.assignments()


def test_with_policy_local_a_job_is_accepted_for_this_instance_and_bound_later() -> None:
    """T22: local mode goes on, and is reconciled."""
    fleet = Fleet("a", "b", is_local=True)
    a = fleet["a"]
    node, client = opened(a)
    a.is_cut = True
    client.submit("r-1", timeout_s=3600.0)
    accepted = client.one(JobAccepted).jobs[0]
    assert accepted.scope == "instance"
    node.acknowledge(node.assignment().number)
    a.is_cut = False
    fleet.advance(3.0)
    _, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    assert client_b.one(JobAccepted).jobs[0].job_id == accepted.job_id


def test_a_local_job_that_ended_meanwhile_is_known_to_the_fleet_afterwards() -> None:
    """T22."""
    fleet = Fleet("a", "b", is_local=True)
    a = fleet["a"]
    node, client = opened(a)
    a.is_cut = True
    client.submit("r-1")
    job = node.assignment()
    node.end(job)
    assert client.one(Result).status == "completed"
    a.is_cut = False
    fleet.advance(3.0)
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    assert client_b.one(Result).job_id == job.job_id
    assert not node_b.assignments()


def test_a_key_that_ran_on_both_sides_of_a_partition_is_reported() -> None:
    """R7, T22: each side gave its own client one result, and says so."""
    fleet = Fleet("a", "b", is_local=True)
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    node_b, client_b = opened(b)
    a.is_cut = True
    client_a.submit("r-1")
    client_b.submit("r-1")
    node_a.end(node_a.assignment())
    node_b.end(node_b.assignment())
    assert client_a.one(Result).status == client_b.one(Result).status == "completed"
    a.is_cut = False
    fleet.advance(3.0)
    assert count(a, Counter.JOBS_DUPLICATE) == 1
    said = [command.text for command in a.commands if isinstance(command, Say)]
    assert any("duplicate" in text and "r-1" in text for text in said)


# -- R2: unknown outcomes


def test_a_bind_without_an_answer_is_proposed_again_and_makes_one_job() -> None:
    """R2: the client repeats its request; the key is bound to the same job."""
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    a.is_deaf = True
    client.submit("r-1")
    assert client.one(Error).error.code == Code.SCHEDULER_DEPENDENCY_DOWN
    first = next(request for request in a.asked if isinstance(request, Bind))
    a.is_deaf = False
    client.submit("r-1")
    assert client.one(JobAccepted).jobs[0].job_id == first.job_id
    assert node.assignment().job_id == first.job_id


def test_a_bind_without_an_answer_is_looked_up_and_freed_for_others() -> None:
    """R2: its client goes elsewhere, where the key must not wait for a lease."""
    fleet = Fleet("a", "b")
    a = fleet["a"]
    _, client = opened(a)
    a.is_deaf = True
    client.submit("r-1")
    a.is_deaf = False
    fleet.advance(3.0)
    assert a.count_of(Lookup) >= 1
    assert a.count_of(Release) == 1
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    assert node_b.assignment().request_id == "r-1"


def test_a_bind_without_an_answer_is_freed_although_its_repeat_did_not_reach_redis() -> None:
    """R2: the breaker opens after the first ones, and the client gives up."""
    fleet = Fleet("a", "b")
    a = fleet["a"]
    _, client = opened(a)
    a.is_deaf = True
    client.submit("r-1")
    a.is_deaf, a.is_cut = False, True
    client.submit("r-1")
    assert len(client.all(Error)) == 2
    a.is_cut = False
    fleet.advance(3.0)
    assert fleet.bound().outcome == "missing"


def test_a_follower_of_a_job_that_was_never_accepted_gets_it() -> None:
    """R2: the other instance is asked for a job it does not have, and frees its key."""
    fleet = Fleet("a", "b")
    a = fleet["a"]
    _, client = opened(a)
    a.is_deaf = True
    client.submit("r-1")
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    a.is_deaf = False
    node_b.end(awaited(fleet, node_b, 8.0))
    assert client_b.one(Result).status == "completed"


# -- R9, T26: owners that die, or are late


def test_a_job_of_a_dead_instance_is_taken_over_under_the_same_job_id() -> None:
    """R9: its client comes to another instance, which waits for the lease to lapse."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    job = started(a, node_a, client_a)
    a.kill()
    fleet.tell_members()
    node_b, client_b = opened(b)
    client_b.submit("r-1")
    assert client_b.one(JobAccepted).jobs[0].job_id == job.job_id
    fleet.advance(LEASE_S / 2)
    assert not node_b.assignments()
    again = awaited(fleet, node_b, LEASE_S)
    assert again.job_id == job.job_id
    node_b.end(again)
    assert client_b.one(Result).status == "completed"


def stood(fleet: Fleet) -> tuple[str, int]:
    """Where the job stands, and in which attempt, as Redis has it."""
    bound = fleet.bound()
    return bound.state, bound.attempt


def test_where_a_job_stands_is_told_when_its_lease_is_renewed_and_its_attempts_go_on() -> None:
    """I11: as CREATED, RUNNING, then of the next attempt, at the next owner, after a flush."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    job = started(a, node_a, client_a)
    fleet.advance(1.0)
    assert stood(fleet) == ("CREATED", 0)
    fleet.advance(LEASE_S / 3)
    assert stood(fleet) == ("RUNNING", 1)
    fleet.model.flush()
    fleet.advance(2.0)
    assert stood(fleet) == ("RUNNING", 1)
    fleet.advance(LEASE_S)
    assert a.count_of(Move) == 2, "nothing has changed since"
    a.kill()
    fleet.tell_members()
    node_b, client_b = opened(b)
    client_b.submit("r-1", timeout_s=3600.0)
    again = awaited(fleet, node_b, LEASE_S + 10)
    fleet.advance(LEASE_S)
    assert stood(fleet) == ("RUNNING", 2)
    node_b.end(again)
    assert stood(fleet) == ("RELEASED", 2)
    assert fleet.bound().job_id == job.job_id


def test_a_result_that_comes_after_the_lease_was_lost_does_not_count() -> None:
    """T26, I3: the job was taken over while its first owner stood still."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    job = started(a, node_a, client_a)
    a.is_dead = True  # stands still
    node_b, client_b = opened(b)
    client_b.submit("r-1", timeout_s=3600.0)
    again = awaited(fleet, node_b, LEASE_S + 10)
    a.is_dead = False
    a.now_ns = fleet.now_ns
    node_a.end(job, b"of the first")
    assert not client_a.all(Result)
    fleet.advance(1.0)
    node_b.end(again, b"of the second")
    assert client_b.one(Result).job_id == job.job_id
    result, payload = a.sent[client_a.connection][-1]
    assert isinstance(result, Result)
    assert payload == b"of the second"
    assert count(a, Counter.JOBS_FENCED) == 1


def test_a_serial_job_that_another_instance_runs_anew_keeps_its_place_when_its_end_comes_late() -> (
    None
):
    """I4, T26: what comes after it does not overlap the run that counts."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = a.open_lane(3), a.open_session(SESSION, order="serial")
    job = started(a, node_a, client_a)
    client_a.submit("r-2", timeout_s=3600.0)
    a.is_dead = True  # stands still
    node_b, client_b = b.open_lane(3), b.open_session(SESSION, order="serial")
    client_b.submit("r-1", timeout_s=3600.0)
    again = awaited(fleet, node_b, LEASE_S + 10)
    a.is_dead = False
    a.now_ns = fleet.now_ns
    a.is_held = True
    node_a.end(job, b"of the first")
    assert not node_a.assignments(), "nobody has said yet whose the job is"
    a.let_go()
    fleet.advance(3.0)
    assert not node_a.assignments(), "it runs at the other instance"
    node_b.end(again, b"of the second")
    fleet.advance(1.0)
    assert node_a.assignment().request_id == "r-2"
    assert [result.request_id for result in client_a.all(Result)] == ["r-1"]


def test_an_owner_that_finds_its_lease_lost_stops_its_node_and_follows() -> None:
    """T26: long before its node has ended."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    started(a, node_a, client_a)
    a.is_dead = True
    node_b, client_b = opened(b)
    client_b.submit("r-1", timeout_s=3600.0)
    again = awaited(fleet, node_b, LEASE_S + 10)
    a.is_dead = False
    fleet.advance(2.0)
    assert len(a.take(node_a.connection, CancelJob)) == 1
    node_b.end(again)
    assert client_a.one(Result).job_id == client_b.one(Result).job_id == again.job_id


def test_a_result_waits_when_redis_is_away_for_longer_than_the_lease() -> None:
    """R7, T26: cut off, an instance cannot know whether its job was taken over: it was."""
    fleet = Fleet("a", "b")
    client_a, node_b, again = taken_over_while_cut(fleet)
    a = fleet["a"]
    assert not client_a.all(Result)
    a.is_cut = False
    fleet.advance(2.0)
    node_b.end(again, b"of the second")
    fleet.advance(6.0)
    result, payload = a.sent[client_a.connection][-1]
    assert isinstance(result, Result)
    assert payload == b"of the second"


def test_a_long_job_keeps_its_lease() -> None:
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    job = started(a, node_a, client_a)
    node_b, client_b = opened(b)
    client_b.submit("r-1")
    fleet.advance(3 * LEASE_S)
    assert a.count_of(Renew) >= 8
    assert not node_b.assignments()
    node_a.end(job)
    assert client_b.one(Result).job_id == job.job_id


def test_a_jump_of_the_clock_of_redis_costs_no_second_result() -> None:
    """R12: the lease lapses early; the first owner's result does not count."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    job = started(a, node_a, client_a)
    fleet.clock_jump_ms = 100_000
    node_b, client_b = opened(b)
    client_b.submit("r-1")
    again = node_b.assignment()
    assert again.job_id == job.job_id
    node_a.end(job, b"of the first")
    node_b.end(again, b"of the second")
    fleet.advance(6.0)
    payloads = [member.sent[c.connection][-1][1] for member, c in ((a, client_a), (b, client_b))]
    assert payloads == [b"of the second", b"of the second"]


@pytest.mark.parametrize("is_waiting", [False, True])
def test_a_line_goes_on_when_its_job_has_come_to_a_newer_session_before_its_end(
    is_waiting: bool,
) -> None:
    """Else what waits in a serial session that was closed waits for ever, and is counted open."""
    fleet = Fleet("a", slots=1)
    a = fleet["a"]
    node, old = a.open_lane(3), a.open_session(SESSION, order="serial")
    other = a.open_session("s-2")
    if is_waiting:
        other.submit("first")
    for request_id in ("r-1", "r-2"):
        old.submit(request_id, timeout_s=3600.0, wait_busy_s=60.0)
    job = node.assignment()
    a.receive(old.connection, SessionClose(flush=False))
    a.open_session(SESSION).submit("r-1", timeout_s=3600.0)
    if is_waiting:
        node.end(job)
        fleet.advance(0.2)
        job = node.assignment()
    assert job.request_id == "r-1"
    node.end(job)
    fleet.advance(1.0)
    assert node.assignment().request_id == "r-2"

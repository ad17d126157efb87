"""Stories of keys that are bound for the whole fleet, with two workers over one Redis model."""

import pytest
from fleet_harness import SESSION, Fleet, opened
from worker_harness import Client, one_node

from pointsman_wire.coordination.requests import Bind, End, Release, Renew
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import CancelJob
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import (
    AcceptedJob,
    JobAccepted,
    Result,
    SessionClose,
    SessionClosed,
)
from pointsman_workers.core.events import Coordinate, WriteJournal
from pointsman_workers.sharing.keys import binding


def test_without_redis_nothing_is_asked_and_a_submit_is_answered_in_its_own_step() -> None:
    _, h = one_node()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    assert client.one(JobAccepted).jobs[0].scope == "instance"
    assert node.assignment().request_id == "r-1"
    assert not any(isinstance(command, Coordinate) for command in h.commands)


def test_an_acceptance_says_that_its_key_is_known_in_the_whole_fleet() -> None:
    fleet = Fleet("a")
    node, client = opened(fleet["a"])
    client.submit("r-1")
    accepted = client.one(JobAccepted).jobs[0]
    assert accepted.scope == "cluster"
    assert node.assignment().job_id == accepted.job_id


def accepted_in(client: Client) -> list[AcceptedJob]:
    return [job for message in client.all(JobAccepted) for job in message.jobs]


def test_a_request_that_comes_again_after_it_was_cancelled_is_a_new_one() -> None:
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    a.is_held = True
    client.submit("r-1")
    client.cancel("r-1")
    assert client.one(Error).error.code == Code.CANCELLED
    client.submit("r-1")
    client.submit("r-1")
    a.let_go()
    assert [accepted.duplicate for accepted in accepted_in(client)] == [False, True]
    node.end(node.assignment())
    assert client.one(Result).status == "completed"


def test_every_cancel_of_a_request_that_comes_again_and_again_is_answered() -> None:
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    a.is_held = True
    for _ in range(2):
        client.submit("r-1")
        client.cancel("r-1")
        assert client.one(Error).error.code == Code.CANCELLED
    client.cancel("r-1")
    assert client.one(Error).error.code == Code.NOT_FOUND
    a.let_go()
    assert not node.assignments()


def test_a_request_that_comes_in_a_new_session_of_the_same_id_is_a_new_one() -> None:
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    a.is_held = True
    client.submit("r-1")
    number = client.ack.session_number
    a.receive(client.connection, SessionClose(session_number=number, flush=False))
    client = a.open_session(SESSION)
    client.submit("r-1")
    a.let_go()
    node.end(node.assignment())
    assert client.one(Result).status == "completed"


def test_a_session_that_is_closed_behind_a_submit_waits_for_its_key_and_for_the_job() -> None:
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    a.is_held = True
    client.submit("r-1")
    a.receive(client.connection, SessionClose(session_number=client.ack.session_number))
    assert not client.all(SessionClosed)
    a.let_go()
    node.end(node.assignment())
    assert client.one(Result).status == "completed"
    assert client.one(SessionClosed)


def test_a_session_is_closed_when_the_last_of_its_submits_has_no_key() -> None:
    fleet = Fleet("a", "b")
    a = fleet["a"]
    _, client = opened(a)
    a.is_held = True
    client.submit("r-1")
    a.receive(client.connection, SessionClose(session_number=client.ack.session_number))
    a.is_cut = True
    a.let_go()
    assert client.one(Error).error.code == Code.SCHEDULER_DEPENDENCY_DOWN
    assert client.one(SessionClosed)


def test_a_job_is_bound_before_anything_is_written_promised_or_dispatched() -> None:
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    a.is_held = True
    before = len(a.commands)
    client.submit("r-1")
    assert not client.all(JobAccepted)
    assert not node.assignments()
    assert not any(isinstance(command, WriteJournal) for command in a.commands[before:])
    a.let_go()
    assert client.one(JobAccepted).jobs[0].request_id == "r-1"
    assert node.assignment().request_id == "r-1"


def test_one_request_of_one_job_asks_redis_twice_in_all() -> None:
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    client.submit("r-1")
    node.end(node.assignment())
    client.one(Result)
    assert (a.count_of(Bind), a.count_of(End), a.count_of(Renew)) == (1, 1, 0)


def test_repeats_on_all_connections_meanwhile_attach_to_the_one_job() -> None:
    """N11: the same key, concurrently; another body is a conflict."""
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    a.is_held = True
    for _ in range(3):
        client.submit("r-1")
    client.submit("r-1", payload=b"other")
    error = client.one(Error).error
    assert error.code == Code.CONFLICT
    a.let_go()
    accepted = [job for message in client.all(JobAccepted) for job in message.jobs]
    assert len(accepted) == 3
    assert len({job.job_id for job in accepted}) == 1
    node.end(node.assignment())
    assert client.one(Result).job_id == accepted[0].job_id


def test_the_same_key_on_two_instances_is_one_job_and_both_get_its_result() -> None:
    """R8, N11: the second instance follows, holds no slot, and is told by the first."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    node_b, client_b = opened(b)
    client_a.submit("r-1")
    client_b.submit("r-1")
    job = node_a.assignment()
    assert not node_b.assignments()
    assert b.held(3) == 0
    followed = client_b.one(JobAccepted).jobs[0]
    assert (followed.job_id, followed.scope, followed.duplicate) == (job.job_id, "cluster", True)
    node_a.end(job, b"hola")
    assert client_a.one(Result).job_id == client_b.one(Result).job_id == job.job_id
    # Asked again after its end, either has it.
    client_b.submit("r-1")
    assert client_b.one(Result).status == "completed"


def test_a_key_with_another_body_is_a_conflict_at_every_instance() -> None:
    """N11: another payload under the same key, at another instance."""
    fleet = Fleet("a", "b")
    _, client_a = opened(fleet["a"])
    _, client_b = opened(fleet["b"])
    client_a.submit("r-1")
    client_b.submit("r-1", payload=b"other")
    assert client_b.one(Error).error.code == Code.CONFLICT


def test_a_result_is_found_at_another_instance_after_it_ended() -> None:
    """4.2 across instances: the window of the fleet is that of the job's owner."""
    fleet = Fleet("a", "b")
    node_a, client_a = opened(fleet["a"])
    client_a.submit("r-1")
    node_a.end(node_a.assignment(), b"hola")
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    result, payload = fleet["b"].sent[client_b.connection][-1]
    assert isinstance(result, Result)
    assert payload == b"hola"
    assert not node_b.assignments()


def test_a_request_that_is_refused_frees_its_key_for_another_instance() -> None:
    fleet = Fleet("a", "b")
    client_a = fleet["a"].open_session(SESSION)  # without a node
    client_a.submit("r-1", wait_none_s=0.0, wait_busy_s=0.0)
    assert client_a.one(Error).error.code == Code.NO_AVAILABLE_NODE
    assert fleet["a"].count_of(Release) == 1
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    node_b.end(node_b.assignment())
    assert client_b.one(Result).status == "completed"


def test_a_job_that_waited_in_vain_frees_its_key_as_well() -> None:
    fleet = Fleet("a", "b")
    client_a = fleet["a"].open_session(SESSION)
    client_a.submit("r-1", wait_none_s=1.0)
    fleet.advance(2.0)
    result = client_a.one(Result)
    assert result.status == "expired"
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    assert node_b.assignment().request_id == "r-1"


def test_a_cancel_while_the_key_is_being_bound_frees_it() -> None:
    fleet = Fleet("a", "b")
    a = fleet["a"]
    node, client = opened(a)
    a.is_held = True
    client.submit("r-1")
    client.cancel("r-1")
    assert client.one(Error).error.code == Code.CANCELLED
    a.let_go()
    assert not node.assignments()
    assert not client.all(JobAccepted)
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    assert node_b.assignment().request_id == "r-1"


def test_a_cancel_at_a_follower_stops_the_job_at_its_owner() -> None:
    fleet = Fleet("a", "b")
    node_a, client_a = opened(fleet["a"])
    _, client_b = opened(fleet["b"])
    client_a.submit("r-1")
    client_b.submit("r-1")
    client_b.cancel("r-1")
    assert fleet["a"].one(node_a.connection, CancelJob).job_id
    assert client_a.one(Result).status == client_b.one(Result).status == "cancelled"


def test_jobs_of_a_serial_session_start_in_order_though_their_answers_do_not() -> None:
    """I5: two keys of two buckets, of which the second is answered first."""
    fleet = Fleet("a")
    a = fleet["a"]
    node = a.open_lane(3)
    client = a.open_session(SESSION, order="serial")
    a.is_held = True
    client.submit("r-1")
    client.submit("r-2")
    a.unanswered.reverse()
    a.let_go()
    first = node.assignment()
    assert first.request_id == "r-1"
    node.end(first)
    fleet.advance(0.2)
    assert node.assignment().request_id == "r-2"


def test_a_follower_in_a_serial_session_holds_up_what_comes_after_it() -> None:
    """I5 across instances: the job that runs elsewhere is not overlapped by the next one."""
    fleet = Fleet("a", "b")
    node_a = fleet["a"].open_lane(3)
    client_a = fleet["a"].open_session(SESSION, order="serial")
    client_a.submit("r-1")
    first = node_a.assignment()
    node_a.acknowledge(first.number)
    node_b = fleet["b"].open_lane(3)
    client_b = fleet["b"].open_session(SESSION, order="serial")
    client_b.submit("r-1")
    client_b.submit("r-2")
    fleet.advance(8.0)
    assert not node_b.assignments()
    node_a.end(first)
    fleet.advance(0.2)
    assert node_b.assignment().request_id == "r-2"
    assert client_b.one(Result).request_id == "r-1"


def test_i9_what_waits_for_a_key_is_bounded_and_refused_before_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binding, "PENDING_MAX", 3)
    fleet = Fleet("a")
    a = fleet["a"]
    _, client = opened(a)
    a.is_held = True
    for number in range(5):
        client.submit(f"r-{number}")
    refused = client.all(Error)
    assert [(error.request_id, error.error.code) for error in refused] == [
        ("r-3", Code.QUEUE_FULL),
        ("r-4", Code.QUEUE_FULL),
    ]
    assert all(error.error.retry_after_ms for error in refused)
    a.let_go()
    assert [job.request_id for job in accepted_in(client)] == ["r-0", "r-1", "r-2"]


def test_i9_repeats_of_one_request_whose_key_is_being_bound_are_bounded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binding, "REPEATS_MAX", 2)
    fleet = Fleet("a")
    a = fleet["a"]
    _, client = opened(a)
    a.is_held = True
    for _ in range(5):
        client.submit("r-1")
    assert [error.error.code for error in client.all(Error)] == [Code.QUEUE_FULL] * 2
    a.let_go()
    assert [job.duplicate for job in accepted_in(client)] == [False, True, True]

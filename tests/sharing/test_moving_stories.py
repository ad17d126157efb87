"""Stories of jobs and sessions that come back elsewhere: restarts, adoption, clients that move."""

import msgspec
import pytest
from fleet_harness import LEASE_S, SESSION, Fleet, Member, awaited, count, opened, started
from worker_harness import WorkerHarness

from pointsman_shm.config import Config, JobsConfig, PoolsConfig
from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.requests import (
    Answer,
    Bind,
    Owner,
    Release,
    Request,
    RequestKey,
    SessionWrite,
)
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import CancelJob, JobFence
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import JobAccepted, Result, ResultAck, SessionInitAck
from pointsman_workers.core.events import JournalState, Stopped, StopWished, WriteJournal
from pointsman_workers.journal.entries import Recovered
from pointsman_workers.journal.replay import Fold, FoundEntry

MIB = 1 << 20
JOURNAL = JournalState(1, room_bytes=64 * MIB, held_bytes=16 * MIB, oldest=1)
_decode = msgspec.msgpack.Decoder(list[FoundEntry]).decode


def written(member: WorkerHarness) -> Recovered:
    """What a successor reads of what a worker wrote."""
    fold = Fold(200_000)
    for command in member.commands:
        if isinstance(command, WriteJournal):
            fold.absorb(1, _decode(msgspec.msgpack.encode(command.entries)))
    return fold.recovered(is_same_boot=True, lost_records=0)


def journalled(*names: str, slots: int = 4) -> Fleet:
    """Instances whose workers write down what they accept."""
    return Fleet(*names, slots=slots, journal=JOURNAL)


# -- a worker that is stopped in order


def stopped(member: Member, within_s: float = 5.0) -> bool:
    """Has it ended by itself in that time?"""
    member.feed(StopWished(member.now_ns + 25_000_000_000))
    member.fleet.advance(within_s)
    return any(isinstance(command, Stopped) for command in member.commands)


def test_a_worker_that_is_stopped_waits_until_its_last_client_has_its_result() -> None:
    fleet = Fleet("a", "b")
    a = fleet["a"]
    node, client = opened(a)
    job = started(a, node, client)
    a.is_held = True
    node.end(job, b"hola")
    assert not stopped(a), "Redis has not heard of the end, so nobody was told of it"
    a.let_go()
    assert client.one(Result).status == "completed"
    assert stopped(a, 1.0)


def test_a_worker_that_is_stopped_does_not_wait_for_a_redis_that_is_away() -> None:
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    job = started(a, node, client)
    a.is_cut = True
    node.end(job, b"hola")
    assert client.one(Result).status == "completed", "its lease holds by its own clock"
    assert stopped(a)


def test_a_result_that_nobody_has_read_is_left_to_others_when_its_worker_is_stopped() -> None:
    """I11: whoever asks elsewhere gets the end that there was."""
    fleet = Fleet("a", "b")
    a = fleet["a"]
    node, client = opened(a)
    before = started(a, node, client, "r-1")
    during = started(a, node, client, "r-2")
    client.hang_up()
    node.end(before, b"first")
    a.feed(StopWished(a.now_ns + 25_000_000_000))
    node.end(during, b"second")
    fleet.advance(1.0)
    assert any(isinstance(command, Stopped) for command in a.commands)
    a.kill()
    fleet.tell_members()
    fleet.advance(1.0)
    node_b, client_b = opened(fleet["b"])
    for request_id, job, output in (("r-1", before, b"first"), ("r-2", during, b"second")):
        client_b.submit(request_id, timeout_s=3600.0)
        (payload,) = [
            payload
            for message, payload in fleet["b"].sent[client_b.connection]
            if isinstance(message, Result)
        ]
        result = client_b.one(Result)
        assert (result.job_id, result.status, payload) == (job.job_id, "completed", output)
    assert not node_b.assignments()


# -- a worker that restarts


def test_a_restarted_worker_binds_again_what_its_journal_brought_back() -> None:
    """P2 after bind: the binding is still its own, and its node goes on."""
    fleet = journalled("a", "b")
    a = fleet["a"]
    node, client = opened(a)
    job = started(a, node, client)
    a = fleet.restart("a", recovered=written(a))
    fence = JobFence(job.job_id, 1, job.dispatch, "", SESSION, "r-1")
    node = a.open_lane(3, running=[fence])
    fleet.advance(2 * LEASE_S)
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    assert client_b.one(JobAccepted).jobs[0].job_id == job.job_id
    assert not node_b.assignments()
    node.end_fence(fence, b"hola")
    assert client_b.one(Result).status == "completed"


def test_a_restarted_worker_gives_up_what_was_taken_over_while_it_was_away() -> None:
    """T26, I2: its node is stopped, and the job is followed."""
    fleet = journalled("a", "b")
    a = fleet["a"]
    node, client = opened(a)
    job = started(a, node, client)
    a.kill()
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1", timeout_s=3600.0)
    again = awaited(fleet, node_b, LEASE_S + 10)
    a = fleet.restart("a", recovered=written(a))
    fence = JobFence(job.job_id, 1, job.dispatch, "", SESSION, "r-1")
    node = a.open_lane(3, running=[fence])
    fleet.advance(2.0)
    assert len(a.take(node.connection, CancelJob)) == 1
    client = a.open_session(SESSION)
    client.submit("r-1")
    node_b.end(again, b"hola")
    fleet.advance(6.0)
    assert client.one(Result).job_id == job.job_id


def test_an_end_that_redis_had_not_heard_of_is_told_by_the_next_life() -> None:
    """R1, P2: ended while Redis was away, and then the worker died."""
    fleet = journalled("a", "b")
    a = fleet["a"]
    node, client = opened(a)
    client.submit("r-1")
    job = node.assignment()
    a.is_cut = True
    node.end(job)
    assert client.one(Result).status == "completed"
    fleet.restart("a", recovered=written(a))
    fleet.advance(LEASE_S + 10)
    node_b, client_b = opened(fleet["b"])
    client_b.submit("r-1")
    assert client_b.one(Result).job_id == job.job_id
    assert not node_b.assignments()


def test_what_ended_long_ago_takes_no_key_from_a_newer_job_after_a_restart() -> None:
    """P2, I2: the journal has an old end of the same key, whose window was over."""
    window_s = 30.0
    fleet = Fleet("a", journal=JOURNAL, config=Config(jobs=JobsConfig(window_s=window_s)))
    a = fleet["a"]
    node, client = opened(a)
    client.submit("r-1")
    node.end(node.assignment())
    old = client.one(Result)
    a.receive(client.connection, ResultAck(results=[(0, old.number)]))
    fleet.advance(window_s + 2)
    job = started(a, node, client)
    assert job.job_id != old.job_id
    client.hang_up()
    left = written(a)
    assert [kept.kept.job_id for kept in left.ended] == [old.job_id]
    a = fleet.restart("a", recovered=left)
    fence = JobFence(job.job_id, 1, job.dispatch, "", SESSION, "r-1")
    node = a.open_lane(3, running=[fence])
    client = a.open_session(SESSION)
    client.submit("r-1", timeout_s=3600.0)
    fleet.advance(1.0)
    node.end_fence(fence, b"hola")
    assert client.one(Result).job_id == job.job_id


# -- durability redis


def test_durability_redis_is_accepted_after_redis_has_all_it_takes_to_run_the_job() -> None:
    fleet = journalled("a")
    a = fleet["a"]
    node, client = opened(a)
    a.is_held = True
    client.submit("r-1", durability="redis")
    assert not client.all(JobAccepted)
    a.let_go()
    assert client.one(JobAccepted).jobs[0].durability == "redis"
    bind = next(request for request in a.asked if isinstance(request, Bind))
    assert bind.keep is not None
    assert b"hello" in bind.keep
    assert node.assignment().request_id == "r-1"


def test_durability_redis_is_not_promised_without_redis_by_any_policy() -> None:
    fleet = Fleet("a", is_local=True, journal=JOURNAL)
    a = fleet["a"]
    _, client = opened(a)
    a.is_cut = True
    client.submit("r-1", durability="redis")
    assert client.one(Error).error.code == Code.SCHEDULER_DEPENDENCY_DOWN
    client.submit("r-2")
    accepted = client.one(JobAccepted).jobs[0]
    assert (accepted.durability, accepted.scope) == ("journal", "instance")


def test_a_job_of_durability_redis_is_adopted_when_its_instance_is_gone() -> None:
    """R9: nobody asks for it; later its client finds the result at any instance."""
    fleet = journalled("a", "b", "c")
    a, b, c = fleet["a"], fleet["b"], fleet["c"]
    node_a, client_a = opened(a)
    client_a.submit("r-1", durability="redis", timeout_s=3600.0)
    job = node_a.assignment()
    node_a.acknowledge(job.number)
    nodes = [b.open_lane(3), c.open_lane(3)]
    a.kill()
    fleet.tell_members()
    fleet.advance(LEASE_S - 5)
    assert not [job for node in nodes for job in node.assignments()]
    again = []
    for _ in range(20):
        fleet.advance(1.0)
        for node in nodes:
            for adopted in node.assignments():
                node.acknowledge(adopted.number)
                again.append((node, adopted))
    assert [adopted.job_id for _, adopted in again] == [job.job_id]
    assert count(b, Counter.JOBS_ADOPTED) + count(c, Counter.JOBS_ADOPTED) == 1
    again[0][0].end(again[0][1], b"hola")
    for member in (b, c):
        client = member.open_session(SESSION)
        client.submit("r-1")
        assert client.one(Result).job_id == job.job_id


def test_a_job_of_durability_redis_is_adopted_although_redis_was_flushed_before() -> None:
    """R3: what it takes to run it is published again as well."""
    fleet = journalled("a", "b")
    a = fleet["a"]
    node_a, client_a = opened(a)
    client_a.submit("r-1", durability="redis", timeout_s=3600.0)
    job = node_a.assignment()
    node_a.acknowledge(job.number)
    fleet.model.flush()
    fleet.advance(5.0)
    a.kill()
    fleet.tell_members()
    node_b = fleet["b"].open_lane(3)
    assert awaited(fleet, node_b, LEASE_S + 20).job_id == job.job_id


def test_a_job_that_its_owner_gave_up_at_the_last_moment_is_not_adopted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R9: it comes back after its lease, and refuses the job, while another one looks at it."""
    fleet = journalled("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    client_a.submit("r-1", durability="redis", timeout_s=3600.0)
    node_a.acknowledge(node_a.assignment().number)
    a.kill()
    fleet.tell_members()
    node_b, ask, fence = b.open_lane(3), b.ask, fleet.bound().fence
    key, owner = RequestKey("", SESSION, "r-1"), Owner("a", "uid-a", 0)

    def ask_late(requests: list[Request]) -> list[Answer]:
        if any(isinstance(request, Bind) for request in requests):
            fleet.model.answer([Release(0, key=key, owner=owner, fence=fence)], fleet.redis_ms())
        return ask(requests)

    monkeypatch.setattr(b, "ask", ask_late)
    fleet.advance(LEASE_S + 20)
    assert b.count_of(Bind) == 1
    assert not node_b.assignments()
    assert fleet.bound().outcome == "missing"


# -- clients that move


def test_a_client_that_comes_to_another_instance_gets_its_running_jobs_results() -> None:
    """Its unfinished ids are unknown there, it submits them again, and none runs twice."""
    fleet = Fleet("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client = opened(a)
    jobs = []
    for number in range(3):
        client.submit(f"r-{number}", timeout_s=3600.0)
        jobs.append(node_a.assignment())
    node_a.acknowledge(jobs[-1].number)
    node_a.end(jobs[0], b"0")
    client.hang_up()
    node_b = b.open_lane(3)
    unfinished = [f"r-{number}" for number in range(3)]
    client = b.open_session(SESSION, unfinished=unfinished)
    assert isinstance(client.ack, SessionInitAck)
    assert client.ack.unfinished == dict.fromkeys(unfinished, "unknown")
    for request_id in unfinished:
        client.submit(request_id, timeout_s=3600.0)
    node_a.end(jobs[2], b"2")
    node_a.end(jobs[1], b"1")
    results = client.all(Result)
    assert {result.request_id for result in results} == set(unfinished)
    assert {result.job_id for result in results} == {job.job_id for job in jobs}
    assert not node_b.assignments()


def test_with_sticky_a_session_finds_its_node_at_every_instance_and_after_a_restart() -> None:
    """T15: both instances see the same two nodes, each by lanes of its own."""
    fleet = Fleet("a", "b", config=Config(pools=PoolsConfig(sticky=True)))
    for member in fleet.living():
        member.host.node(4, slots=4)
        member.host.publish(fleet.now_ns)
        member.feed()
    a = fleet["a"]
    nodes = {row: a.open_lane(row) for row in (3, 4)}
    client = a.open_session(SESSION)
    client.submit("r-1")
    row = next(row for row, node in nodes.items() if node.assignments())
    client.hang_up()
    for number, name in enumerate(["b", "a", "b", "a"]):
        member = fleet.restart(name)
        nodes = {each: member.open_lane(each) for each in (3, 4)}
        client = member.open_session(SESSION)
        client.submit(f"again-{number}")
        assert nodes[row].assignment().request_id == f"again-{number}"
        client.hang_up()


def test_a_session_is_written_when_it_changes_and_not_with_every_job() -> None:
    fleet = Fleet("a")
    a = fleet["a"]
    node, client = opened(a)
    for number in range(5):
        client.submit(f"r-{number}")
        node.end(node.assignment())
    assert a.count_of(SessionWrite) == 1


def test_a_job_that_another_instance_has_taken_over_is_no_job_of_our_successor() -> None:
    """I2: what it was here is written down as over, when we hear of it."""
    fleet = journalled("a", "b")
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    started(a, node_a, client_a)
    assert [job.accepted.key[2] for job in written(a).jobs] == ["r-1"]
    a.is_dead = True
    node_b, client_b = opened(b)
    client_b.submit("r-1", timeout_s=3600.0)
    awaited(fleet, node_b, LEASE_S + 10)
    a.is_dead = False
    fleet.advance(2.0)
    assert len(a.take(node_a.connection, CancelJob)) == 1
    assert written(a).jobs == []
    assert [job.accepted.key[2] for job in written(b).jobs] == ["r-1"]

"""Stories of adopted jobs whose adopter dies as well: each is its own client's, and no other's."""

import msgspec
from fleet_harness import LEASE_S, SESSION, Fleet, count, taken_over_while_cut
from test_moving_stories import JOURNAL, journalled, written
from worker_harness import Node

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.lane_messages import Assign, JobFence
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import DropSegments
from pointsman_workers.journal.entries import JobKept, SessionOpened

RED, BLUE = ("red", "s-1"), ("blue", "s-2")


def adopted(fleet: Fleet) -> tuple[Node, list[Assign]]:
    """Jobs of two sessions, whose clients are not there, run at b since a is gone."""
    a, b = fleet["a"], fleet["b"]
    node_a = a.open_lane(3)
    for tenant, session_id in (RED, BLUE):
        client = a.open_session(session_id, tenant=tenant)
        client.submit("r-1", tenant.encode(), durability="redis", timeout_s=3600.0)
    node_a.acknowledge(len(node_a.assignments()))
    node_b = b.open_lane(3)
    a.kill()
    fleet.tell_members()
    jobs: list[Assign] = []
    for _ in range(int(LEASE_S) + 20):
        fleet.advance(1.0)
        for job in node_b.assignments():
            node_b.acknowledge(job.number)
            jobs.append(job)
    assert len(jobs) == 2
    return node_b, jobs


def test_adopted_jobs_of_absent_clients_leave_no_session_in_the_journal() -> None:
    fleet = journalled("a", "b")
    node, jobs = adopted(fleet)
    node.end_together(jobs)
    fleet.advance(1.0)
    assert not [entry for entry in fleet["b"].entries() if isinstance(entry, SessionOpened)]
    assert not written(fleet["b"]).sessions


def test_an_adopted_job_is_told_to_its_own_client_when_its_adopter_dies_as_well() -> None:
    """A3: another tenant's client must not get it."""
    fleet = journalled("a", "b")
    _, jobs = adopted(fleet)
    places = {job.tenant: JobFence(job.job_id, 1, job.dispatch) for job in jobs}
    b = fleet.restart("b", recovered=written(fleet["b"]))
    clients = {tenant: b.open_session(session, tenant=tenant) for tenant, session in (RED, BLUE)}
    node = b.open_lane(3, running=[*places.values()])
    for tenant, fence in places.items():
        node.end_fence(fence, tenant.encode())
    fleet.advance(2.0)
    for tenant, client in clients.items():
        assert {result.job_id for result in client.all(Result)} <= {places[tenant].job_id}
        client.submit("r-1", tenant.encode())
        assert client.one(Result).job_id == places[tenant].job_id


def test_a_result_of_an_adopted_job_waits_for_no_other_tenants_client() -> None:
    fleet = journalled("a", "b")
    node, jobs = adopted(fleet)
    node.end_together(jobs)
    fleet.advance(1.0)
    b = fleet.restart("b", recovered=written(fleet["b"]))
    for tenant, session_id in (RED, BLUE):
        client = b.open_session(session_id, tenant=tenant)
        ours = {job.job_id for job in jobs if job.tenant == tenant}
        assert {result.job_id for result in client.all(Result)} <= ours


def test_a_result_that_does_not_count_comes_not_back_with_a_restart() -> None:
    """T26: it was carried forward while nobody knew that the job had been taken over."""
    fleet = journalled("a", "b")
    _, node_b, again = taken_over_while_cut(fleet)
    a = fleet["a"]
    a.commands.clear()  # what was written so far stands in a segment that is dropped next
    a.feed(msgspec.structs.replace(JOURNAL, segment=2))
    fleet.advance(1.0)
    assert DropSegments(2) in a.commands
    assert any(isinstance(entry, JobKept) for entry in a.entries())
    a.is_cut = False
    fleet.advance(2.0)
    assert count(a, Counter.JOBS_FENCED) == 1
    a = fleet.restart("a", recovered=written(a))
    client_a = a.open_session(SESSION)
    client_a.submit("r-1", timeout_s=3600.0)
    node_b.end(again, b"of the second")
    fleet.advance(6.0)
    assert [payload for _, payload in a.sent[client_a.connection] if payload] == [b"of the second"]

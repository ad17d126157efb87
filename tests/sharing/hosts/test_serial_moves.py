"""Serial sessions whose jobs come back after a restart, or are run by another instance."""

import pytest
from fleet_harness import LEASE_S, SESSION, Fleet, count
from test_moving_stories import journalled, written
from worker_harness import Client, Node

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.requests import Lookup
from pointsman_wire.lane_messages import Assign, JobFence
from pointsman_workers.sharing.keys import adoption


def in_turn(fleet: Fleet, nodes: list[Node], seconds: float) -> list[str]:
    """Which requests the nodes get in that time, one at a time, if each takes 8 s."""
    requests: list[str] = []
    running: list[tuple[int, Node, Assign]] = []
    for tick in range(int(seconds * 10)):
        fleet.advance(0.1)
        for node in nodes:
            for job in node.assignments():
                node.acknowledge(job.number)
                requests.append(job.request_id)
                running.append((tick + 80, node, job))
        assert len(running) < 2, requests
        if running and running[0][0] <= tick:
            _, node, job = running.pop()
            node.end(job, epoch=node.harness.epoch)
    return requests


def restarted(jobs: int) -> tuple[Fleet, Client, JobFence]:
    """A worker that began anew while the first job of a serial session ran, and its fence."""
    fleet = journalled("a")
    a = fleet["a"]
    node, client = a.open_lane(3), a.open_session(SESSION, order="serial")
    for number in range(jobs):
        client.submit(f"r-{number}", timeout_s=3600.0)
    job = node.assignment()
    node.acknowledge(job.number)
    fleet.restart("a", recovered=written(a))
    return fleet, client, JobFence(job.job_id, 1, job.dispatch, "", SESSION, job.request_id)


def test_i5_who_comes_at_once_after_a_restart_stands_behind_what_its_session_had_waiting() -> None:
    """What was accepted before waits until Redis has said that it is ours still."""
    fleet, client, fence = restarted(3)
    a = fleet["a"]
    client = a.open_session(SESSION, order="serial", resume_token=client.ack.resume_token)
    client.submit("r-3", timeout_s=3600.0)
    fleet.advance(0.3)
    node = a.open_lane(3, running=[fence])
    node.end_fence(fence, b"hola")
    assert in_turn(fleet, [node], 30.0) == ["r-1", "r-2", "r-3"]


def left_in_line(heirs: tuple[str, ...], *, since_s: float = 0.0) -> tuple[Fleet, list[str]]:
    """An instance that died with six jobs of a serial session, and their names in order.

    The lease of the first one lapses last: it was renewed after the others had been bound.
    """
    fleet = journalled("a", *heirs)
    a = fleet["a"]
    node, client = a.open_lane(3), a.open_session(SESSION, order="serial")
    fleet.advance(since_s)  # of the round of all buckets
    names = [f"r-{number}" for number in range(6)]
    for name in names:
        client.submit(name, durability="redis", timeout_s=3600.0, wait_none_s=3600.0)
        for job in node.assignments():
            node.acknowledge(job.number)
        fleet.advance(LEASE_S / 3 / 5)
    a.kill()
    fleet.tell_members()
    return fleet, names


@pytest.mark.parametrize(("heirs", "since_s"), [(("b",), 0.0), (("b",), 4.0), (("b", "c", "d"), 0)])
def test_i5_adopted_jobs_of_a_serial_session_run_one_after_the_other_as_they_were_accepted(
    heirs: tuple[str, ...], since_s: float
) -> None:
    """Their instance is gone, and nobody asks for them: of the others one runs them all.

    They are found as the round comes by their buckets, and as their leases lapse.
    """
    fleet, names = left_in_line(heirs, since_s=since_s)
    nodes = [fleet[heir].open_lane(3) for heir in heirs]
    assert in_turn(fleet, nodes, LEASE_S + 90.0) == names
    looks = sorted(fleet[heir].count_of(Lookup) for heir in heirs)
    assert looks == [6] * (len(heirs) - 1) + [12], "who is not to run them looks at each once"


def test_i5_what_was_adopted_and_published_again_is_adopted_as_it_was() -> None:
    """R3: Redis was flushed between, and has what the second owner has said."""
    fleet, names = left_in_line(("b",))
    fleet.advance(2 * LEASE_S)
    assert count(fleet["b"], Counter.JOBS_ADOPTED) == len(names)
    fleet.model.flush()
    fleet.advance(15.0)
    c = fleet.add("c")
    fleet["b"].kill()
    fleet.tell_members()
    assert in_turn(fleet, [c.open_lane(3)], LEASE_S + 90.0) == names


def test_i5_what_is_found_of_serial_sessions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are found again when those have been bound."""
    monkeypatch.setattr(adoption, "GATHERED_MAX", 4)
    fleet, names = left_in_line(("b",))
    node = fleet["b"].open_lane(3)
    fleet.advance(LEASE_S)
    assert sorted(in_turn(fleet, [node], 2 * LEASE_S + 60.0)) == names
    assert fleet["b"].count_of(Lookup) > 12


def test_i5_a_turn_waits_until_redis_has_said_that_its_job_is_ours_still() -> None:
    """I2, I13: and begins as soon as that is said; another instance may have taken it over."""
    fleet, _, fence = restarted(2)
    a = fleet["a"]
    a.is_cut = True
    node = a.open_lane(3, running=[fence])
    node.end_fence(fence, b"hola")
    fleet.advance(3.0)
    assert node.assignments() == []
    a.is_cut = False
    assert in_turn(fleet, [node], 20.0) == ["r-1"]

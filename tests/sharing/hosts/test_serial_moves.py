"""Serial sessions whose jobs come back after a restart, or are run by another instance."""

from fleet_harness import SESSION, Member
from test_moving_stories import journalled, written
from worker_harness import Node

from pointsman_wire.lane_messages import Assign, JobFence


def in_turn(member: Member, node: Node, seconds: float) -> list[str]:
    """Which requests the node gets in that time, if it takes 8 s for each."""
    requests: list[str] = []
    running: list[tuple[int, Assign]] = []
    for tick in range(int(seconds * 10)):
        member.fleet.advance(0.1)
        for job in node.assignments():
            node.acknowledge(job.number)
            requests.append(job.request_id)
            running.append((tick + 80, job))
        assert len(running) < 2, requests
        if running and running[0][0] <= tick:
            node.end(running.pop()[1], epoch=member.epoch)
    return requests


def test_i5_who_comes_at_once_after_a_restart_stands_behind_what_its_session_had_waiting() -> None:
    """What was accepted before waits until Redis has said that it is ours still."""
    fleet = journalled("a")
    a = fleet["a"]
    node, client = a.open_lane(3), a.open_session(SESSION, order="serial")
    for number in range(3):
        client.submit(f"r-{number}", timeout_s=3600.0)
    job = node.assignment()
    node.acknowledge(job.number)
    a = fleet.restart("a", recovered=written(a))
    client = a.open_session(SESSION, order="serial", resume_token=client.ack.resume_token)
    client.submit("r-3", timeout_s=3600.0)
    fleet.advance(0.3)
    fence = JobFence(job.job_id, 1, job.dispatch, "", SESSION, job.request_id)
    node = a.open_lane(3, running=[fence])
    node.end_fence(fence, b"hola")
    assert in_turn(a, node, 30.0) == ["r-1", "r-2", "r-3"]

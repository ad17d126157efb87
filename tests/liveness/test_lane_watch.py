"""Lanes that stand and are no use: zombies, half-open ones, and all of them without a manager."""

import pytest
from worker_harness import SECOND_NS, Host, Node, WorkerHarness, one_node

from pointsman_shm.config import LimitsConfig
from pointsman_shm.uplink import NodeZombie
from pointsman_wire.lane_messages import AssignAck, JobFence, LanePing, LanePong
from pointsman_wire.link import LoopWasLate
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import JobAccepted, Result
from pointsman_workers.core.events import TellManager


def zombies(h: WorkerHarness) -> list[NodeZombie]:
    told = [command.message for command in h.commands if isinstance(command, TellManager)]
    return [message for message in told if isinstance(message, NodeZombie)]


def answer_pings(h: WorkerHarness, node: Node, last_read: int = 0) -> None:
    for ping in h.take(node.connection, LanePing):
        h.receive(node.connection, LanePong(number=ping.number, last_read=last_read))


def two_nodes() -> tuple[Host, WorkerHarness, Node, Node]:
    host, h = one_node()
    h.answers_pings = False
    host.node(4)
    host.publish(h.now_ns)
    return host, h, h.open_lane(3), h.open_lane(4)


@pytest.mark.parametrize("reads", [True, False], ids=["reads, never acknowledges", "never reads"])
def test_t8_a_node_that_answers_pings_and_takes_no_job_is_told_after_3_s(reads: bool) -> None:
    _, h = one_node()
    h.answers_pings = False
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    for _ in range(29):
        h.advance(0.1)
        answer_pings(h, node, last_read=int(reads))
    assert not zombies(h)
    for _ in range(15):
        h.advance(0.1)
        answer_pings(h, node, last_read=int(reads))
    assert zombies(h)
    assert zombies(h)[0].row == 3


def test_t8_its_jobs_go_elsewhere_and_it_gets_no_more_even_without_a_manager() -> None:
    _, h, zombie, other = two_nodes()
    client = h.open_session()
    client.submit("r-1", preferred_node="node-3")
    first = zombie.assignment()
    h.advance(2.2)
    again = other.assignment()
    assert (again.job_id, again.attempt) == (first.job_id, 2)
    other.acknowledge(again.number)
    other.end(again)
    assert client.one(Result).status == "completed"
    for second in range(4):
        h.advance(1.0)
        answer_pings(h, other, last_read=99)
        assert len(zombies(h)) == second + 1, "it is told again and again"
    client.submit("r-2", preferred_node="node-3")
    assert other.assignment().request_id == "r-2"


def test_t8_a_zombie_that_reads_again_gets_jobs_again() -> None:
    _, h = one_node()
    h.answers_pings = False
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1", wait_busy_s=30.0, wait_none_s=30.0)
    job = node.assignment()
    h.advance(5.0)
    assert zombies(h)
    h.receive(node.connection, AssignAck(number=job.number))
    node.end(job, status="cancelled")
    pings = h.take(node.connection, LanePing)
    h.receive(node.connection, LanePong(number=pings[-1].number, last_read=job.number))
    assert node.assignment().attempt == 2


def test_n1_a_half_open_lane_with_a_running_job_is_told_after_3_s_and_heals_by_a_new_one() -> None:
    _, h = one_node()
    h.answers_pings = False
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    job = node.assignment()
    node.acknowledge(job.number)
    h.advance(5.0)
    assert zombies(h), "it acknowledged, and then answers nothing"
    back = h.open_lane(3, running=[JobFence(job.job_id, 1, job.dispatch)])
    h.commands.clear()
    for _ in range(50):
        h.advance(0.1)
        answer_pings(h, back)
    assert not zombies(h)
    back.end(job)
    assert client.one(Result).attempt == 1


def silent_manager(seconds: float = 61.0) -> tuple[Host, WorkerHarness, Node, Node]:
    host, h, answers, mute = two_nodes()
    host.writer.beat(h.now_ns)
    h.advance(seconds)
    for _ in range(70):
        h.advance(0.1)
        answer_pings(h, answers)
    return host, h, answers, mute


def test_with_a_manager_long_silent_only_nodes_that_answer_get_jobs() -> None:
    """I7: their own lanes say that they live; of the others nobody knows."""
    host, h, answers, mute = silent_manager()
    client = h.open_session()
    client.submit("r-1", preferred_node="node-4", explain=True)
    job = answers.assignment()
    answers.acknowledge(job.number)
    answers.end(job)
    result = client.one(Result)
    assert result.placement is not None
    assert result.placement.stale
    assert not mute.assignments()
    assert not zombies(h) or {told.row for told in zombies(h)} == {4}
    host.writer.beat(h.now_ns)
    h.advance(0.2)
    assert not h.core.shard.fleet.is_blind


def test_i7_with_nobody_who_answers_a_job_is_refused_as_stale_before_it_is_accepted() -> None:
    _, h, answers, _ = silent_manager()
    h.advance(8.0)
    client = h.open_session()
    client.submit("r-1")
    error = client.one(Error).error
    assert (error.code, error.retryable, error.retry_after_ms) == ("STALE", True, 5_000)
    assert "silent for" in error.message
    assert error.breakdown is not None
    assert error.breakdown.counts == {"no_lane": 2}
    assert not client.all(JobAccepted)
    answer_pings(h, answers)
    h.advance(0.05)
    client.submit("r-2")
    assert answers.assignment().request_id == "r-2"


def test_i7_the_first_decision_past_the_bound_says_that_its_snapshot_is_old() -> None:
    """Whenever the worker looked at the manager's age last."""
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    h.host.writer.beat(h.now_ns)
    ages_ms, stale = [], []
    h.advance(4.9)
    for number in range(40):
        h.now_ns += 5_000_000
        client.submit(f"r-{number}", explain=True)
        node.end(node.assignment())
        placement = client.one(Result).placement
        assert placement is not None
        ages_ms.append(placement.snapshot_age_ms)
        stale.append(placement.stale)
    assert stale == [age_ms > 5_000 for age_ms in ages_ms]
    assert set(stale) == {True, False}
    h.host.writer.beat(h.now_ns)
    client.submit("later", explain=True)
    node.end(node.assignment())
    placement = client.one(Result).placement
    assert placement is not None
    assert not placement.stale


def test_the_age_at_which_jobs_are_refused_is_a_knob() -> None:
    _, h = one_node(limits=LimitsConfig(snapshot_stale_s=1.0, snapshot_refuse_s=10.0))
    h.open_lane(3)
    h.host.writer.beat(h.now_ns)
    h.advance(9.8)
    assert (h.core.shard.fleet.is_stale, h.core.shard.fleet.is_blind) == (True, False)
    h.advance(0.4)
    assert h.core.shard.fleet.is_blind
    with pytest.raises(ValueError, match="snapshot_refuse_s"):
        LimitsConfig(snapshot_stale_s=6.0, snapshot_refuse_s=5.0)


def test_c2_a_worker_that_slept_lets_the_manager_speak_before_it_calls_it_silent() -> None:
    host, h, *_ = two_nodes()
    host.writer.beat(h.now_ns)
    h.advance(1.0)
    h.now_ns += 300 * SECOND_NS
    h.feed(LoopWasLate(300 * SECOND_NS))
    h.advance(0.3)
    assert not h.core.shard.fleet.is_blind
    host.writer.beat(h.now_ns)
    h.advance(2.0)
    assert not h.core.shard.fleet.is_stale


def test_when_most_lanes_break_at_once_nobody_is_given_up_before_it_is_believed() -> None:
    """N3: the same guard as the manager's: no job runs twice because a switch was restarted."""
    host = Host(one_node()[0].config)
    for row in range(3, 8):
        host.node(row)
    host.publish(SECOND_NS)
    h = WorkerHarness(host)
    h.answers_pings = False
    nodes = [h.open_lane(row) for row in range(3, 8)]
    client = h.open_session()
    for n in range(5):
        client.submit(f"r-{n}", timeout_s=600.0)
    jobs = [(node, node.assignment()) for node in nodes]
    for node, job in jobs:
        node.acknowledge(job.number)
    nodes[4].end(jobs[4][1])
    for node in nodes[:3]:
        node.hang_up()
    for _ in range(30):
        h.advance(1.0)
        answer_pings(h, nodes[3], 1)
        answer_pings(h, nodes[4], 1)
    assert not nodes[4].assignments()
    back, job = h.open_lane(3, running=[fence_of(jobs[0][1])]), jobs[0][1]
    back.end(job)
    for _ in range(7):
        h.advance(1.0)
        answer_pings(h, nodes[3], 1)
    assert nodes[4].assignments() or back.assignments(), "2 of 5 are no mass: they are given up"


def fence_of(job: object) -> JobFence:
    return JobFence(job.job_id, 1, job.dispatch)  # type: ignore[attr-defined]

"""A lane that is never idle: what is always on its way there must not look like standing still."""

from worker_harness import SECOND_NS, Host, WorkerHarness, shared_config

from pointsman_shm.config import JobsConfig
from pointsman_wire.lane_messages import LanePing, LanePong
from pointsman_workers.core.events import TellManager


def test_a_lane_on_which_something_is_always_unread_is_no_zombie_as_long_as_it_moves() -> None:
    """T8 the other way round: under steady load every look finds an assignment on its way."""
    host = Host(shared_config())
    host.node(3, slots=2)
    host.publish(SECOND_NS)
    h = WorkerHarness(host)
    h.answers_pings = False
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-0")
    last = node.assignment()
    for turn in range(1, 100):
        client.submit(f"r-{turn}")
        node.acknowledge(last.number)
        node.end(last)
        last = node.assignment()
        h.advance(0.1)
        for ping in h.take(node.connection, LanePing):
            h.receive(node.connection, LanePong(number=ping.number, last_read=last.number - 1))
        assert not told_of_a_zombie(h)


def test_t8_a_node_that_reads_its_lane_slowly_is_no_zombie_as_long_as_it_goes_on() -> None:
    """What is first in line has been there for long; it counts that others were before it."""
    host = Host(shared_config(jobs=JobsConfig(ack_s=60.0)))
    host.node(3, slots=8)
    host.publish(SECOND_NS)
    h = WorkerHarness(host)
    h.feed()
    node, client = h.open_lane(3), h.open_session()
    for turn in range(8):
        client.submit(f"r-{turn}")
    for job in node.assignments()[:-1]:
        h.advance(1.0)
        node.acknowledge(job.number)
        assert not told_of_a_zombie(h)
    h.advance(4.0)
    assert told_of_a_zombie(h), "the last one is not read"


def told_of_a_zombie(h: WorkerHarness) -> bool:
    return any(isinstance(command, TellManager) for command in h.commands)

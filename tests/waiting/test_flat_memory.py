"""T27: what waits, leaves and comes back leaves nothing behind in the queue or the timers."""

from worker_harness import one_node

from pointsman_wire.session_messages import Cancel
from pointsman_workers.core.turns.waiting import DEAD_MAX


def test_t27_what_left_the_queue_amid_it_is_not_kept_by_a_head_that_waits_long() -> None:
    _, h = one_node()
    h.open_lane(3)
    client = h.open_session()
    client.submit("runs")
    client.submit("head", wait_busy_s=3_600.0)
    for number in range(1_000):
        client.submit(f"r-{number}")
        h.receive(client.connection, Cancel(request_id=f"r-{number}"))
    (kind,) = h.core.shard.waiting.kinds
    assert kind.waiting_count == 1
    assert sum(map(len, kind.queues)) <= DEAD_MAX + 4
    assert [job.key[2] for job in h.core.shard.waiting.jobs(kind)] == ["head"]


def test_t27_each_job_has_one_entry_in_the_timers_however_often_it_is_looked_at() -> None:
    _, h = one_node()
    h.open_lane(3)
    client = h.open_session()
    before = len(h.core.shard.timers)
    for number in range(100):
        client.submit(f"r-{number}", wait_busy_s=60.0, timeout_s=60.0)
    assert len(h.core.shard.timers) - before <= 101, "the jobs', and the lane's"
    h.advance(1.5)
    assert len(h.core.shard.timers) - before <= 102


def test_t27_a_queue_that_has_emptied_holds_nothing() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    clients = [h.open_session(tenant=f"t-{number}") for number in range(50)]
    for client in clients:
        client.submit("r-1")
    while jobs := node.assignments():
        node.end(jobs[0])
    waiting = h.core.shard.waiting
    assert (waiting.count, waiting.bytes, len(waiting.kinds)) == (0, 0, 0)
    assert not waiting._order._shares
    assert not any(waiting._order._order)
    assert not waiting._by_tenant
    assert not waiting._by_bucket

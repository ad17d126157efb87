"""What a worker holds for sessions, jobs and results has a bound, and an answer when full."""

import sys
from collections import deque
from collections.abc import Iterable

import msgspec
from worker_harness import Host, WorkerHarness, one_node, shared_config

from pointsman_shm.config import JobsConfig, LimitsConfig, SessionsConfig
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    JobAccepted,
    Moved,
    Result,
    ResultAck,
    SessionInit,
    SessionInitAck,
)
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.window import JOB_OVERHEAD_BYTES


def shard_of(h: WorkerHarness) -> Shard:
    shard: Shard = h.core.shard
    return shard


def test_a_submit_above_the_configured_payload_is_refused_and_others_go_on() -> None:
    _, h = one_node(limits=LimitsConfig(payload_bytes_max=4096))
    node = h.open_lane(3)
    client = h.open_session("s-1")
    assert client.ack.payload_bytes_max == 4096
    client.submit("large", b"x" * 4097)
    refusal = client.one(Error)
    assert (refusal.error.code, refusal.request_id) == ("INVALID_MESSAGE", "large")
    assert "4097 bytes, at most 4096" in refusal.error.message
    client.submit("full", b"x" * 4096)
    assert node.assignment().request_id == "full"


def test_t16_a_million_new_session_ids_cost_no_more_than_the_bound() -> None:
    """T16, I9: a hostile client opens sessions without end; who is in goes on and comes back."""
    _, h = one_node(sessions=SessionsConfig(sessions_max=50))
    node = h.open_lane(3)
    friend = h.open_session("s-1")
    trunk = h.dial(Role.TRUNK)
    for number in range(10_000):
        h.receive(trunk, SessionInit(ref=number, session_id=f"hostile-{number}"))
    assert len(h.take(trunk, SessionInitAck)) == 49
    refusals = h.take(trunk, Error)
    assert len(refusals) == 10_000 - 49
    assert {r.error.code for r in refusals} == {"QUEUE_FULL"}
    assert all(r.error.retry_after_ms for r in refusals)
    assert len(shard_of(h).sessions) == 50
    friend.submit("r-1")
    node.end(node.assignment())
    assert friend.one(Result).request_id == "r-1"
    friend.hang_up()
    assert h.open_session("s-1", resume_token=friend.ack.resume_token).ack.resumed


def test_t16_the_room_of_sessions_that_were_left_comes_back() -> None:
    _, h = one_node(sessions=SessionsConfig(sessions_max=5, resume_s=10.0))
    for number in range(5):
        h.open_session(f"s-{number}").hang_up()
    h.advance(11)
    assert len(shard_of(h).sessions) == 0
    h.open_session("another")


def test_a_session_of_another_worker_is_sent_there_however_full_this_one_is() -> None:
    config = shared_config(sessions=SessionsConfig(sessions_max=1))
    host = Host(config, worker_count=2)
    h = WorkerHarness(host)
    h.feed()
    for number in range(20):
        h.receive(h.dial(Role.SESSION), SessionInit(session_id=f"s-{number}"))
    assert len(shard_of(h).sessions) == 1
    sent = [type(message) for told in h.sent.values() for message, _ in told]
    assert sent.count(SessionInitAck) == 1
    assert sent.count(Error) + sent.count(Moved) == 19
    assert sent.count(Moved) > 3


def test_a_queue_that_is_full_refuses_before_acceptance() -> None:
    """Per tenant first, then per worker: with QUEUE_FULL and a time to come again."""
    limits = LimitsConfig(queued_per_tenant_max=2, queued_per_shard_max=3)
    _, h = one_node(limits=limits, jobs=JobsConfig(wait_busy_s=30))
    h.open_lane(3)
    busy, other = h.open_session("s-1", tenant="acme"), h.open_session("s-2", tenant="other")
    for number in range(5):
        busy.submit(f"r-{number}")
    accepted = {job.request_id for told in busy.all(JobAccepted) for job in told.jobs}
    assert accepted == {"r-0", "r-1", "r-2"}, "one runs and two wait"
    assert [e.request_id for e in busy.all(Error)] == ["r-3", "r-4"]
    for number in range(3):
        other.submit(f"o-{number}")
    refusals = other.all(Error)
    assert [e.request_id for e in refusals] == ["o-1", "o-2"], "the worker's bound"
    assert {e.error.code for e in refusals} == {"QUEUE_FULL"}
    assert all(e.error.retry_after_ms for e in refusals)


def test_results_above_the_bound_wait_until_the_client_has_acknowledged() -> None:
    """N6: a client that reads nothing: what it is sent is bounded, nothing is lost."""
    _, h = one_node(limits=LimitsConfig(results_queue_bytes_max=25_000))
    node = h.open_lane(3)
    client = h.open_session("s-1")
    for number in range(10):
        client.submit(f"r-{number}")
        node.end(node.assignment(), b"x" * 10_000)
        assert max(session.unread_bytes for session in shard_of(h).sessions.values()) <= 25_000
    client.hang_up()
    back = h.open_session("s-1", resume_token=client.ack.resume_token)
    read: list[Result] = []
    while came := back.all(Result):
        assert len(came) <= 2
        read += came
        pairs = [(back.ack.session_number, read[-1].number)]
        h.receive(back.connection, ResultAck(results=pairs))
    assert [result.request_id for result in read] == [f"r-{number}" for number in range(10)]


def worked_off(h: WorkerHarness, count: int, output: bytes) -> None:
    """Submit and end so many jobs."""
    node = h.open_lane(3)
    client = h.open_session("s-1")
    for number in range(count):
        client.submit(f"r-{number}")
        node.end(node.assignments()[-1], output)
        results = client.all(Result)
        h.receive(
            client.connection,
            ResultAck(results=[(client.ack.session_number, results[-1].number)]),
        )


def test_i9_the_window_forgets_ended_jobs_by_number_and_never_open_ones() -> None:
    config = JobsConfig(window_jobs_max=20, window_s=3_000)
    _, h = one_node(slots=2, jobs=config)
    node = h.open_lane(3)
    client = h.open_session("s-1")
    client.submit("open", deadline_s=2_000.0, timeout_s=2_000.0)
    kept = node.assignment()
    node.acknowledge(0)
    for number in range(100):
        client.submit(f"r-{number}")
        node.end(node.assignments()[-1])
    window = shard_of(h).window
    assert window.ended_count == 20
    assert len(window) == 21
    node.end(kept)
    assert client.all(Result)[-1].request_id == "open"


def test_i9_the_window_forgets_ended_jobs_by_what_they_take() -> None:
    _, h = one_node(jobs=JobsConfig(window_bytes_max=100 * 1024, window_s=3_000))
    worked_off(h, 50, b"x" * 10_000)
    assert shard_of(h).window.ended_count < 10


WORDS = {"words": [{"word": f"word-{n}", "from_ms": 1_000 + n} for n in range(100)]}


def test_i9_what_a_node_says_of_a_result_counts_as_the_result_does() -> None:
    """I9: meta may be half a MiB, in as many values as take several."""
    _, h = one_node(jobs=JobsConfig(window_bytes_max=100 * 1024, window_s=3_000))
    node = h.open_lane(3)
    client = h.open_session("s-1")
    for number in range(20):
        client.submit(f"r-{number}")
        node.end(node.assignments()[-1], meta=WORDS)
        read = client.all(Result)[-1].number
        h.receive(client.connection, ResultAck(results=[(client.ack.session_number, read)]))
    window = shard_of(h).window
    assert window.ended_count * bytes_of(WORDS) < 100 * 1024
    client.submit("last")
    node.end(node.assignments()[-1], content_type="x" * 200_000)
    assert window.ended_count == 0
    for number in range(100):
        client.submit(f"s-{number}")
        node.end(node.assignments()[-1])
        client.all(Result)
    assert window.ended_count > 50, "what was forgotten counts no more"


def test_i9_what_is_unread_counts_with_what_nodes_say_of_it() -> None:
    """N6: the others wait, and come when there is room."""
    _, h = one_node(limits=LimitsConfig(results_queue_bytes_max=3 * bytes_of(WORDS)))
    node = h.open_lane(3)
    client = h.open_session("s-1")
    for number in range(6):
        client.submit(f"r-{number}")
        node.end(node.assignment(), meta=WORDS)
    read = client.all(Result)
    assert 1 <= len(read) < 6
    while len(read) < 6:
        h.receive(
            client.connection, ResultAck(results=[(client.ack.session_number, read[-1].number)])
        )
        came = client.all(Result)
        assert came
        read += came
    h.receive(client.connection, ResultAck(results=[(client.ack.session_number, read[-1].number)]))
    (session,) = shard_of(h).sessions.values()
    assert session.unread_bytes == 0


def parts_of(thing: object) -> Iterable[object]:
    """What something refers to: structs without a collector do not tell it themselves."""
    if isinstance(thing, msgspec.Struct):
        return msgspec.structs.astuple(thing)
    if isinstance(thing, dict):
        return [*thing, *thing.values()]
    return thing if isinstance(thing, list | tuple | deque) else ()


def bytes_of(*things: object) -> int:
    """The memory of all that can be reached from here, each counted once."""
    seen: dict[int, object] = {}
    found = [*things]
    while found:
        thing = found.pop()
        if id(thing) not in seen:
            seen[id(thing)] = thing
            found += parts_of(thing)
    return sum(map(sys.getsizeof, seen.values()))


def test_i9_what_a_remembered_job_is_counted_for_is_what_it_takes() -> None:
    """I9: in at most so much memory means memory, not a number that has fallen behind."""
    _, h = one_node(jobs=JobsConfig(window_s=3_000))
    worked_off(h, 100, b"x" * 200)
    window = shard_of(h).window
    before = bytes_of(window.by_key, window._ended)
    node, client = h.open_lane(3), h.open_session("s-2")
    for number in range(1_000):
        client.submit(f"r-{number}")
        node.end(node.assignments()[-1], bytes([number % 256]) * 200)
    taken = (bytes_of(window.by_key, window._ended) - before) / 1_000 - 200
    # Beside it the journal's table and what the allocator rounds up.
    assert 0.8 * JOB_OVERHEAD_BYTES < taken < JOB_OVERHEAD_BYTES

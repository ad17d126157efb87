"""N6: clients that read slowly get every result once and in order, when they are ready for it."""

from job_trouble import fleet
from worker_harness import Client, Node, WorkerHarness, one_node

from pointsman_shm.config import Config, JobsConfig, LimitsConfig
from pointsman_wire.link import Congested, Relieved, Send
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    JobAccepted,
    MissingResult,
    Result,
    ResultAck,
    ResultsWaiting,
    SessionClose,
    SessionClosed,
    SessionInit,
    SessionInitAck,
)
from pointsman_workers.core.held import OVERHEAD_BYTES
from pointsman_workers.ordering.delivering import SHARE_BYTES

ROOM = LimitsConfig(results_queue_bytes_max=25_000)


def work_off(client: Client, node: Node, first: int, end: int, output: bytes = b"hola") -> None:
    """Have jobs r-first to before r-end run, one after the other."""
    for number in range(first, end):
        client.submit(f"r-{number}")
        node.end(node.assignment(), output)


def names(client: Client) -> list[str]:
    """The requests whose results came since the last look."""
    return [result.request_id for result in client.all(Result)]


def acknowledge(client: Client, number: int) -> None:
    pairs = [(client.ack.session_number, number)]
    client.harness.receive(client.connection, ResultAck(results=pairs))


def held_count(h: WorkerHarness) -> int:
    count: int = h.core.shard.held.count
    assert count == sum(len(s.held or ()) for s in h.core.shard.sessions.values())
    return count


def test_n6_a_congested_connection_gets_its_results_when_it_has_room_and_others_get_theirs() -> (
    None
):
    _, h = one_node()
    node = h.open_lane(3)
    slow, other = h.open_session("s-1"), h.open_session("s-2")
    work_off(slow, node, 0, 1)
    h.feed(Congested(slow.connection))
    work_off(slow, node, 1, 4)
    work_off(other, node, 0, 2)
    assert names(slow) == ["r-0"]
    assert names(other) == ["r-0", "r-1"], "others do not notice"
    assert slow.one(ResultsWaiting).count == 1, "told once, when the first was held"
    acknowledge(slow, 1)
    assert names(slow) == [], "it has not read what its connection holds"
    h.feed(Relieved(slow.connection))
    results = slow.all(Result)
    assert [(r.number, r.request_id) for r in results] == [(2, "r-1"), (3, "r-2"), (4, "r-3")]
    assert slow.all(ResultsWaiting) == []
    work_off(slow, node, 4, 5)
    assert names(slow) == ["r-4"], "results come at once again"
    assert held_count(h) == 0


def test_n6_what_is_unread_is_bounded_and_the_rest_follows_as_it_is_acknowledged() -> None:
    _, h = one_node(limits=ROOM)
    node = h.open_lane(3)
    client = h.open_session("s-1")
    work_off(client, node, 0, 10, b"x" * 10_000)
    read = client.all(Result)
    assert [result.request_id for result in read] == ["r-0", "r-1"]
    assert client.one(ResultsWaiting).count == 1
    while held_count(h):
        acknowledge(client, read[-1].number)
        came = client.all(Result)
        assert 1 <= len(came) <= 2
        read += came
    assert [result.request_id for result in read] == [f"r-{n}" for n in range(10)]
    assert [result.number for result in read] == [*range(1, 11)]
    acknowledge(client, 10)
    work_off(client, node, 10, 11)
    assert names(client) == ["r-10"]


def test_a_result_that_alone_is_above_the_bound_is_sent_alone() -> None:
    _, h = one_node(limits=ROOM)
    node = h.open_lane(3)
    client = h.open_session("s-1")
    work_off(client, node, 0, 2, b"x" * 50_000)
    assert names(client) == ["r-0"]
    acknowledge(client, 1)
    assert names(client) == ["r-1"]


def test_what_was_held_or_not_acknowledged_comes_after_a_resume_once_and_in_order() -> None:
    _, h = one_node(limits=ROOM)
    node = h.open_lane(3)
    client = h.open_session("s-1")
    work_off(client, node, 0, 5, b"x" * 10_000)
    client.hang_up()
    back = h.open_session("s-1", resume_token=client.ack.resume_token, last_result=1)
    assert [result.number for result in back.all(Result)] == [2, 3]
    acknowledge(back, 3)
    assert [result.number for result in back.all(Result)] == [4, 5]
    acknowledge(back, 5)
    assert held_count(h) == 0
    assert back.all(ResultsWaiting) == [ResultsWaiting(count=2)]


def test_a_repeated_submit_of_a_held_result_leaves_it_in_its_turn() -> None:
    """An acknowledgement covers all numbers before it: none may overtake."""
    _, h = one_node(limits=ROOM)
    node = h.open_lane(3)
    client = h.open_session("s-1")
    work_off(client, node, 0, 4, b"x" * 10_000)
    client.submit("r-3", b"hello")
    assert client.all(JobAccepted)[-1].jobs[0].duplicate
    assert names(client) == ["r-0", "r-1"]
    acknowledge(client, 2)
    assert names(client) == ["r-2", "r-3"]
    assert node.assignments() == []


def test_an_utterance_session_keeps_its_order_and_its_gaps_while_it_is_slow() -> None:
    h, nodes = fleet(1, slots=9)
    client = h.open_session("s-1", order="utterance")
    for index in range(4):
        client.submit(f"r-{index}", utterance_index=index)
    jobs = {job.request_id: job for job in nodes[3].assignments()}
    nodes[3].acknowledge(max(job.number for job in jobs.values()))
    h.feed(Congested(client.connection))
    for name in ("r-3", "r-0", "r-2"):
        nodes[3].end(jobs[name])
    h.advance(11)
    assert not client.all(Result)
    assert not client.all(MissingResult)
    h.feed(Relieved(client.connection))
    told = [message for message, _ in h.sent.pop(client.connection)]
    kinds = [m for m in told if isinstance(m, Result | MissingResult)]
    assert [m.utterance_index for m in kinds] == [0, 1, 2, 3]
    assert isinstance(kinds[1], MissingResult)
    numbers = [m.number for m in kinds]
    assert numbers == sorted(set(numbers))
    client.hang_up()
    back = h.open_session("s-1", order="utterance", resume_token=client.ack.resume_token)
    again = [m for m, _ in h.sent.pop(back.connection) if isinstance(m, Result | MissingResult)]
    assert [m.number for m in again] == numbers


def test_a_session_that_is_closed_with_flush_ends_when_its_last_held_result_was_sent() -> None:
    _, h = one_node(limits=ROOM)
    node = h.open_lane(3)
    client = h.open_session("s-1")
    work_off(client, node, 0, 4, b"x" * 10_000)
    h.receive(client.connection, SessionClose(session_number=0))
    assert client.all(SessionClosed) == []
    acknowledge(client, 2)
    order = [type(message) for message, _ in h.sent[client.connection]]
    assert order[-3:] == [Result, Result, SessionClosed]
    assert held_count(h) == 0
    assert h.core.shard.sessions == {}


def test_what_the_window_forgets_is_not_held_and_the_client_is_told_to_ask_again() -> None:
    _, h = one_node(jobs=JobsConfig(window_jobs_max=3))
    node = h.open_lane(3)
    client = h.open_session("s-1")
    h.feed(Congested(client.connection))
    work_off(client, node, 0, 8)
    assert held_count(h) == 3, "no more than the window remembers"
    h.feed(Relieved(client.connection))
    assert names(client) == ["r-5", "r-6", "r-7"]
    assert client.all(ResultsWaiting)[-1] == ResultsWaiting(count=0, forgotten=5)
    work_off(client, node, 0, 1)
    assert names(client) == ["r-0"]


def test_failures_without_end_are_held_up_to_a_bound_of_their_own() -> None:
    """They leave no job in the window, whose bounds are those of other results."""
    limits = LimitsConfig(results_queue_bytes_max=3 * OVERHEAD_BYTES)
    _, h = one_node(limits=limits, jobs=JobsConfig(wait_busy_s=1.0))
    node = h.open_lane(3)
    client, busy = h.open_session("s-1"), h.open_session("s-2")
    busy.submit("occupies the node", timeout_s=100.0)
    node.acknowledge(node.assignment().number)
    h.feed(Congested(client.connection))
    for number in range(10):
        client.submit(f"r-{number}")
        h.advance(1.5)
    assert held_count(h) == 3
    h.feed(Relieved(client.connection))
    assert names(client) == ["r-0", "r-1", "r-2"]
    assert client.all(ResultsWaiting)[-1].forgotten == 7


def test_much_that_is_held_leaves_in_shares_one_a_step() -> None:
    """A trunk that comes back with many full sessions costs the others one share at a time."""
    host = Config(limits=LimitsConfig(results_queue_bytes_max=4 * SHARE_BYTES))
    h, nodes = fleet(1, slots=9, config=host)
    piece, tokens = b"x" * (SHARE_BYTES // 4), {}
    for name in ("s-1", "s-2"):
        client = h.open_session(name)
        h.feed(Congested(client.connection))
        work_off(client, nodes[3], 0, 10, piece)
        tokens[name] = client.ack.resume_token
        client.hang_up()
    trunk = h.dial(Role.TRUNK)
    for ref, (name, token) in enumerate(tokens.items()):
        h.receive(trunk, SessionInit(ref=ref, session_id=name, resume_token=token))
    assert len(h.take(trunk, SessionInitAck)) == 2
    sizes = []
    while h.core.next_deadline_ns() <= h.now_ns:
        sent = [c for c in h.feed() if isinstance(c, Send) and isinstance(c.message, Result)]
        sizes.append(sum(len(send.payload) for send in sent))
    assert max(sizes) <= SHARE_BYTES
    assert len(h.take(trunk, Result)) == 20

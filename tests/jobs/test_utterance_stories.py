"""Stories of utterance sessions: results come in turn, gaps are said, nothing waits for ever."""

from job_trouble import fleet
from worker_harness import Client, Node, WorkerHarness

from pointsman_shm.config import Config, LimitsConfig, SessionsConfig
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    JobAccepted,
    MissingResult,
    Result,
    ResultAck,
    SessionClose,
    SessionClosed,
    SessionInit,
    SessionInitAck,
)

Running = dict[int, list[Assign]]


def talking(
    h: WorkerHarness, nodes: dict[int, Node], *indices: int | None
) -> tuple[Client, dict[str, Assign]]:
    """A session with one job for each index, all of them at the one node."""
    client = h.open_session("s-1", order="utterance")
    assert client.ack.order == "utterance"
    for at, index in enumerate(indices):
        client.submit(f"r-{at}", utterance_index=index)
    (node,) = nodes.values()
    jobs = {job.request_id: job for job in node.assignments()}
    node.acknowledge(max((job.number for job in jobs.values()), default=0))
    return client, jobs


def told(client: Client) -> list[int | tuple[int, int, str]]:
    """What the client was told since the last look: indices, and what is missing."""
    found: list[int | tuple[int, int, str]] = []
    messages = client.harness.sent.pop(client.connection, [])
    numbers = []
    for message, _ in messages:
        if isinstance(message, Result):
            assert message.utterance_index is not None
            found.append(message.utterance_index)
            numbers.append(message.number)
        elif isinstance(message, MissingResult):
            found.append((message.utterance_index, message.count, message.reason))
            numbers.append(message.number)
    assert numbers == sorted(set(numbers)), "numbers count up, whatever is held back"
    return found


def test_results_come_in_the_order_of_their_indices() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 1, 2, 3)
    node = nodes[3]
    for name in ("r-2", "r-3", "r-1"):
        node.end(jobs[name])
        assert told(client) == []
    node.end(jobs["r-0"])
    assert told(client) == [0, 1, 2, 3]


def test_a_session_may_begin_anywhere_and_its_submits_may_overtake_each_other() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 8, 7, 9)
    for name in ("r-2", "r-0", "r-1"):
        nodes[3].end(jobs[name])
    assert told(client) == [7, 8, 9]


def test_a_submit_without_an_index_gets_the_next_one() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, None, None, 5, None)
    for name in ("r-3", "r-1", "r-0"):
        nodes[3].end(jobs[name])
    assert told(client) == [0, 1]
    h.advance(3)
    nodes[3].end(jobs["r-2"])
    h.advance(7.2)
    assert told(client) == [(2, 3, "not_submitted"), 5, 6]


def test_a_gap_is_skipped_after_the_window_and_said_and_a_late_result_still_comes() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 1, 2, 5)
    nodes[3].end(jobs["r-0"])
    assert told(client) == [0]
    nodes[3].end(jobs["r-2"])
    h.advance(2)
    nodes[3].end(jobs["r-3"])
    h.advance(7.8)
    assert told(client) == []
    h.advance(0.4)
    assert told(client) == [(1, 1, "running"), 2]
    h.advance(2)
    assert told(client) == [(3, 2, "not_submitted"), 5]
    nodes[3].end(jobs["r-1"])
    assert told(client) == [1]


def test_a_late_fill_inside_the_window_is_told_in_its_place() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 2)
    nodes[3].end(jobs["r-0"])
    nodes[3].end(jobs["r-1"])
    assert told(client) == [0]
    h.advance(9)
    client.submit("fill", utterance_index=1)
    nodes[3].end(nodes[3].assignment())
    assert told(client) == [1, 2]


def test_the_gap_window_is_configured() -> None:
    h, nodes = fleet(1, slots=9, config=Config(sessions=SessionsConfig(gap_window_s=1.0)))
    client, jobs = talking(h, nodes, 0, 1)
    nodes[3].end(jobs["r-1"])
    h.advance(0.9)
    assert told(client) == []
    h.advance(0.3)
    assert told(client) == [(0, 1, "running"), 1]


def test_several_jobs_of_one_utterance_count_together() -> None:
    """A fan-out: one job for each language, under the utterance's id and the language."""
    h, nodes = fleet(1, slots=9)
    client = h.open_session(order="utterance")
    for index in (0, 1):
        for _ in range(2):
            client.submit(f"u{index}:{_}", utterance_index=index)
    jobs = {job.request_id: job for job in nodes[3].assignments()}
    nodes[3].end(jobs["u1:0"])
    nodes[3].end(jobs["u0:1"])
    assert told(client) == [0]
    nodes[3].end(jobs["u0:0"])
    assert told(client) == [0, 1]
    nodes[3].end(jobs["u1:1"])
    assert told(client) == [1]


def test_after_a_skip_past_a_running_twin_the_next_ones_follow_at_once() -> None:
    h, nodes = fleet(1, slots=9)
    client = h.open_session(order="utterance")
    for name, index in (("0", 0), ("1a", 1), ("1b", 1), ("2", 2), ("2b", 2)):
        client.submit(name, utterance_index=index)
    jobs = {job.request_id: job for job in nodes[3].assignments()}
    nodes[3].acknowledge(5)
    nodes[3].end(jobs["1a"])
    h.advance(2)
    nodes[3].end(jobs["2"])
    h.advance(8.2)
    assert told(client) == [(0, 1, "running"), 1, 2]
    for name in ("2b", "1b", "0"):
        nodes[3].end(jobs[name])
    assert told(client) == [2, 1, 0]
    (line,) = [session.utterances for session in h.core.shard.sessions.values()]
    assert line is not None
    assert (line.held, line.held_since_ns, line.open) == ({}, {}, {})


def test_failed_utterances_take_their_turn_like_others() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 1)
    nodes[3].end(jobs["r-1"])
    nodes[3].end(jobs["r-0"], b"", status="failed", code="INVALID_MESSAGE")
    results = client.all(Result)
    assert [(result.utterance_index, result.status) for result in results] == [
        (0, "failed"),
        (1, "completed"),
    ]


def test_no_more_than_so_many_may_be_pending_held_back_ones_included() -> None:
    h, nodes = fleet(1, slots=9, config=Config(sessions=SessionsConfig(pending_results_max=3)))
    client, jobs = talking(h, nodes, 0, 1, 2)
    nodes[3].end(jobs["r-1"])
    nodes[3].end(jobs["r-2"])
    client.submit("r-3", utterance_index=3)
    error = client.one(Error).error
    assert (error.code, error.retryable, error.retry_after_ms) == ("QUEUE_FULL", True, 1_000)
    assert "utterance session" in error.message
    nodes[3].end(jobs["r-0"])
    assert told(client) == [0, 1, 2]
    client.submit("r-3", utterance_index=3)
    assert nodes[3].assignment().request_id == "r-3"


def resumed(h: WorkerHarness, client: Client, *, last_result: int) -> Client:
    connection = h.dial(Role.SESSION)
    init = SessionInit(
        session_id="s-1",
        resume_token=client.ack.resume_token,
        order="utterance",
        last_result=last_result,
    )
    h.receive(connection, init)
    ack = h.one(connection, SessionInitAck)
    assert ack.resumed
    return Client(h, connection, ack)


def test_order_and_gaps_survive_a_broken_connection() -> None:
    """What was told and not acknowledged is told again, missing ones too, and the order goes on."""
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 1, 2, 3)
    nodes[3].end(jobs["r-0"])
    assert told(client) == [0]
    nodes[3].end(jobs["r-3"])
    client.hang_up()
    nodes[3].end(jobs["r-2"])
    h.advance(10.2)
    again = resumed(h, client, last_result=1)
    assert told(again) == [(1, 1, "running"), 2, 3]
    again.hang_up()
    once_more = resumed(h, client, last_result=4)
    assert told(once_more) == [2, 3]
    h.receive(once_more.connection, ResultAck(results=[(0, 6)]))
    nodes[3].end(jobs["r-1"])
    assert told(once_more) == [1]
    (line,) = [session.utterances for session in h.core.shard.sessions.values()]
    assert line is not None
    assert (line.missing, line.held, line.open) == ({}, {}, {})


def test_a_repeated_submit_of_a_held_result_waits_for_its_turn() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 1)
    nodes[3].end(jobs["r-1"])
    client.submit("r-1", utterance_index=1)
    assert told(client) == []
    nodes[3].end(jobs["r-0"])
    assert told(client) == [0, 1]
    client.submit("r-1", utterance_index=1)
    assert told(client) == [1]


def test_closing_tells_what_is_held_back_and_what_never_came() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 3)
    nodes[3].end(jobs["r-1"])
    h.receive(client.connection, SessionClose())
    nodes[3].end(jobs["r-0"])
    assert [type(message) for message, _ in h.sent[client.connection]][-1] is SessionClosed
    assert told(client) == [0, (1, 2, "not_submitted"), 3]


def test_a_job_that_never_ran_keeps_its_key_until_it_was_told() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0)
    client.submit("r-1", utterance_index=1, tgt_lang="ja")
    client.all(JobAccepted)
    h.advance(2.2)
    client.submit("r-1", utterance_index=1, tgt_lang="ja")
    assert client.one(JobAccepted).jobs[0].duplicate
    nodes[3].end(jobs["r-0"])
    assert told(client) == [0, 1]
    client.submit("r-1", utterance_index=1, tgt_lang="ja")
    assert not client.one(JobAccepted).jobs[0].duplicate


def test_jobs_from_before_the_session_had_an_order_have_no_place_in_it() -> None:
    h, nodes = fleet(1, slots=9)
    before = h.open_session("s-1")
    before.submit("ended")
    nodes[3].end(nodes[3].assignment())
    before.submit("open")
    running = nodes[3].assignment()
    h.receive(before.connection, SessionClose(flush=False))
    before.hang_up()
    client = h.open_session("s-1", order="utterance")
    client.submit("ended")
    client.submit("open")
    nodes[3].end(running)
    assert [result.request_id for result in client.all(Result)] == ["ended", "open"]


def test_what_is_held_back_is_bounded_in_bytes_too() -> None:
    config = Config(limits=LimitsConfig(results_queue_bytes_max=1_000))
    h, nodes = fleet(1, slots=9, config=config)
    client, jobs = talking(h, nodes, 0, 1, 2)
    nodes[3].end(jobs["r-1"], bytes(600))
    assert told(client) == []
    nodes[3].end(jobs["r-2"], bytes(600))
    assert told(client) == [(0, 1, "running"), 1]
    h.receive(client.connection, ResultAck(results=[(client.ack.session_number, 4)]))
    assert told(client) == [2], "that no more is sent than is read has the same bound"


def test_who_comes_without_the_token_gets_nothing_of_what_was_held() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 1)
    nodes[3].end(jobs["r-1"])
    client.hang_up()
    stranger = h.open_session("s-1", order="utterance")
    stranger.submit("r-1", utterance_index=1)
    assert told(stranger) == [], "the one before it still runs"
    nodes[3].end(jobs["r-0"])
    assert told(stranger) == [0, 1]


def test_what_was_held_before_the_session_began_anew_is_told_by_no_timer() -> None:
    """I5: the stranger's own order counts, and nothing of the one before."""
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 1)
    nodes[3].end(jobs["r-1"])
    client.hang_up()
    h.advance(1.0)
    stranger = h.open_session("s-1", order="utterance")
    stranger.submit("r-1", utterance_index=1)
    h.advance(SessionsConfig().gap_window_s - 0.5)
    assert told(stranger) == []
    h.advance(1.0)
    assert told(stranger) == [(0, 1, "running"), 1]


def test_i5_a_result_of_a_closed_session_takes_no_number_that_another_has() -> None:
    """What is missing and the result after it came under one number: a client skips the second."""
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0, 3)
    for job in jobs.values():
        nodes[3].end(job)
    assert told(client) == [0]
    closed = SessionClose(session_number=client.ack.session_number, flush=False)
    h.receive(client.connection, closed)
    again = h.open_session("s-1", order="utterance")
    again.submit("r-0", utterance_index=0)
    again.submit("r-1", utterance_index=3)
    h.advance(10.5)
    assert told(again) == [0, (1, 2, "not_submitted"), 3]
    counters = h.core.shard.setup.memory.stats.read().counters
    assert counters["results_missing"] == 2, "the closed session skips nothing for anybody"


def test_i1_a_result_that_was_read_is_told_again_under_a_new_number() -> None:
    h, nodes = fleet(1, slots=9)
    client, jobs = talking(h, nodes, 0)
    nodes[3].end(jobs["r-0"])
    first = client.one(Result)
    h.receive(client.connection, ResultAck(results=[(client.ack.session_number, first.number)]))
    client.submit("r-0", utterance_index=0)
    assert client.one(Result).number > first.number


def test_after_the_last_index_there_is_a_next_one_only_for_who_names_it() -> None:
    """A job of a higher one was written down, and could not be read when its worker began anew."""
    h, nodes = fleet(1, slots=8)
    client, _ = talking(h, nodes, 2**63 - 1)
    client.submit("one-more")
    refused = client.one(Error)
    assert (refused.request_id, refused.error.code) == ("one-more", "INVALID_MESSAGE")
    assert "9223372036854775807" in refused.error.message
    client.submit("named", utterance_index=7)
    assert [job.request_id for job in nodes[3].assignments()] == ["named"]


def test_a_session_that_breaks_off_at_its_beginning_waits_for_what_was_lost_with_it() -> None:
    """r-0 has never arrived, and is the first of them."""
    h, nodes = fleet(1, slots=9)
    client = h.open_session("s-1", order="utterance")
    client.submit("r-1", utterance_index=1)
    job = nodes[3].assignment()
    client.hang_up()
    nodes[3].end(job)
    again = h.open_session(
        "s-1",
        order="utterance",
        resume_token=client.ack.resume_token,
        unfinished=["r-0", "r-1"],
    )
    assert told(again) == []
    again.submit("r-0", utterance_index=0)
    nodes[3].end(nodes[3].assignment())
    assert told(again) == [0, 1]

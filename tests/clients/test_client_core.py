"""Stories of the client's core on a virtual clock: sessions, submits, results, cancelling."""

from client_harness import ClientHarness, closed, of, sent

from pointsman.session_core.events import (
    CancelWished,
    ClientLimits,
    JobWasAccepted,
    PartialCame,
    ProgressCame,
    RequestFailed,
    ResultCame,
    SessionEnded,
    SessionOpened,
)
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.link import Dial, Received, Send
from pointsman_wire.messages import Error, error_info
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import (
    AcceptedJob,
    Cancel,
    ClientHeartbeat,
    GoingAway,
    JobAccepted,
    Moved,
    Partial,
    Progress,
    Result,
    ResultAck,
    SessionClose,
    SessionClosed,
    SessionInit,
    Submit,
)
from pointsman_wire.shards import session_key

# ---- opening


def test_a_session_is_dialled_initiated_and_told_open() -> None:
    h = ClientHarness()
    commands = h.wish()
    assert [d.preamble for d in of(commands, Dial)] == [Preamble(Role.SESSION, None)]
    init = sent(h.dial(commands), SessionInit)[0]
    assert (init.ref, init.src_lang, init.tgt_lang) == (1, "en", "es")
    opened = of(h.accept(), SessionOpened)[0]
    assert (opened.ack.session_id, opened.is_again) == ("s-1", False)


def test_a_session_with_an_id_of_its_own_dials_its_shard() -> None:
    h = ClientHarness()
    dial = of(h.wish(session_id="mine"), Dial)[0]
    assert dial.preamble == Preamble(Role.SESSION, session_key("mine"))


def test_a_moved_session_dials_where_it_is_told_and_takes_its_submits_along() -> None:
    h = ClientHarness()
    h.dial(h.wish(session_id="mine"))
    h.submit("r1")
    old = h.connection
    commands = h.say(Moved(ref=1, shard=1, worker_count=2, address="other:7401"))
    assert closed(commands) == [old]
    dial = of(commands, Dial)[0]
    assert (dial.preamble, dial.address) == (Preamble(Role.SESSION, 1), "other:7401")
    assert sent(h.dial(commands), SessionInit)
    assert [s.request_id for s in sent(h.accept(), Submit)] == ["r1"]


def test_workers_that_send_a_session_to_and_fro_are_given_time() -> None:
    h = ClientHarness(is_trunk=True)
    commands = h.wish(within_s=None)
    for turn in range(40):
        if of(commands, Dial):
            h.dial(commands)
        commands = h.say(Moved(ref=1, shard=turn % 2, worker_count=2))
        if not of(commands, Dial) and not sent(commands, SessionInit):
            break
    assert turn < 12
    assert h.core.session(1) is not None


def test_a_server_that_cannot_be_reached_ends_the_opening_with_a_reason() -> None:
    h = ClientHarness()
    commands = h.wish(within_s=3.0)
    h.submit("r1")
    for _ in range(40):
        commands = h.refuse_dials(commands) + h.advance(0.1)
        if ended := of(commands, SessionEnded):
            break
    assert ended[0].error is not None
    assert (ended[0].error.code, ended[0].error.message) == ("UNREACHABLE", "refused")
    assert [type(a) for a in h.answers] == [RequestFailed]
    assert h.core.next_deadline_ns() is None, "nothing is dialled any more"


def test_a_refusal_for_good_ends_the_session_with_the_servers_words() -> None:
    h = ClientHarness()
    h.dial(h.wish())
    info = error_info(Code.UNAUTHORIZED, "no such token")
    commands = h.say(Error(info, ref=1))
    assert of(commands, SessionEnded) == [SessionEnded(1, info)]
    assert closed(commands) == [h.connection]


def test_a_refusal_for_now_is_tried_again_after_the_time_that_the_server_names() -> None:
    h = ClientHarness()
    h.dial(h.wish(within_s=None))
    h.say(Error(error_info(Code.RATE_LIMITED, "slowly", retry_after_ms=500), ref=1))
    assert not sent(h.advance(0.49), SessionInit)
    assert len(sent(h.advance(0.2), SessionInit)) == 1


def test_a_server_that_wants_nothing_to_do_with_the_client_is_not_asked_for_ever() -> None:
    h = ClientHarness()
    h.dial(h.wish(within_s=None))
    info = error_info(Code.INVALID_MESSAGE, "protocol version 1 was offered")
    h.say(Error(info))
    assert of(h.lose(), SessionEnded) == [SessionEnded(1, info)]


# ---- submits


def test_a_submit_travels_with_the_sessions_number_and_its_result_is_acknowledged() -> None:
    h = ClientHarness()
    h.open(session_number=7)
    commands = h.submit("r1", b"hello", services=["nmt"])
    send = of(commands, Send)[0]
    assert isinstance(send.message, Submit)
    assert (send.message.session_number, send.message.services) == (7, ["nmt"])
    assert send.payload == b"hello"
    commands = h.result("r1", session=7)
    assert [(r.ticket, r.payload) for r in of(commands, ResultCame)] == [(1, b"out")]
    assert sent(commands, ResultAck) == [ResultAck(results=[(7, 1)])]
    assert h.core.open_requests == 0


def test_a_session_may_have_the_number_nought() -> None:
    h = ClientHarness()
    h.open(session_number=0)
    h.submit("r1")
    assert sent(h.result("r1", session=0), ResultAck) == [ResultAck(results=[(0, 1)])]
    h.submit("r2")
    h.resume(session_number=0, unfinished={"r2": "running"})
    assert of(h.result("r2", session=0), ResultCame)


def test_a_submit_without_an_id_gets_one_from_entropy() -> None:
    h = ClientHarness(entropy=lambda n: bytes(range(n)))
    h.open()
    assert sent(h.submit(), Submit)[0].request_id == "req-000102030405"


def test_submits_before_the_session_stands_are_sent_when_it_does() -> None:
    h = ClientHarness()
    h.dial(h.wish())
    assert not sent(h.submit("r1") + h.submit("r2"), Submit)
    assert [s.request_id for s in sent(h.accept(), Submit)] == ["r1", "r2"]


def test_results_of_one_read_are_acknowledged_once() -> None:
    h = ClientHarness()
    h.open()
    for name in ("a", "b", "c"):
        h.submit(name)
    results = [
        Result(session_number=1, request_id=r, number=n) for n, r in enumerate("abc", start=1)
    ]
    assert sent(h.say(*results), ResultAck) == [ResultAck(results=[(1, 3)])]


def test_a_result_that_comes_twice_is_told_once_and_acknowledged_twice() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    h.result("r1", number=1)
    commands = h.result("r1", number=1)
    assert not of(commands, ResultCame)
    assert sent(commands, ResultAck) == [ResultAck(results=[(1, 1)])]


def test_an_acceptance_is_told() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    job = AcceptedJob(session_number=1, request_id="r1", job_id="j1")
    unknown = AcceptedJob(session_number=1, request_id="r9")
    assert of(h.say(JobAccepted(jobs=[job, unknown])), JobWasAccepted) == [JobWasAccepted(1, job)]


def test_a_refused_submit_ends_with_the_servers_error() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    info = error_info(Code.NO_AVAILABLE_NODE, "none", retry_after_ms=100)
    commands = h.say(Error(info, session_number=1, request_id="r1"))
    assert of(commands, RequestFailed) == [RequestFailed(1, info)]


def test_the_same_id_and_body_joins_the_open_request_and_another_body_is_a_conflict() -> None:
    """N11: one request is one job."""
    h = ClientHarness()
    h.open()
    h.submit("r1", b"x")
    assert not sent(h.submit("r1", b"x"), Submit)
    conflict = of(h.submit("r1", b"y"), RequestFailed)[0]
    assert (conflict.ticket, conflict.error.code) == (3, "CONFLICT")
    assert [r.ticket for r in of(h.result("r1"), ResultCame)] == [1, 2]


def test_too_many_open_requests_are_refused_here() -> None:
    h = ClientHarness(limits=ClientLimits(open_count_max=2))
    h.open()
    h.submit("r1")
    h.submit("r2")
    refused = of(h.submit("r3"), RequestFailed)[0]
    assert (refused.error.code, refused.error.retryable) == ("QUEUE_FULL", True)


def test_a_payload_above_the_servers_bound_is_refused_here() -> None:
    h = ClientHarness()
    h.open(payload_bytes_max=10)
    refused = of(h.submit("r1", b"x" * 11), RequestFailed)[0]
    assert refused.error.code == "INVALID_MESSAGE"


def test_a_worker_that_does_not_answer_is_sent_no_more_than_the_window() -> None:
    h = ClientHarness(limits=ClientLimits(window_count=2))
    h.open()
    commands = [c for name in "abcd" for c in h.submit(name)]
    assert [s.request_id for s in sent(commands, Submit)] == ["a", "b"]
    job = AcceptedJob(session_number=1, request_id="a")
    assert [s.request_id for s in sent(h.say(JobAccepted(jobs=[job])), Submit)] == ["c"]
    assert [s.request_id for s in sent(h.result("b"), Submit)] == ["d"]


def test_partials_are_told_once_and_begin_anew_with_a_new_attempt() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1", stream=True)

    def pieces(*places: tuple[int, int], job_id: str = "j-1") -> list[tuple[int, int]]:
        commands = h.say(
            *(
                Partial(session_number=1, request_id="r1", job_id=job_id, attempt=a, seq=s)
                for a, s in places
            )
        )
        return [(p.partial.attempt, p.partial.seq) for p in of(commands, PartialCame)]

    assert pieces((1, 0), (1, 1), (1, 1)) == [(1, 0), (1, 1)]
    assert pieces((2, 0), (1, 2)) == [(2, 0)]
    h.resume(unfinished={"r1": "ended"})
    h.advance(2.1)  # its result does not come: it is submitted again, and is the same job
    assert pieces((2, 0), (2, 1)) == [(2, 1)]
    assert pieces((1, 0), job_id="j-2") == [(1, 0)], "the worker had lost the first"
    progress = Progress(session_number=1, request_id="r1", percent=5.0)
    assert of(h.say(progress), ProgressCame) == [ProgressCame(1, progress)]


# ---- cancelling


def test_cancelling_asks_the_server_and_the_result_says_how_it_ended() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    commands = h.feed(CancelWished(1))
    assert sent(commands, Cancel) == [Cancel(session_number=1, request_id="r1")]
    assert not sent(h.feed(CancelWished(1)), Cancel)
    assert of(h.result("r1"), ResultCame)


def test_a_request_that_was_never_sent_is_cancelled_at_once() -> None:
    h = ClientHarness()
    h.dial(h.wish())
    h.submit("r1")
    assert of(h.feed(CancelWished(1)), RequestFailed)[0].error.code == "CANCELLED"
    assert not sent(h.accept(), Submit)


def test_cancelling_one_of_two_who_wait_for_a_request_leaves_the_other_waiting() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    h.submit("r1")
    commands = h.feed(CancelWished(1))
    assert not sent(commands, Cancel)
    assert [f.ticket for f in of(commands, RequestFailed)] == [1]
    assert [r.ticket for r in of(h.result("r1"), ResultCame)] == [2]


# ---- messages that do not fit


def test_a_message_that_nobody_knows_is_answered_and_disturbs_nothing() -> None:
    h = ClientHarness()
    h.open()
    commands = h.feed(Received(h.connection, [(Unreadable("hologram", "is not known"), b"")]))
    assert sent(commands, Error)[0].error.code == "INVALID_MESSAGE"
    commands = h.say(Submit(request_id="for a server"))
    assert sent(commands, Error)[0].error.code == "INVALID_MESSAGE"
    assert sent(h.submit("r1"), Submit)


def test_what_is_said_of_unknown_sessions_and_requests_is_not_heard() -> None:
    h = ClientHarness()
    h.open()
    commands = h.say(
        Result(session_number=9, request_id="r1", number=1),
        Partial(session_number=1, request_id="r9"),
        JobAccepted(jobs=[AcceptedJob(session_number=9)]),
        SessionClosed(session_number=9),
        Moved(ref=9),
    )
    assert commands == []


# ---- closing


def test_closing_waits_for_results_and_then_for_the_server() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    assert not sent(h.close(), SessionClose)
    assert of(h.submit("r2"), RequestFailed)[0].error.code == "SESSION_CLOSED"
    commands = h.result("r1")
    assert [type(m).__name__ for m in (c.message for c in of(commands, Send))] == [
        "ResultAck",
        "SessionClose",
    ]
    commands = h.say(SessionClosed(session_number=1))
    assert of(commands, SessionEnded) == [SessionEnded(1, None)]
    assert closed(commands) == [h.connection]
    assert h.core.next_deadline_ns() is None


def test_closing_at_once_gives_open_requests_up() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    commands = h.close(flush=False)
    assert of(commands, RequestFailed)[0].error.code == "CANCELLED"
    assert sent(commands, SessionClose)


def test_closing_does_not_wait_longer_than_it_was_told() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    h.close(within_s=2.0)
    commands = h.advance(2.1)
    assert [s.flush for s in sent(commands, SessionClose)] == [False]
    assert of(commands, SessionEnded)
    assert of(commands, RequestFailed)


def test_a_session_that_the_server_ended_fails_what_is_open() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    commands = h.say(SessionClosed(session_number=1, reason="a newer connection"))
    assert of(commands, RequestFailed)[0].error.code == "SESSION_CLOSED"
    ended = of(commands, SessionEnded)[0]
    assert ended.error is not None
    assert ended.error.message == "a newer connection"


# ---- heartbeats


def test_heartbeats_come_at_the_interval_that_the_server_assigns() -> None:
    h = ClientHarness()
    h.open(heartbeat_interval_s=1.0)
    for _ in range(6):
        assert len(sent(h.advance(1), ClientHeartbeat)) == 1
        h.say(Progress(session_number=1))


def test_a_worker_that_goes_away_gets_nothing_new_and_is_left_when_its_results_came() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    h.say(GoingAway(reconnect_after_ms=1000))
    assert not sent(h.submit("r2"), Submit)
    assert not closed(h.advance(3)), "a result is awaited"
    h.result("r1")
    commands = h.advance(1)
    assert closed(commands) == [h.connection]
    h.dial(commands + h.advance(1))
    assert [s.request_id for s in sent(h.accept(resumed=True), Submit)] == ["r2"]

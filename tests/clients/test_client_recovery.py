"""Stories of the client's core on a virtual clock: broken connections, resumption, trunks."""

import msgspec
import pytest
from client_harness import ClientHarness, closed, of, sent

from pointsman.session_core.events import (
    CancelWished,
    Notice,
    OpenSession,
    RequestFailed,
    ResultCame,
    SessionEnded,
    SessionInterrupted,
    SessionOpened,
)
from pointsman_wire.errors import Code
from pointsman_wire.framing import encode_frame
from pointsman_wire.limits import HANDSHAKE_BYTES_MAX
from pointsman_wire.link import Dial, Dialled, LoopWasLate
from pointsman_wire.messages import Error, error_info
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import (
    AcceptedJob,
    Cancel,
    ClientHeartbeatAck,
    GoingAway,
    JobAccepted,
    Moved,
    ResultAck,
    ResultsWaiting,
    SessionClose,
    SessionClosed,
    SessionInit,
    Submit,
)
from pointsman_wire.shards import session_key, shard_of

# ---- the server holds results back


def test_n6_results_that_wait_at_the_server_come_as_they_are_acknowledged() -> None:
    """The owner finds it in the log, once; there is nothing to do."""
    h = ClientHarness()
    h.open()
    for name in ("r1", "r2", "r3"):
        h.submit(name)
    h.result("r1")
    commands = h.say(ResultsWaiting(session_number=1, count=2))
    assert len(of(commands, Notice)) == 1
    assert not sent(commands, Submit)
    commands = h.result("r2")
    assert sent(commands, ResultAck)[0].results == [(1, 2)]
    assert not of(h.say(ResultsWaiting(session_number=1, count=1)), Notice)
    h.result("r3")
    assert len(h.answers) == 3


def test_n6_what_the_server_could_not_hold_is_asked_for_again_under_its_id() -> None:
    h = ClientHarness()
    h.open()
    for name in ("held", "forgotten", "unwanted"):
        h.submit(name)
    accepted = [AcceptedJob(session_number=1, request_id=n) for n in ("forgotten", "unwanted")]
    h.say(JobAccepted(jobs=accepted))
    h.result("held")
    h.feed(CancelWished(3))
    commands = h.say(ResultsWaiting(session_number=1, count=0, forgotten=1))
    assert [s.request_id for s in sent(commands, Submit)] == ["forgotten"]
    assert [c.request_id for c in sent(commands, Cancel)] == ["unwanted"]
    assert of(h.result("forgotten"), ResultCame)
    assert not sent(h.say(ResultsWaiting(session_number=1, count=0, forgotten=1)), Submit)


# ---- the connection breaks


def test_a_broken_connection_is_dialled_again_and_the_session_resumed() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    h.result("r1")
    h.submit("r2")
    dials = h.lose() + h.advance(1)
    assert [told.handle for told in of(dials, SessionInterrupted)] == [1]
    assert [d.preamble.key for d in of(dials, Dial)] == [session_key("s-1")]
    init = sent(h.dial(dials), SessionInit)[0]
    assert (init.session_id, init.resume_token) == ("s-1", "tok")
    assert (init.unfinished, init.last_result) == (["r2"], 1)
    commands = h.accept(resumed=True, unfinished={"r2": "running"})
    assert [o.is_again for o in of(commands, SessionOpened)] == [True]
    assert not sent(commands, Submit)
    assert of(h.result("r2"), ResultCame)


def test_what_the_server_does_not_know_is_submitted_again_under_the_same_id() -> None:
    """N12: a retry keeps its id, so it meets the same job."""
    h = ClientHarness()
    h.open()
    h.submit("r1", b"one")
    h.submit("r2", b"two")
    commands = h.resume(unfinished={"r1": "unknown", "r2": "running"})
    assert [s.request_id for s in sent(commands, Submit)] == ["r1"]


def test_a_session_that_could_not_be_resumed_submits_everything_again() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    h.result("r1")
    h.submit("r2")
    commands = h.resume(resumed=False)
    assert [s.request_id for s in sent(commands, Submit)] == ["r2"]
    commands = h.result("r2", number=1)
    assert sent(commands, ResultAck) == [ResultAck(results=[(1, 1)])], "numbers began anew"


def test_an_ended_request_whose_result_does_not_come_is_asked_for_again() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    assert not sent(h.resume(unfinished={"r1": "ended"}), Submit)
    assert [s.request_id for s in sent(h.advance(2.1), Submit)] == ["r1"]


def test_a_cancelled_request_is_cancelled_again_or_forgotten_but_never_run_again() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    h.submit("r2")
    h.feed(CancelWished(1), CancelWished(2))
    commands = h.resume(unfinished={"r1": "running", "r2": "unknown"})
    assert [c.request_id for c in sent(commands, Cancel)] == ["r1"]
    assert [f.ticket for f in of(commands, RequestFailed)] == [2]
    assert not sent(commands, Submit)


def test_what_is_left_of_a_deadline_is_told_at_the_second_submit() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1", deadline_s=10.0)
    h.advance(4)
    (submit,) = sent(h.resume(), Submit)
    assert submit.deadline_s is not None
    assert 4.5 < submit.deadline_s < 5.9


@pytest.mark.parametrize("is_web", [False, True])
def test_more_open_requests_than_fit_a_first_frame_are_submitted_again(is_web: bool) -> None:
    h = ClientHarness(is_web=is_web)
    h.open()
    quotes = '"' * 80  # each is two bytes in JSON
    names = [f"request-{n:04d}-{quotes}" for n in range(300)]
    for name in names:
        h.submit(name)
    init = sent(h.dial(h.lose() + h.advance(1)), SessionInit)[0]
    assert 80 < len(init.unfinished) < 300
    size = len(msgspec.json.encode(init) if is_web else encode_frame(init))
    assert size <= HANDSHAKE_BYTES_MAX
    commands = h.accept(resumed=True, unfinished=dict.fromkeys(init.unfinished, "running"))
    again = {s.request_id for s in sent(commands, Submit)}
    assert again == set(names) - set(init.unfinished)


def test_the_first_frame_is_bounded_whatever_else_the_session_says_of_itself() -> None:
    h = ClientHarness()
    said = {"features": [f"feature-{n:03d}-{'y' * 100}" for n in range(120)]}
    h.dial(h.wish(init=said))
    h.accept()
    for n in range(300):
        h.submit(f"request-{n:04d}-{'x' * 80}")
    init = sent(h.dial(h.lose() + h.advance(1)), SessionInit)[0]
    assert len(init.features) == 120
    assert 0 < len(init.unfinished) < 100
    assert len(encode_frame(init)) <= HANDSHAKE_BYTES_MAX


def test_a_session_whose_options_fill_a_first_frame_ends_in_words() -> None:
    h = ClientHarness()
    said = {"features": [f"feature-{n:03d}-{'y' * 100}" for n in range(200)]}
    ended = of(h.dial(h.wish(init=said)), SessionEnded)
    assert ended[0].error is not None
    assert "exceed the 16384 bytes of a first frame" in ended[0].error.message


def test_a_silent_server_is_left_and_dialled_again() -> None:
    h = ClientHarness()
    h.open(heartbeat_interval_s=1.0)
    connection = h.connection
    commands = h.advance(3.1)
    assert closed(commands) == [connection]
    assert of(commands + h.advance(0.5), Dial)


def test_a_process_that_was_late_does_not_blame_the_server() -> None:
    h = ClientHarness()
    h.open(heartbeat_interval_s=1.0)
    h.now_ns += 60 * 1_000_000_000
    assert not closed(h.feed(LoopWasLate(60 * 1_000_000_000)))


def test_a_lost_session_is_opened_again_on_the_same_connection() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    info = error_info(Code.INVALID_SESSION, "session 1 is unknown")
    h.say(Error(info, session_number=1, request_id="r1"))
    init = sent(h.advance(0.2), SessionInit)[0]
    assert (init.session_id, init.resume_token) == ("s-1", "")
    assert [s.request_id for s in sent(h.accept(), Submit)] == ["r1"]


def test_a_stopping_worker_leaves_the_submit_to_its_successor() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    info = error_info(Code.SHUTTING_DOWN, "stopping", retry_after_ms=100)
    commands = h.say(Error(info, session_number=1, request_id="r1"))
    assert not of(commands, RequestFailed)
    commands = h.advance(2)
    assert closed(commands) == [h.connection]
    h.dial(commands)
    assert [s.request_id for s in sent(h.accept(), Submit)] == ["r1"]


def test_waits_between_dials_grow_to_their_cap_and_are_drawn_from_entropy() -> None:
    """N9: full jitter, 0.5 s doubling to at most 30 s."""
    h = ClientHarness(entropy=lambda n: b"\xff" * n)
    commands = h.wish(within_s=None)
    waits = []
    for _ in range(9):
        h.refuse_dials(commands)
        due = h.core.next_deadline_ns()
        assert due is not None
        waits.append(round((due - h.now_ns) / 1e9, 3))
        h.now_ns = due
        commands = h.feed()
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_dial_that_is_answered_too_late_is_closed() -> None:
    h = ClientHarness()
    dial = of(h.wish(within_s=None), Dial)[0]
    h.advance(10.1)
    h.connection = h.connection.__class__(77)
    assert closed(h.feed(Dialled(h.connection, dial.purpose))) == [h.connection]


def test_the_delay_that_a_stopping_worker_names_is_kept_when_it_closes_first() -> None:
    h = ClientHarness()
    h.open()
    h.say(GoingAway(reconnect_after_ms=5000))
    h.lose()
    assert not of(h.advance(4.9), Dial)
    assert of(h.advance(1), Dial)


def test_closing_without_a_connection_ends_at_once_when_nothing_is_open() -> None:
    h = ClientHarness()
    h.open()
    h.lose()
    assert of(h.close(), SessionEnded) == [SessionEnded(1, None)]
    assert h.core.next_deadline_ns() is None


def test_closing_without_a_connection_still_waits_for_what_is_open() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1")
    dials = h.lose()
    assert not of(h.close(), SessionEnded)
    h.dial(dials + h.advance(1))
    h.accept(resumed=True, unfinished={"r1": "running"})
    assert of(h.result("r1"), ResultCame)


# ---- trunks


def test_sessions_of_a_trunk_share_a_connection_and_are_spread_over_the_workers() -> None:
    h = ClientHarness(is_trunk=True)
    commands = h.wish(1)
    assert [d.preamble for d in of(commands, Dial)] == [Preamble(Role.TRUNK, None)]
    h.dial(commands)
    h.accept(1, shard=1, worker_count=2)
    dials = [d.preamble.key for n in range(2, 6) for d in of(h.wish(n), Dial)]
    assert dials == [0], "one trunk for each worker, and the first is that of worker 1"


def test_a_session_with_an_id_of_its_own_takes_the_trunk_of_its_shard() -> None:
    h = ClientHarness(is_trunk=True)
    h.dial(h.wish(1))
    h.accept(1, shard=0, worker_count=2)
    name = next(f"s{n}" for n in range(100) if shard_of(f"s{n}", 2) == 1)
    assert [d.preamble.key for d in of(h.wish(2, name), Dial)] == [1]


def test_a_moved_session_leaves_the_others_of_its_trunk_alone() -> None:
    h = ClientHarness(is_trunk=True)
    h.dial(h.wish(1))
    h.wish(2, "mine")
    h.accept(1, shard=0, worker_count=2)
    first = h.connection
    commands = h.say(Moved(ref=2, shard=1, worker_count=2))
    assert not closed(commands)
    assert [d.preamble for d in of(commands, Dial)] == [Preamble(Role.TRUNK, 1)]
    assert [i.session_id for i in sent(h.dial(commands), SessionInit)] == ["mine"]
    h.connection = first
    assert sent(h.submit("r1", handle=1), Submit)


def test_all_sessions_of_a_broken_trunk_are_resumed_and_acknowledged_together() -> None:
    h = ClientHarness(is_trunk=True)
    h.dial(h.wish(1))
    h.wish(2)
    h.accept(1, worker_count=1)
    h.accept(2, worker_count=1)
    h.submit("r1", handle=1)
    h.submit("r2", handle=2)
    inits = sent(h.dial(h.lose() + h.advance(1)), SessionInit)
    assert [(i.session_id, i.unfinished) for i in inits] == [("s-1", ["r1"]), ("s-2", ["r2"])]
    # The server numbers its sessions anew.
    h.accept(2, session_number=1, resumed=True, unfinished={"r2": "running"}, worker_count=1)
    h.accept(1, session_number=2, resumed=True, unfinished={"r1": "running"}, worker_count=1)
    assert [r.ticket for r in of(h.result("r2", number=4, session=1), ResultCame)] == [2]
    assert [r.ticket for r in of(h.result("r1", number=9, session=2), ResultCame)] == [1]


# ---- pairing


def test_a_session_that_the_server_has_forgotten_to_be_paired_goes_on_unpaired() -> None:
    h = ClientHarness()
    h.dial(h.feed(OpenSession(handle=1, init=SessionInit(pairing_code="7K3M-9QX2"))))
    h.accept(paired_node="n1")
    init = sent(h.dial(h.lose() + h.advance(1)), SessionInit)[0]
    assert init.pairing_code == "7K3M-9QX2", "the worker may know the session, or the manager it"
    h.say(Error(error_info(Code.INVALID_PAIRING_CODE, "used"), ref=1))
    again = sent(h.advance(1), SessionInit)
    assert [init.pairing_code for init in again] == [""]
    assert of(h.accept(), SessionOpened)[0].is_again


def test_a_session_that_never_opened_ends_with_its_wrong_pairing_code() -> None:
    h = ClientHarness()
    h.dial(h.feed(OpenSession(handle=1, init=SessionInit(pairing_code="7K3M-9QX2"))))
    commands = h.say(Error(error_info(Code.INVALID_PAIRING_CODE, "wrong"), ref=1))
    (ended,) = of(commands, SessionEnded)
    assert ended.error is not None
    assert ended.error.code == Code.INVALID_PAIRING_CODE


def asked_twice(session_id: str = "s-1") -> ClientHarness:
    """Return a client that has asked for session 1 a second time: its trunk lives, but is slow."""
    h = ClientHarness(is_trunk=True)
    h.dial(h.wish(2, "s-2", within_s=None))
    h.accept(2)
    h.wish(1, session_id, within_s=None)
    inits = []
    for _ in range(11):
        inits += sent(h.advance(1), SessionInit)
        h.say(ClientHeartbeatAck())
    assert [init.ref for init in inits] == [1]
    return h


def test_a_session_that_was_asked_for_twice_goes_on_under_its_second_answer() -> None:
    """I1: the worker gives the session from its first number to its second."""
    h = asked_twice()
    assert of(h.accept(), SessionOpened)
    assert sent(h.submit("r-1"), Submit)[0].session_number == 1
    commands = h.say(SessionClosed(session_number=1, reason="a newer connection took the session"))
    assert not of(commands, SessionEnded)
    (again,) = sent(h.accept(session_number=3, resume_token="new"), Submit)
    assert (again.request_id, again.session_number) == ("r-1", 3)
    h.say(JobAccepted(jobs=[AcceptedJob(request_id="r-1", job_id="j", session_number=3)]))
    h.result("r-1", session=3)
    assert [type(answer) for answer in h.answers] == [ResultCame]
    assert not sent(h.advance(5), SessionInit)


def test_an_answer_that_comes_just_before_it_is_asked_for_again_is_taken() -> None:
    h = ClientHarness(is_trunk=True, entropy=lambda count: b"\xff" * count)
    h.dial(h.wish(2, "s-2", within_s=None))
    h.accept(2)
    h.wish(1, "s-1", within_s=None)
    h.advance(9)
    h.say(ClientHeartbeatAck())
    assert not sent(h.advance(1.02), SessionInit), "it waits a moment before it asks again"
    assert of(h.accept(), SessionOpened)
    assert not sent(h.advance(5), SessionInit)


def test_of_two_sessions_that_were_made_because_it_asked_twice_one_is_closed() -> None:
    h = asked_twice("")
    h.accept(session_id="s-a", session_number=7)
    (closing,) = sent(h.accept(session_id="s-b", session_number=8), SessionClose)
    assert (closing.session_number, closing.flush) == (8, False)
    assert sent(h.submit("r-1"), Submit)[0].session_number == 7

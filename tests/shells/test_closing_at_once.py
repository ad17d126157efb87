"""A session that is closed at once leaves nothing running at the service for nobody."""

from typing import Any

from client_harness import ClientHarness, closed, of, sent

from pointsman.session_core.events import RequestFailed, SessionEnded
from pointsman.session_core.talk_events import PieceSpoken, UtteranceEnded, UtteranceWished
from pointsman_wire.errors import Code
from pointsman_wire.link import Dial, Send
from pointsman_wire.messages import Error, error_info
from pointsman_wire.session_messages import (
    AcceptedJob,
    Cancel,
    JobAccepted,
    SessionClose,
    SessionClosed,
)
from pointsman_wire.talk.talk_messages import AudioChunk, Utterance, UtteranceJobs


def names(commands: list[Any]) -> list[str]:
    """What is sent, by its type."""
    return [type(send.message).__name__ for send in of(commands, Send)]


def with_jobs(*request_ids: str) -> ClientHarness:
    """A session whose jobs were accepted."""
    h = ClientHarness()
    h.open()
    for request_id in request_ids:
        h.submit(request_id)
        h.say(JobAccepted(jobs=[AcceptedJob(session_number=1, request_id=request_id)]))
    return h


def test_closing_at_once_cancels_what_the_server_has() -> None:
    h = with_jobs("r1")
    h.submit("r2")
    commands = h.close(flush=False)
    assert [f.error.code for f in of(commands, RequestFailed)] == ["CANCELLED"] * 2
    assert [m.request_id for m in sent(commands, Cancel)] == ["r1", "r2"]
    assert [m.flush for m in sent(commands, SessionClose)] == [False]
    assert names(commands)[-1] == "SessionClose"
    assert of(h.say(SessionClosed(session_number=1)), SessionEnded) == [SessionEnded(1, None)]
    assert h.core.next_deadline_ns() is None


def test_closing_at_once_cancels_nothing_that_was_not_sent() -> None:
    h = ClientHarness()
    h.dial(h.wish(session_id="s-1"))
    h.submit("r1")
    commands = h.close(flush=False)
    assert of(commands, SessionEnded)
    assert names(commands) == []


def test_closing_at_once_without_a_moment_left_cancels_all_the_same() -> None:
    h = with_jobs("r1")
    commands = h.close(flush=False, within_s=0.0)
    assert names(commands) == ["Cancel", "SessionClose"]
    assert of(commands, SessionEnded)


def test_a_dead_connection_keeps_nobody_who_closes_at_once() -> None:
    """Nothing answers, and nobody waits for the half minute that running jobs would have had."""
    h = with_jobs("r1")
    assert of(h.close(flush=False, within_s=30.0), SessionEnded) == []
    assert of(h.advance(1.1), SessionEnded)


def test_what_was_accepted_before_the_connection_broke_is_cancelled_on_the_next_one() -> None:
    h = with_jobs("r1")
    h.lose()
    commands = h.close(flush=False)
    assert of(commands, RequestFailed)
    h.dial(commands)
    commands = h.accept(resumed=True, unfinished={"r1": "running"})
    assert names(commands) == ["Cancel", "SessionClose"]
    assert of(h.say(SessionClosed(session_number=1)), SessionEnded)


def test_a_connection_that_breaks_amid_the_close_is_dialled_again_but_not_for_long() -> None:
    h = with_jobs("r1")
    h.close(flush=False)
    commands = h.lose()
    h.dial(commands + h.advance(0.5))
    assert names(h.accept(resumed=True)) == ["Cancel", "SessionClose"]
    commands = h.lose()
    assert of(commands + h.advance(1.0), SessionEnded)
    assert h.core.next_deadline_ns() is None


def test_a_close_that_waited_for_as_long_as_it_may_cancels_what_runs_on() -> None:
    h = with_jobs("r1")
    assert names(h.close(within_s=2.0)) == []
    commands = h.advance(2.1)
    assert [f.error.code for f in of(commands, RequestFailed)] == ["CANCELLED"]
    assert names(commands) == ["Cancel", "SessionClose"]
    assert of(commands, SessionEnded)
    assert h.core.next_deadline_ns() is None


def test_a_close_whose_time_ends_without_a_connection_has_a_moment_to_cancel_on_the_next() -> None:
    h = with_jobs("r1")
    h.close(within_s=2.0)
    h.refuse_dials(h.lose() + h.advance(1.0))
    commands = h.advance(1.1)
    assert of(commands, RequestFailed), "nobody is kept waiting for that"
    assert of(commands, SessionEnded) == []
    h.dial(commands)
    assert names(h.accept(resumed=True)) == ["Cancel", "SessionClose"]


def test_a_close_without_any_time_dials_nobody_for_what_it_cancels() -> None:
    h = with_jobs("r1")
    commands = h.lose() + h.close(flush=False, within_s=0.0)
    assert of(commands, SessionEnded)
    assert of(commands, Dial) == []
    assert h.core.next_deadline_ns() is None


def test_who_closes_at_once_is_not_made_to_wait_by_a_second_close() -> None:
    h = with_jobs("r1")
    h.lose()
    h.close(flush=False)
    assert of(h.close(within_s=30.0), SessionEnded) == []
    assert of(h.advance(1.1), SessionEnded)


def test_who_closes_at_once_after_a_long_silence_does_not_wait_for_the_next_dial() -> None:
    h = with_jobs("r1")
    commands = h.lose()
    for _ in range(8):
        commands = h.refuse_dials(commands + h.advance(30.0))
    assert of(h.close(flush=False), Dial), "the next one was due in half a minute"


# ---- utterances


def say(h: ClientHarness, utterance_id: str = "u") -> None:
    h.tickets += 1
    message = Utterance(utterance_id=utterance_id, text="hello")
    h.feed(UtteranceWished(handle=1, ticket=h.tickets, message=message, payload=b""))


def test_closing_at_once_cancels_each_job_of_an_utterance() -> None:
    h = with_jobs()
    say(h)
    h.say(UtteranceJobs(session_number=1, utterance_id="u", request_ids=["u:es", "u:fr"]))
    commands = h.close(flush=False)
    assert [m.request_id for m in sent(commands, Cancel)] == ["u:es", "u:fr"]
    assert names(commands)[-1] == "SessionClose"


def test_an_utterance_whose_jobs_are_not_told_yet_is_cancelled_when_they_are() -> None:
    h = with_jobs()
    say(h)
    commands = h.close(flush=False)
    assert [u.error.code for u in of(commands, UtteranceEnded) if u.error] == ["CANCELLED"]
    assert names(commands) == ["Cancel"], "it may wait for its listeners, under its own id"
    jobs = UtteranceJobs(session_number=1, utterance_id="u", request_ids=["u:es", "u:fr"])
    commands = h.say(jobs)
    assert [m.request_id for m in sent(commands, Cancel)] == ["u:es", "u:fr"]
    assert names(commands)[-1] == "SessionClose"


def test_what_is_being_spoken_is_cancelled_before_it_is_a_job() -> None:
    h = with_jobs()
    h.tickets += 1
    first = AudioChunk(utterance_id="u")
    h.feed(UtteranceWished(handle=1, ticket=h.tickets, message=first, payload=b""))
    h.feed(PieceSpoken(ticket=h.tickets, payload=b"ab", is_final=False))
    assert [m.request_id for m in sent(h.close(flush=False), Cancel)] == ["u"]
    told = Error(error_info(Code.CANCELLED, "cancelled"), session_number=1, request_id="u")
    assert names(h.say(told)) == ["SessionClose"]


def test_a_close_that_waited_hears_which_jobs_an_utterance_became_and_cancels_them() -> None:
    h = with_jobs()
    say(h)
    h.close(within_s=2.0)
    commands = h.advance(2.1)
    assert names(commands) == ["Cancel"]
    jobs = UtteranceJobs(session_number=1, utterance_id="u", request_ids=["u:es", "u:fr"])
    commands = h.say(jobs)
    assert [m.request_id for m in sent(commands, Cancel)] == ["u:es", "u:fr"]
    assert names(commands)[-1] == "SessionClose"


def test_a_server_that_never_tells_its_jobs_is_not_waited_for() -> None:
    h = with_jobs()
    say(h)
    h.close(flush=False)
    commands = h.advance(1.1)
    assert [m.flush for m in sent(commands, SessionClose)] == [False]
    assert of(commands, SessionEnded)
    assert closed(commands) == [h.connection]


def test_what_an_utterance_became_is_not_waited_for_on_a_connection_that_never_tells_it() -> None:
    h = with_jobs()
    say(h)
    h.close(flush=False)
    h.dial(h.lose() + h.advance(0.5))
    commands = h.accept(resumed=True)
    assert [m.request_id for m in sent(commands, Cancel)] == ["u"]
    assert names(commands)[-1] == "SessionClose"

"""Stories of ids that are used again while the answers to their given up predecessors are due."""

from client_harness import ClientHarness, of, sent

from pointsman.session_core.events import CancelWished, JobWasAccepted, RequestFailed, ResultCame
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, error_info
from pointsman_wire.session_messages import AcceptedJob, Cancel, JobAccepted, Submit

DEADLINE_S = 1.0


def given_up(h: ClientHarness, times: int = 1) -> None:
    """Submit r1 that often, and hear nothing until the client gives it up."""
    for _ in range(times):
        h.submit("r1", deadline_s=DEADLINE_S)
        commands = h.advance(DEADLINE_S + 3)
        assert [f.error.code for f in of(commands, RequestFailed)] == [Code.JOB_TIMEOUT]
        assert len(sent(commands, Cancel)) == 1


def begun() -> ClientHarness:
    h = ClientHarness()
    h.open()
    return h


def refusal(code: Code) -> Error:
    return Error(error_info(code, "no"), session_number=1, request_id="r1")


def acceptance() -> JobAccepted:
    job = AcceptedJob(session_number=1, request_id="r1", job_id="j1")
    return JobAccepted(jobs=[job])


def test_the_answer_to_a_cancel_of_before_does_not_end_the_same_id_used_again() -> None:
    h = begun()
    given_up(h)
    assert sent(h.submit("r1"), Submit)
    assert not of(h.say(refusal(Code.CANCELLED)), RequestFailed)
    assert [a.ticket for a in of(h.say(acceptance()), JobWasAccepted)] == [2]
    assert [r.ticket for r in of(h.result("r1"), ResultCame)] == [2]


def test_a_late_refusal_and_the_unknown_id_of_its_cancel_are_of_the_first_one() -> None:
    h = begun()
    given_up(h)
    h.submit("r1")
    said = h.say(refusal(Code.QUEUE_FULL), refusal(Code.NOT_FOUND))
    assert not of(said, RequestFailed)
    assert of(h.say(refusal(Code.QUEUE_FULL)), RequestFailed)


def test_as_many_answers_are_passed_over_as_cancels_were_sent() -> None:
    h = begun()
    given_up(h, times=2)
    h.submit("r1")
    assert not of(h.say(refusal(Code.CANCELLED), refusal(Code.NOT_FOUND)), RequestFailed)
    h.feed(CancelWished(3))
    said = of(h.say(refusal(Code.CANCELLED)), RequestFailed)
    assert [f.ticket for f in said] == [3]


def test_an_answer_that_nobody_waits_for_is_counted_all_the_same() -> None:
    h = begun()
    given_up(h)
    h.say(refusal(Code.CANCELLED))
    h.submit("r1")
    assert of(h.say(refusal(Code.NOT_FOUND)), RequestFailed)


def test_a_job_that_was_made_after_all_answers_its_cancel_with_a_result() -> None:
    h = begun()
    given_up(h)
    h.submit("r1")
    h.say(acceptance())
    assert of(h.say(refusal(Code.CONFLICT)), RequestFailed)


def test_what_was_cancelled_by_its_owner_before_is_cancelled_once() -> None:
    h = begun()
    h.submit("r1", deadline_s=DEADLINE_S)
    assert sent(h.feed(CancelWished(1)), Cancel)
    assert not sent(h.advance(DEADLINE_S + 3), Cancel)
    h.submit("r1")
    assert not of(h.say(refusal(Code.CANCELLED)), RequestFailed)
    assert of(h.say(refusal(Code.QUEUE_FULL)), RequestFailed)


def test_a_new_connection_brings_no_answers_of_the_old_one() -> None:
    h = begun()
    given_up(h)
    h.lose()
    h.dial(h.advance(10.0))
    h.accept(resumed=True)
    h.submit("r1")
    assert of(h.say(refusal(Code.NOT_FOUND)), RequestFailed)

"""Deadlines of requests: the server tells them first, and the client does when it does not."""

from client_harness import ClientHarness, of, sent

from pointsman.session_core.events import RequestFailed, ResultCame
from pointsman_wire.session_messages import AcceptedJob, Cancel, JobAccepted


def test_a_deadline_that_the_server_forgets_ends_the_request_here() -> None:
    h = ClientHarness()
    h.open()
    h.submit("r1", deadline_s=1.0)
    assert not of(h.advance(2.9), RequestFailed)
    commands = h.advance(0.2)
    assert of(commands, RequestFailed)[0].error.code == "JOB_TIMEOUT"
    assert sent(commands, Cancel)
    assert not of(h.result("r1"), ResultCame)


def test_a_result_that_waits_for_those_before_it_is_waited_for_beyond_its_deadline() -> None:
    """I1: the job has ended in time; a server that cannot be heard is not waited for."""
    h = ClientHarness()
    h.dial(h.wish(init={"order": "utterance"}))
    h.accept()
    for name in ("r1", "r2", "r3"):
        h.submit(name, deadline_s=1.0)
    h.say(JobAccepted(jobs=[AcceptedJob(session_number=1, request_id=r) for r in ("r1", "r2")]))
    assert [failed.ticket for failed in of(h.advance(3.1), RequestFailed)] == [3], "never accepted"
    assert not of(h.advance(8.0), RequestFailed)
    assert [came.ticket for came in of(h.result("r1"), ResultCame)] == [1]
    assert [failed.ticket for failed in of(h.advance(2.0), RequestFailed)] == [2], "not for ever"

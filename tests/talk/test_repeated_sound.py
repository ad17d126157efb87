"""Stories of sound that is sent again after a lost connection: its speaker is told what became of
it, whatever that is, and waits for nothing that will not come.
"""

from client_harness import sent
from talkers import (
    SECOND_OF_SOUND,
    Talker,
    becomes,
    ends,
    opened,
    say,
    talker,
    yard,
    yard_without_lanes,
)

from pointsman.session_core.events import CancelWished
from pointsman_shm.config import JobsConfig
from pointsman_wire.session_messages import Cancel, Result, ResultAck, ResultsWaiting
from pointsman_wire.talk.talk_messages import Utterance, UtteranceJobs


def back(ann: Talker, *unfinished: str) -> Talker:
    """The speaker is there again, on another connection."""
    token = ann.client.ack.resume_token
    return talker(ann.harness, resume_token=token, unfinished=[*unfinished])


def named(ann: Talker) -> list[list[str]]:
    """The jobs of utterances, as the speaker was told them since the last look."""
    return [jobs.request_ids for jobs in ann.client.all(UtteranceJobs)]


def test_who_never_said_the_end_is_told_the_jobs_as_well() -> None:
    """Silence has ended it while the connection was gone: no final piece is sent again either."""
    h, _ = yard()
    ann = talker(h)
    ann.speak(0, SECOND_OF_SOUND)
    ann.client.hang_up()
    h.advance(4)
    again = back(ann)
    again.speak(0, SECOND_OF_SOUND)
    again.speak(1, SECOND_OF_SOUND)
    assert named(again) == [["u-1"]]


def test_a_refusal_that_nobody_was_there_to_hear_is_told_again() -> None:
    h, _ = yard()
    ann = talker(h)
    ann.speak(0, SECOND_OF_SOUND, services=["juggling"])
    ann.client.hang_up()
    h.advance(4)
    again = back(ann)
    again.speak(0, SECOND_OF_SOUND)
    assert (named(again), again.errors()) == ([["u-1"]], ["UNSUPPORTED_FEATURE"])
    again.speak(1, SECOND_OF_SOUND)
    assert (named(again), again.errors()) == ([], []), "once on each connection"


def test_a_refusal_goes_to_where_the_speaker_is_by_then() -> None:
    """A worker that begins anew waits for its nodes first, and clients come and go meanwhile."""
    h = yard_without_lanes()
    ann = talker(h, unfinished=["u-1"])
    ann.speak(0, SECOND_OF_SOUND, is_final=True, services=["juggling"])
    ann.client.hang_up()
    again = back(ann, "u-1")
    again.speak(0, SECOND_OF_SOUND, is_final=True, services=["juggling"])
    assert (named(again), again.errors()) == ([["u-1"]], [])
    h.open_lane(3)
    h.advance(0.2)
    assert again.errors() == ["UNSUPPORTED_FEATURE"]


def test_a_result_that_is_remembered_no_more_is_not_waited_for() -> None:
    h, node = yard(jobs=JobsConfig(window_s=5.0))
    ann = talker(h)
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    node.end(node.assignment(), b"hola")
    result = ann.client.one(Result)
    h.receive(ann.client.connection, ResultAck(results=[(0, result.number)]))
    h.advance(10)
    again = back(ann)
    again.speak(0, SECOND_OF_SOUND, is_final=True)
    assert (named(again), again.errors()) == ([["u-1"]], ["NOT_FOUND"])


def test_a_result_that_was_given_up_is_told_to_who_says_the_end_again() -> None:
    """As to who submits again: on the same connection, once the service has said so."""
    h, node = yard()
    ann = talker(h)
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    node.end(node.assignment(), b"hola")
    first = ann.client.one(Result)
    h.receive(ann.client.connection, ResultAck(results=[(0, first.number)]))
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    assert [result.request_id for result in ann.results()] == ["u-1"]


# ---- by a client's core, which may find other jobs than before


def test_what_is_left_of_an_utterance_that_was_cancelled_without_a_connection_is_cancelled() -> (
    None
):
    harness = opened()
    say(harness)
    becomes(harness, "u:es", "u:fr")
    lost = harness.lose()
    harness.feed(CancelWished(7))
    harness.dial(lost + harness.advance(1))
    told = harness.accept(resumed=True, unfinished={"u:es": "running", "u:fr": "unknown"})
    assert [m.request_id for m in sent(told, Cancel)] == ["u:es"]
    assert ends(told) == ["CANCELLED"]
    assert sent(told, Utterance) == []


def test_a_result_that_does_not_come_is_not_waited_for_where_the_utterance_became_other_jobs() -> (
    None
):
    """Somebody has entered the room since, and the session was begun anew: what had ended is not
    told any more."""
    harness = opened()
    say(harness)
    becomes(harness, "u")
    harness.resume(resumed=False, unfinished={"u": "ended"})
    assert len(sent(harness.advance(2.1), Utterance)) == 1
    becomes(harness, "u:es", "u:fr")
    assert ends(harness.result("u:es")) == []
    assert ends(harness.result("u:fr")) == [None]


def test_results_that_the_server_has_forgotten_may_be_those_of_other_jobs_now() -> None:
    harness = opened()
    say(harness)
    becomes(harness, "u")
    again = harness.say(ResultsWaiting(session_number=1, forgotten=1))
    assert len(sent(again, Utterance)) == 1
    becomes(harness, "u:es", "u:fr")
    harness.result("u:es")
    assert ends(harness.result("u:fr")) == [None]

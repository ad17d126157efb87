"""Stories of sound that is sent again after a lost connection: its speaker is told what became of
it, whatever that is, and waits for nothing that will not come.
"""

from talkers import SECOND_OF_SOUND, Talker, talker, yard, yard_without_lanes

from pointsman_shm.config import JobsConfig
from pointsman_wire.session_messages import Result, ResultAck
from pointsman_wire.talk.talk_messages import UtteranceJobs


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

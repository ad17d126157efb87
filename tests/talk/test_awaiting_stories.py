"""Stories of rooms after a restart of their worker, and of words that listeners read."""

from talkers import SECOND_OF_SOUND, Talker, talker, yard, yard_without_lanes

from pointsman_shm.config import TalkConfig
from pointsman_wire.session_messages import SessionClose
from pointsman_wire.talk.talk_messages import RoomLeave, RoomState


def is_awaiting(person: Talker) -> bool:
    """What the room said last."""
    return person.client.all(RoomState)[-1].awaiting


def test_after_a_restart_what_is_said_in_a_room_waits_for_who_is_not_back_yet() -> None:
    h, node = yard(epoch=2)
    ann = talker(h)
    ann.enter("tea", "en")
    assert is_awaiting(ann)
    ann.say("are you there?")
    ann.speak(0, SECOND_OF_SOUND, "u-2", is_final=True)
    ann.say("hello?", "u-3")
    assert node.assignments() == []
    assert h.core._talk.hearing.memory.held_bytes > len(SECOND_OF_SOUND)
    h.advance(5)
    ben = talker(h, "s-2", src_lang="es", tgt_lang="")
    ben.enter("tea", "es")
    assert not is_awaiting(ann)
    jobs = node.assignments()
    assert [(job.request_id, job.tgt_lang) for job in jobs] == [
        *(("u-1", "es"), ("u-2", "es"), ("u-3", "es")),
    ]
    assert h.core._talk.hearing.memory.held_bytes == 0
    for job in jobs:
        node.end(job, b"hola")
    assert [(r.speaker, r.request_id) for r in ben.results()] == [
        *(("s-1", "u-1"), ("s-1", "u-2"), ("s-1", "u-3")),
    ]
    assert len(ann.results()) == 3


def test_who_does_not_come_back_within_the_resume_window_is_waited_for_no_longer() -> None:
    h, node = yard(epoch=2)
    ann = talker(h)
    ann.enter("tea", "en")
    ann.say("are you there?")
    h.advance(29)
    assert ann.errors() == []
    h.advance(2)
    assert ann.errors() == ["NOT_FOUND"]
    assert not is_awaiting(ann)
    ann.say("hello?", "u-2")
    assert ann.errors() == ["NOT_FOUND"]
    assert node.assignments() == []


def test_what_names_its_language_waits_for_nobody() -> None:
    h, node = yard(epoch=2)
    ann = talker(h)
    ann.enter("tea", "en")
    ann.say("hello", tgt_lang="fr")
    assert node.assignment().tgt_lang == "fr"


def test_who_leaves_is_told_that_nobody_came() -> None:
    h, node = yard(epoch=2)
    ann = talker(h)
    ann.enter("tea", "en")
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    h.receive(ann.client.connection, RoomLeave())
    assert ann.errors() == ["NOT_FOUND"]
    ann.enter("tea", "en")
    ann.speak(0, SECOND_OF_SOUND, "u-2", is_final=True)
    h.receive(ann.client.connection, SessionClose())
    assert node.assignments() == []
    assert h.core._talk.hearing.memory.held_bytes == 0
    assert h.core._talk.rooms.rooms == {}


def test_what_waits_counts_as_open_and_its_sound_as_held() -> None:
    bounds = TalkConfig(utterances_open_max=3, session_bytes_max=80_000, sound_bytes_max=40_000)
    h, _ = yard(epoch=2, talk=bounds)
    ann = talker(h)
    ann.enter("tea", "en")
    for number in range(3):
        ann.speak(0, SECOND_OF_SOUND, f"u-{number}", is_final=True)
    assert ann.errors() == ["QUEUE_FULL"], "the third has no room"
    ann.say("one", "w-1")
    ann.say("two", "w-2")
    ann.say("one", "w-1")
    assert ann.errors() == ["RATE_LIMITED"], "the fourth utterance, and not the repeated one"
    ann.client.hang_up()
    h.advance(31)
    assert h.core._talk.hearing.memory.held_bytes == 0


def test_who_listens_reads_what_was_typed_at_once_and_with_the_result() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2", hears="es")
    ann.say("good day", to=["s-2"])
    [typed] = [event for event in ben.events() if event.event == "INPUT_ENDED"]
    assert (typed.text, typed.lang, typed.speaker) == ("good day", "en", "s-1")
    node.end(node.assignment(), b"buen dia", meta={"translation": "buen dia"})
    [heard] = ben.results()
    assert heard.meta == {"translation": "buen dia", "said": "good day"}
    [own] = ann.results()
    assert own.meta == {"translation": "buen dia"}


def repeated_before_nodes_report() -> Talker:
    """Somebody has come back after a restart, and says again what a node may be at work on."""
    h = yard_without_lanes()
    ann = talker(h, unfinished=["u-1"])
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    return ann


def test_what_is_repeated_before_nodes_have_reported_is_said_though_its_client_left_again() -> None:
    """Else it counted among the open utterances of the session for as long as that lasts."""
    ann = repeated_before_nodes_report()
    h = ann.harness
    ann.client.hang_up()
    node = h.open_lane(3)
    h.advance(0.2)
    node.end(node.assignment(), b"hola")
    assert not h.core.shard.talks
    again = talker(h, resume_token=ann.client.ack.resume_token)
    assert [result.request_id for result in again.results()] == ["u-1"]


def test_what_is_cancelled_before_nodes_have_reported_is_open_no_longer() -> None:
    ann = repeated_before_nodes_report()
    h = ann.harness
    ann.client.cancel("u-1")
    assert ann.errors() == ["CANCELLED"]
    assert not h.core.shard.talks


def test_what_is_cancelled_while_it_waits_for_somebody_to_hear_it_is_not_said() -> None:
    h, node = yard(epoch=2)
    ann = talker(h)
    ann.enter("tea", "en")
    ann.speak(0, SECOND_OF_SOUND, "u-1", is_final=True)
    ann.say("hello?", "u-2")
    ann.client.cancel("u-1")
    assert ann.errors() == ["CANCELLED"]
    assert h.core._talk.hearing.memory.held_bytes == 0
    talker(h, "s-2", src_lang="es", tgt_lang="").enter("tea", "es")
    assert node.assignment().request_id == "u-2"

"""Who cancels an utterance stops each job of it, whether it has heard which they are or not."""

from talkers import SECOND_OF_SOUND, talker, yard

from pointsman_wire.lane_messages import CancelJob

TWO_WAYS = {"mode": "two_way", "lang_a": "en", "lang_b": "es", "tgt_lang": "es"}


def test_an_utterance_into_two_languages_is_cancelled_by_its_own_id() -> None:
    h, node = yard()
    ann = talker(h)
    ann.say("hello", tgt_langs=["es", "fr"])
    jobs = node.assignments()
    ann.client.cancel("u-1")
    stopped = h.take(node.connection, CancelJob)
    assert [c.dispatch for c in stopped] == [job.dispatch for job in jobs]
    for job in jobs:
        node.end(job, status="cancelled")
    assert [r.status for r in ann.results()] == ["cancelled"] * 2
    assert ann.errors() == []


def test_an_utterance_that_waits_for_a_slot_is_cancelled_by_its_own_id() -> None:
    h, node = yard(slots=1)
    ann = talker(h)
    ann.say("hello", tgt_langs=["es", "fr"])
    node.end(node.assignment())
    node.assignment()
    ann.say("good day", "u-2", tgt_langs=["es", "fr"])
    ann.client.cancel("u-2")
    assert [(r.request_id, r.status) for r in ann.results()[1:]] == [
        ("u-2:es", "cancelled"),
        ("u-2:fr", "cancelled"),
    ]


def test_nothing_is_translated_of_what_was_cancelled_while_it_was_recognised() -> None:
    """Also where the node had recognised it before it heard of that."""
    h, node = yard()
    ann = talker(h, **TWO_WAYS)
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    recognition = node.assignment()
    ann.client.cancel("u-1")
    assert len(h.take(node.connection, CancelJob)) == 1
    node.end(recognition, b"buenos dias", meta={"src_lang": "es"})
    assert node.assignments() == []
    assert h.core.shard.talks == {}


def test_a_cancel_of_what_is_cancelled_already_finds_nothing() -> None:
    h, node = yard()
    ann = talker(h)
    ann.say("hello", tgt_langs=["es", "fr"])
    assert len(node.assignments()) == 2
    ann.client.cancel("u-1")
    assert ann.errors() == []
    ann.client.cancel("u-1")
    assert ann.errors() == ["NOT_FOUND"]

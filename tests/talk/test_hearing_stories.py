"""Stories of people who speak in pieces: when an utterance ends, what it may cost, what is kept."""

import gc
from collections.abc import Iterator

import pytest
from talkers import SECOND_OF_SOUND, Talker, talker, yard
from worker_harness import Node

from pointsman_shm.config import TalkConfig
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import JobAccepted, SessionClose
from pointsman_wire.talk.talk_messages import UtteranceJobs
from pointsman_workers.core.state import Session
from pointsman_workers.talk.nouns import Hearing

TENTH = b"\x05\x06" * 1_600


def sounds(node: Node) -> list[bytes]:
    """The samples of what the node got."""
    sent = node.harness.sent.get(node.connection, [])
    return [payload[44:] for message, payload in sent if isinstance(message, Assign)]


def hearings() -> Iterator[Hearing]:
    return (found for found in gc.get_objects() if isinstance(found, Hearing))


def test_pieces_become_one_job_with_the_final_one() -> None:
    h, node = yard()
    ann = talker(h)
    for seq in range(3):
        ann.speak(seq, bytes([seq, seq]) * 100, is_final=seq == 2)
    assert sounds(node) == [b"".join(bytes([seq, seq]) * 100 for seq in range(3))]
    assert ann.client.one(JobAccepted).jobs[0].request_id == "u-1"
    assert h.core._talk.hearing.memory.held_bytes == 0


def test_pieces_out_of_order_twice_and_late_are_one_utterance() -> None:
    h, node = yard()
    ann = talker(h)
    ann.speak(2, b"ccc.", is_final=True)
    ann.speak(0, b"aaa.")
    ann.speak(0, b"xxx.")
    assert sounds(node) == []
    ann.speak(1, b"bbb.")
    assert sounds(node) == [b"aaa.bbb.ccc."]
    ann.speak(3, b"ddd.")
    ann.speak(1, b"bbb.")
    job = node.assignment()
    node.acknowledge(job.number)
    h.advance(5)
    assert node.assignments() == []
    assert ann.steps().count("INPUT_STARTED") == 1


def test_three_seconds_of_silence_end_it_with_what_is_there() -> None:
    h, node = yard()
    ann = talker(h)
    ann.speak(0, b"aaaa")
    h.advance(2.5)
    ann.speak(2, b"cccc")
    h.advance(2.5)
    assert sounds(node) == []
    h.advance(0.7)
    assert sounds(node) == [b"aaaacccc"]


def test_twenty_seconds_of_sound_end_it() -> None:
    h, node = yard()
    ann = talker(h)
    for seq in range(21):
        ann.speak(seq, SECOND_OF_SOUND)
    assert [len(sound) for sound in sounds(node)] == [20 * 32_000]


def test_an_utterance_goes_on_when_its_speaker_is_lost_and_ends_by_silence() -> None:
    h, node = yard()
    ann = talker(h)
    ann.speak(0, b"aaaa")
    ann.client.hang_up()
    h.advance(4)
    assert sounds(node) == [b"aaaa"]
    node.end(node.assignment())
    back = Talker(h.open_session("s-1", resume_token=ann.client.ack.resume_token))
    assert [r.request_id for r in back.results()] == ["u-1"]


def test_closing_with_flush_says_what_was_spoken_and_without_drops_it() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2")
    ann.speak(0, b"aaaa")
    ben.speak(0, b"bbbb")
    h.receive(ann.client.connection, SessionClose(flush=True))
    h.receive(ben.client.connection, SessionClose(flush=False))
    assert sounds(node) == [b"aaaa"]
    node.end(node.assignment())
    assert [r.request_id for r in ann.results()] == ["u-1"]
    assert h.core._talk.hearing.memory.held_bytes == 0
    assert h.core._talk.voices.by_session == {}


def test_memory_of_a_session_and_of_a_worker_is_bounded_and_others_go_on() -> None:
    h, node = yard(talk=TalkConfig(session_bytes_max=8_192, worker_bytes_max=12_000))
    ann, ben, eve = (talker(h, f"s-{n}") for n in range(3))
    ann.speak(0, TENTH)
    ann.speak(1, TENTH)
    ann.speak(2, TENTH)
    assert "the session's memory" in ann.client.one(Error).error.message
    ben.speak(0, TENTH * 2)
    eve.speak(0, TENTH)
    eve.speak(1, TENTH)
    refused = eve.client.one(Error).error
    assert refused.code == "QUEUE_FULL"
    assert "this worker's memory" in refused.message
    ben.speak(1, b"", is_final=True)
    assert sounds(node) == [TENTH * 2]
    assert ben.errors() == []
    assert h.core._talk.hearing.memory.held_bytes == 0
    ann.speak(0, TENTH, "u-2", is_final=True)
    assert len(sounds(node)) == 2


def test_more_pieces_a_second_than_may_be_are_dropped_and_told_once() -> None:
    h, _ = yard(talk=TalkConfig(pieces_per_second_max=3, sound_s=1.0))
    ann = talker(h)
    for seq in range(6):
        ann.speak(seq, b"aa")
    assert ann.errors() == ["RATE_LIMITED"]
    assert h.core._talk.voices.by_session[ann_session(ann)].sound_bytes == 3 * (2 + 160)
    h.advance(1.1)
    ann.speak(6, b"aa")
    assert ann.errors() == []


def test_an_utterance_that_is_sent_again_after_a_lost_connection_does_not_come_too_fast() -> None:
    h, node = yard()
    ann = talker(h)
    pieces = [SECOND_OF_SOUND[:640]] * 900  # 18 seconds, in pieces of 20 ms
    for seq, piece in enumerate(pieces):
        ann.speak(seq, piece)
        h.advance(0.02)
    ann.client.hang_up()
    back = talker(h, resume_token=ann.client.ack.resume_token)
    for seq, piece in enumerate(pieces):
        back.speak(seq, piece)
    back.speak(900, b"", is_final=True)
    assert back.errors() == []
    assert len(sounds(node)[0]) == len(pieces) * 640


def test_whoever_goes_on_sending_pieces_too_fast_is_held_to_the_rate() -> None:
    h, _ = yard(talk=TalkConfig(pieces_per_second_max=10, sound_s=2.0))
    ann = talker(h)
    for _ in range(5):
        for seq in range(100):
            ann.speak(seq, b"aa")
        h.advance(1.0)
    sound = h.core._talk.voices.by_session[ann_session(ann)]
    assert ann.errors() == ["RATE_LIMITED"] * 5
    assert sound.sound_bytes == 20 * (2 + 160), "what came in the first moment, and nothing new"


def ann_session(ann: Talker) -> Session:
    return ann.harness.core.shard.sessions["", ann.session_id]


def test_more_utterances_at_once_than_may_be_are_refused_once_each() -> None:
    h, _ = yard(talk=TalkConfig(utterances_open_max=2))
    ann = talker(h)
    for number in range(3):
        ann.speak(0, b"aa", f"u-{number}")
        ann.speak(1, b"aa", f"u-{number}")
    assert ann.errors() == ["RATE_LIMITED"]


def test_no_sound_at_all_and_sound_of_an_unknown_kind_are_told() -> None:
    h, node = yard()
    ann = talker(h)
    ann.speak(0, b"", is_final=True)
    ann.speak(0, b"OggS", "u-2", content_type="audio/ogg", is_final=True)
    assert ann.errors() == ["INVALID_MESSAGE", "INVALID_MESSAGE"]
    assert node.assignments() == []


@pytest.mark.parametrize("ending", ["final", "closed", "idle"])
def test_nothing_of_the_sound_is_kept_when_it_is_over(ending: str) -> None:
    h, node = yard()
    ann = talker(h)
    secret = b"what-was-said-in-confidence."
    ann.speak(0, secret, is_final=ending == "final")
    assert secret.decode() not in "".join(map(repr, hearings()))
    if ending == "final":
        h.feed()
        job = h.core.shard.sessions["", "s-1"].open_jobs["u-1"]
        assert secret.decode() not in repr(job)
        assert job.durability == "memory", "it is never written down"
        node.end(node.assignment(), b"translated")
        assert job.payload == b""
    elif ending == "closed":
        h.receive(ann.client.connection, SessionClose(flush=False))
    else:
        ann.client.hang_up()
        h.advance(40)
    assert all(hearing.sound.as_file() == b"" for hearing in hearings() if hearing.is_over)
    assert h.core._talk.hearing.memory.held_bytes == 0


def test_all_jobs_of_an_utterance_are_named_first_and_again_to_who_repeats_it() -> None:
    h, _ = yard()
    ann = talker(h)
    ann.speak(0, SECOND_OF_SOUND, tgt_langs=["es", "fr"])
    ann.speak(1, b"", is_final=True)
    assert [jobs.request_ids for jobs in ann.client.all(UtteranceJobs)] == [["u-1:es", "u-1:fr"]]
    ann.speak(1, b"", is_final=True)
    assert ann.client.all(UtteranceJobs) == [], "its connection has heard it"
    again = Talker(h.open_session("s-1", resume_token=ann.client.ack.resume_token))
    again.speak(0, SECOND_OF_SOUND)
    again.speak(1, b"", is_final=True)
    assert [jobs.request_ids for jobs in again.client.all(UtteranceJobs)] == [["u-1:es", "u-1:fr"]]


def test_what_is_cancelled_while_it_is_spoken_becomes_no_job() -> None:
    """It had become one three seconds later, and was told to who listens."""
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2", hears="es")
    ann.speak(0, SECOND_OF_SOUND, to=["s-2"])
    ann.client.cancel("u-1")
    assert ann.errors() == ["CANCELLED"]
    assert (ann.steps(), ben.steps()) == (["INPUT_STARTED", "ERROR"],) * 2
    ann.speak(1, SECOND_OF_SOUND, to=["s-2"], is_final=True)
    h.advance(4)
    assert node.assignments() == []
    assert h.core._talk.hearing.memory.held_bytes == 0
    ann.speak(0, SECOND_OF_SOUND, "u-2", is_final=True)
    assert node.assignment().request_id == "u-2"

"""Stories of what talk keeps from whom, and how much of it: scopes, bounds, names, endings."""

import sys

import msgspec
import pytest
from entrance.tokens_at_hand import ACME, SENDER, strict_worker
from talkers import SECOND_OF_SOUND, Talker, talker, yard
from worker_harness import Node

from pointsman_shm.config import LimitsConfig
from pointsman_wire.limits import REQUEST_ID_LENGTH_MAX
from pointsman_wire.session_messages import (
    JobAccepted,
    ResultAck,
    SessionClose,
    SessionClosed,
    Submit,
)
from pointsman_wire.talk.talk_messages import RoomState
from pointsman_workers.core.state import Job

NO_LANGUAGE = "x" * 32
SAID = "w" * 4_000
# What a listener's copy of it takes: its place, and what was said.
COPY_BYTES = 256 + sum(map(sys.getsizeof, ({"said": SAID}, "said", SAID)))


def test_who_resumes_with_a_token_that_may_not_read_is_not_told_who_is_in_the_room() -> None:
    worker = strict_worker()
    ann = Talker(worker.open_session("s-1", token=ACME, src_lang="en"))
    ben = Talker(worker.open_session("s-2", token=ACME, src_lang="es"))
    ann.enter("tea", "en", "Ann")
    ben.enter("tea", "es", "Ben")
    ben.client.hang_up()
    resume_token = ben.client.ack.resume_token
    again = Talker(worker.open_session("s-2", token=SENDER, resume_token=resume_token))
    ann.enter("tea", "en", "Ann B.")
    assert again.client.all(RoomState) == []
    assert ann.members() == [("en", True), ("es", True)]


def say_much(ann: Talker, node: Node) -> None:
    """Say forty times 4,000 letters to "s-2", which become nothing, and acknowledge one's own."""
    for number in range(40):
        ann.say(SAID, f"u-{number}", to=["s-2"])
        job = node.assignment()
        node.acknowledge(job.number)
        node.end(job, b"")
        ann.harness.receive(
            ann.client.connection, ResultAck(results=[(0, ann.results()[-1].number)])
        )


def test_what_waits_for_a_listener_is_bounded_whatever_little_it_is() -> None:
    h, node = yard(slots=1, limits=LimitsConfig(results_queue_bytes_max=64 * 1024))
    ann, ben = talker(h), talker(h, "s-2", hears="es")
    ben.client.hang_up()
    say_much(ann, node)
    most = 64 * 1024 // COPY_BYTES
    assert h.core.shard.sessions["", "s-2"].copies_bytes == most * COPY_BYTES
    back = talker(h, "s-2", hears="es", resume_token=ben.client.ack.resume_token)
    assert len(back.results()) == most
    assert h.core.shard.sessions["", "s-2"].copies_bytes == 0
    back.client.hang_up()
    assert h.core.shard.sessions["", "s-2"].copies_bytes == most * COPY_BYTES, "none was read"


def test_what_a_listener_does_not_acknowledge_is_bounded_with_what_was_said() -> None:
    h, node = yard(slots=1, limits=LimitsConfig(results_queue_bytes_max=64 * 1024))
    ann, ben = talker(h), talker(h, "s-2", hears="es")
    say_much(ann, node)
    session, at_once = h.core.shard.sessions["", "s-2"], 64 * 1024 // COPY_BYTES
    for _ in ("what was sent", "what was held"):
        told = ben.results()
        assert len(told) == at_once
        h.receive(ben.client.connection, ResultAck(results=[(0, told[-1].number)]))
    assert (session.unread_bytes, session.copies_bytes) == (0, 0)


def test_what_was_spoken_in_two_languages_is_translated_before_the_session_closes() -> None:
    h, node = yard()
    ann = talker(h, mode="two_way", lang_a="en", lang_b="es")
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    heard = node.assignment()
    h.receive(ann.client.connection, SessionClose(flush=True))
    node.acknowledge(heard.number)
    node.end(heard, b"hello", meta={"src_lang": "en"})
    job = node.assignment()
    assert (job.src_lang, job.tgt_lang) == ("en", "es")
    assert ann.client.all(SessionClosed) == []
    ann.say("too late", "u-2")
    assert ann.errors() == ["SESSION_CLOSED"]
    node.acknowledge(job.number)
    node.end(job, b"hola")
    assert [result.request_id for result in ann.results()] == ["u-1:asr", "u-1"]
    assert len(ann.client.all(SessionClosed)) == 1


def test_no_request_gets_an_id_that_no_message_could_name() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2", hears=NO_LANGUAGE)
    ann.say("hello", "u" * 96, tgt_langs=["es"], tgt_lang=NO_LANGUAGE, services=["tone"])
    assert ann.errors() == ["INVALID_MESSAGE"]
    ann.say("hello", "u-2", to=["s-2"], tgt_lang="es")
    assert ann.errors() == ["NOT_FOUND"], "who hears no language hears nothing"
    ben.enter("tea", NO_LANGUAGE)
    assert ben.errors() == ["INVALID_MESSAGE"]
    assert node.assignments() == []
    ann.say("hello", "u" * 96, tgt_langs=["es", "fr"], services=["nmt"])
    [told] = ann.client.all(JobAccepted)
    assert all(len(job.request_id) <= REQUEST_ID_LENGTH_MAX for job in told.jobs)


GROWS = "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}" * 128  # in lower case twice as long


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ({}, {"src_lang": GROWS}),
        ({"src_lang": GROWS}, {}),
        ({"mode": "two_way", "lang_a": GROWS, "lang_b": "es"}, {}),
        ({"mode": "two_way", "lang_a": "es", "lang_b": GROWS}, {}),
        ({"order": "utterance"}, {"utterance_index": 2**63 - 1}),
    ],
)
def test_whatever_is_said_becomes_no_job_that_a_successor_could_not_read(
    init: dict[str, object], said: dict[str, object]
) -> None:
    """It is written down as it is placed, and a worker does not start on what it cannot read."""
    h, _ = yard()
    ann = talker(h, **init)  # type: ignore[arg-type]
    ann.say("hello", "u-1", **said)
    ann.say("hello", "u-2")
    for job in h.core.shard.window.by_key.values():
        assert isinstance(job, Job)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(job.submit), type=Submit)

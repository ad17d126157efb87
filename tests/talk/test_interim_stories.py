"""Stories of what is recognised while it is spoken: when, at whose cost, and what is kept of it."""

from typing import Any

import pytest
from talkers import SECOND_OF_SOUND, Talker, another_node, talker, tell, yard
from worker_harness import Node, WorkerHarness

from pointsman_shm.config import ListedTenant, TalkConfig, TenantsConfig
from pointsman_wire.lane_messages import Assign, CancelJob
from pointsman_wire.session_messages import Result, SessionClose
from pointsman_wire.talk.talk_messages import RoomJoin
from pointsman_workers.core.events import PressureMeasured
from pointsman_workers.core.overload import Pressure

TENTH = SECOND_OF_SOUND[: len(SECOND_OF_SOUND) // 10]


def speak(person: Talker, *, tenths: int, first: int = 0, **fields: Any) -> None:
    """Send so much sound, in pieces of 100 ms, that is to be recognised meanwhile."""
    for seq in range(first, first + tenths):
        person.speak(seq, TENTH, partials=True, **fields)


def nothing_is_left(h: WorkerHarness) -> bool:
    """Is the worker as if nobody had spoken?"""
    shard = h.core.shard
    held = h.core._talk.hearing.memory.held_bytes
    return not (shard.talks or shard.open_job_count or held or h.held(3))


def test_after_a_second_what_is_spoken_is_recognised_and_shown_to_all_who_hear_it() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2", hears="es")
    speak(ann, tenths=9, to=["s-2"])
    assert node.assignments() == []
    speak(ann, tenths=1, first=9, to=["s-2"])
    look = node.assignment()
    assert (look.services, look.src_lang, look.priority) == (["asr"], "en", "bulk")
    assert look.session_id != ann.session_id
    node.acknowledge(look.number)
    node.end(look, b"good", meta={"heard": "good"})
    assert ann.steps() == ["INPUT_STARTED", "ASR_PARTIAL"]
    [_, partial] = ben.events()
    assert (partial.event, partial.text, partial.speaker) == ("ASR_PARTIAL", "good", "s-1")
    assert ann.client.all(Result) == [], "no client has such a job"
    assert len(h.core.shard.window) == 0
    assert h.core.shard.window.ended_count == 0
    h.receive(ann.client.connection, SessionClose(flush=False))
    assert nothing_is_left(h)


def test_all_looks_together_hear_at_most_five_times_the_sound() -> None:
    h, node = yard()
    ann = talker(h)
    looked_bytes = count = 0
    for first in range(0, 190, 1):
        speak(ann, tenths=1, first=first)
        for message, payload in h.sent.pop(node.connection, []):
            if isinstance(message, Assign):
                looked_bytes += len(payload)
                count += 1
                node.end(message, b"word " * count)
    assert count > 8
    assert looked_bytes < 5 * 190 * len(TENTH)
    assert ann.steps().count("ASR_PARTIAL") == count


def test_one_look_at_a_time_and_the_end_cancels_it_before_the_job_goes_out() -> None:
    h, node = yard()
    ann = talker(h)
    speak(ann, tenths=40)
    look = node.assignment()
    tell(node, look, "asr_partial", "good")
    ann.speak(40, TENTH, is_final=True)
    [cancelled] = h.take(node.connection, CancelJob)
    assert cancelled.dispatch == look.dispatch
    job = node.assignment()
    assert (job.request_id, job.session_id) == ("u-1", "s-1")
    node.end(look, b"good morning")
    assert ann.steps() == ["INPUT_STARTED", "ASR_PARTIAL", "INPUT_ENDED", "DISPATCHED"]
    node.end(job, b"x", meta={"heard": "good morning"})
    assert [result.request_id for result in ann.results()] == ["u-1"]
    assert nothing_is_left(h)


def test_words_that_come_again_from_the_beginning_are_not_shown_as_fewer() -> None:
    h, node = yard()
    ann = talker(h)
    speak(ann, tenths=10)
    node.end(node.assignment(), b"one two")
    speak(ann, tenths=10, first=10)
    look = node.assignment()
    for words in ("one", "one two", "one two three"):
        h.now_ns += 200_000_000
        tell(node, look, "asr_partial", words)
    assert [e.text for e in ann.events() if e.event == "ASR_PARTIAL"] == [
        "one two",
        "one two three",
    ]


@pytest.mark.parametrize("wish", ["nothing", "wav", "text alone"])
def test_who_does_not_ask_for_it_gets_none(wish: str) -> None:
    h, node = yard()
    ann = talker(h)
    if wish == "wav":
        speak(ann, tenths=20, content_type="audio/wav")
    elif wish == "text alone":
        speak(ann, tenths=20, services=["nmt"])
    else:
        ann.speak(0, SECOND_OF_SOUND * 2)
    assert node.assignments() == []


def busy(h: WorkerHarness, node: Node) -> None:
    """Somebody waits."""
    client = h.open_session("busy", src_lang="en", tgt_lang="es")
    for number in range(9):
        client.submit(f"r-{number}", services=["nmt"], src_lang="en", tgt_lang="es")
    assert h.core.shard.waiting.count
    node.assignments()


def test_while_anybody_waits_there_is_none_and_nothing_is_refused_or_queued() -> None:
    h, node = yard(slots=8)
    ann = talker(h)
    busy(h, node)
    waiting = h.core.shard.waiting.count
    speak(ann, tenths=30)
    assert node.assignments() == []
    assert h.core.shard.waiting.count == waiting
    assert ann.steps() == ["INPUT_STARTED"]


def test_where_every_slot_is_taken_the_next_look_is_tried_with_more_sound() -> None:
    h, node = yard(slots=1)
    ann = talker(h)
    client = h.open_session("busy", src_lang="en", tgt_lang="es")
    client.submit("r-1", services=["nmt"], src_lang="en", tgt_lang="es")
    taken = node.assignment()
    speak(ann, tenths=15)
    assert node.assignments() == []
    assert h.core.shard.talks == {}
    node.end(taken)
    speak(ann, tenths=5, first=15)
    assert node.assignment().services == ["asr"]


def test_of_a_tenants_rate_a_look_takes_one_and_of_its_open_jobs_none() -> None:
    few = ListedTenant(name="few", jobs_max=5)
    slow = ListedTenant(name="slow", jobs_per_s=0.001, burst=1)
    h, node = yard(tenants=TenantsConfig(listed=(few, slow)))
    speak(talker(h, tenant="few"), tenths=20)
    assert node.assignments() == []
    ann = talker(h, "s-2", tenant="slow")
    speak(ann, tenths=10)
    node.end(node.assignment(), b"word")
    speak(ann, tenths=20, first=10)
    assert node.assignments() == []
    assert ann.steps() == ["INPUT_STARTED", "ASR_PARTIAL"]


def test_under_pressure_there_is_none() -> None:
    h, node = yard()
    ann = talker(h)
    h.feed(PressureMeasured(Pressure(memory=0.85)))
    speak(ann, tenths=20)
    assert node.assignments() == []


def test_looks_count_as_memory_for_sound() -> None:
    bounds = TalkConfig(session_bytes_max=100_000, sound_bytes_max=90_000)
    h, node = yard(talk=bounds)
    ann = talker(h)
    speak(ann, tenths=10)
    assert h.core._talk.hearing.memory.held_bytes > 2 * len(SECOND_OF_SOUND)
    node.end(node.assignment(), b"word")
    speak(ann, tenths=10, first=10)
    assert node.assignments() == [], "twice two seconds have no room"


def test_a_node_that_goes_takes_its_look_with_it() -> None:
    h, node = yard()
    ann = talker(h)
    speak(ann, tenths=10)
    node.assignment()
    node.hang_up()
    h.advance(12)
    assert ann.steps() == ["INPUT_STARTED", "INPUT_ENDED", "ERROR"], "nobody else can do it"
    assert nothing_is_left(h)


def test_nothing_of_what_was_said_is_printed_or_kept() -> None:
    h, node = yard()
    ann = talker(h)
    secret = b"what-was-said-in-confidence."
    ann.speak(0, secret + SECOND_OF_SOUND, partials=True)
    [hearing] = h.core._talk.voices.of(h.core.shard.sessions["", "s-1"]).hearing.values()
    look = hearing.look
    assert look is not None
    tell(node, node.assignment(), "asr_partial", secret.decode())
    printed = repr((hearing, look, h.core.shard.talks, hearing.voice, hearing.sound))
    assert secret.decode() not in printed
    h.receive(ann.client.connection, SessionClose(flush=False))
    assert (look.payload, look.output, look.is_open) == (b"", b"", False)
    assert h.core.shard.window.find(look.key) is None


def test_a_look_that_fails_is_tried_nowhere_else_and_is_the_last() -> None:
    """Sound that brings nodes down must not be shown to one after the other."""
    h, node = yard()
    other = another_node(h)
    ann = talker(h)
    speak(ann, tenths=10)
    [(holder, [look])] = [(n, found) for n in (node, other) if (found := n.assignments())]
    holder.end(look, b"", status="failed", code="INTERNAL_ERROR")
    speak(ann, tenths=50, first=10)
    assert node.assignments() == [] == other.assignments()
    ann.speak(60, b"", is_final=True)
    assert [job.request_id for n in (node, other) for job in n.assignments()] == ["u-1"]


def test_in_a_room_the_language_of_who_speaks_is_recognised() -> None:
    h, node = yard()
    ben = talker(h, "s-2", src_lang="", tgt_lang="")
    h.receive(ben.client.connection, RoomJoin(room="tea", lang="es"))
    speak(ben, tenths=10)
    assert node.assignment().src_lang == "es"

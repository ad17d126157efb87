"""Stories of people who talk: what becomes of what they say, and who sees and hears it."""

from msgspec.structs import replace
from talkers import SECOND_OF_SOUND, Talker, another_node, talker, tell, yard
from worker_harness import Host, WorkerHarness

from pointsman_shm.config import Config, TalkConfig
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    JobAccepted,
    MissingResult,
    Moved,
    Result,
    ResultAck,
    SessionClose,
    SessionInit,
    SessionInitAck,
)
from pointsman_wire.shards import shard_of
from pointsman_wire.talk.talk_messages import RoomJoin, RoomLeave, RoomState, UiEvent, Utterance


def test_a_text_is_translated_and_spoken_and_every_step_is_shown() -> None:
    h, node = yard()
    ann = talker(h)
    ann.say("hello")
    job = node.assignment()
    assert (job.services, job.src_lang, job.tgt_lang) == (["nmt", "tts"], "en", "es")
    assert job.request_id == "u-1"
    node.acknowledge(job.number)
    tell(node, job, "nmt", "hola")
    node.end(job, b"sound")
    events = ann.events()
    assert [e.event for e in events] == ["DISPATCHED", "NODE_ACCEPTED", "NMT_DONE"]
    assert events[0].node_id == "node-3"
    assert events[0].pool
    assert events[2].text == "hola"
    assert [(r.request_id, r.status) for r in ann.results()] == [("u-1", "completed")]
    assert h.core.shard.talks == {}


def test_sound_goes_through_the_whole_pipeline_and_names_what_it_is() -> None:
    h, node = yard()
    ann = talker(h)
    message = Utterance(utterance_id="u-1", content_type="audio/pcm;rate=16000")
    h.receive(ann.client.connection, message, SECOND_OF_SOUND)
    [(job, payload)] = [(m, p) for m, p in h.sent[node.connection] if isinstance(m, Assign)]
    assert job.services == ["asr", "nmt", "tts"]
    assert job.content_type == "audio/wav"
    assert payload.startswith(b"RIFF")
    assert payload.endswith(SECOND_OF_SOUND)


def test_stages_that_the_node_only_names_in_its_result_are_shown_before_it() -> None:
    h, node = yard()
    ann = talker(h)
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    job = node.assignment()
    tell(node, job, "asr_partial", "good")
    tell(node, replace(job, job_id="another"), "asr", "of another job")
    node.end(job, b"x", meta={"heard": "good day", "src_lang": "en", "translation": "buen dia"})
    events = ann.events()
    assert [e.event for e in events] == [
        *("INPUT_STARTED", "INPUT_ENDED", "DISPATCHED"),
        *("NODE_ACCEPTED", "ASR_PARTIAL", "ASR_FINAL", "NMT_DONE"),
    ]
    assert [e.text for e in events[-3:]] == ["good", "good day", "buen dia"]


def test_what_is_recognised_so_far_is_shown_ten_times_a_second_at_most() -> None:
    h, node = yard()
    ann = talker(h)
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    job = node.assignment()
    for number in range(40):
        tell(node, job, "asr_partial", "word " * number)
        h.now_ns += 10_000_000
    tell(node, job, "asr", "word")
    steps = ann.steps()
    assert steps.count("ASR_PARTIAL") == 4
    assert steps[-1] == "ASR_FINAL"


def test_one_utterance_goes_into_several_languages_each_once() -> None:
    h, node = yard()
    ann = talker(h, order="utterance")
    ann.say("hello", tgt_langs=["es", "fr", "ES"])
    jobs = {job.request_id: job for job in node.assignments()}
    assert {name: job.tgt_lang for name, job in jobs.items()} == {"u-1:es": "es", "u-1:fr": "fr"}
    node.end(jobs["u-1:fr"])
    node.end(jobs["u-1:es"])
    assert {r.utterance_index for r in ann.results()} == {0}


def test_named_sessions_hear_it_in_their_language_numbered_and_kept_for_them() -> None:
    """Results of others are numbered, acknowledged and sent again like one's own."""
    h, node = yard()
    ann, ben, eve = talker(h), talker(h, "s-2", hears="fr"), talker(h, "s-3", hears="es")
    ann.say("hello", to=["s-2", "s-3"])
    jobs = {job.tgt_lang: job for job in node.assignments()}
    assert set(jobs) == {"fr", "es"}
    ben.client.hang_up()
    node.end(jobs["es"])
    node.end(jobs["fr"], b"salut")
    assert [r.request_id for r in ann.results()] == ["u-1:es", "u-1:fr"]
    [heard] = eve.results()
    assert (heard.request_id, heard.speaker, heard.number) == ("u-1:es", "s-1", 1)
    token = ben.client.ack.resume_token
    back = Talker(h.open_session("s-2", hears="fr", resume_token=token))
    [heard] = back.results()
    assert (heard.request_id, heard.speaker, heard.number) == ("u-1:fr", "s-1", 1)
    back.client.hang_up()
    again = Talker(h.open_session("s-2", hears="fr", resume_token=token))
    assert len(again.results()) == 1, "it was not acknowledged"
    h.receive(again.client.connection, ResultAck(results=[(0, 1)]))
    again.client.hang_up()
    assert Talker(h.open_session("s-2", hears="fr", resume_token=token)).results() == []


def test_who_has_not_said_what_it_hears_is_spoken_to_by_nobody() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2")
    ann.say("hello", to=["s-2"])
    ann.say("hello", "u-2", to=["s-9"])
    assert ann.errors() == ["NOT_FOUND", "NOT_FOUND"]
    assert ann.steps() == ["ERROR", "ERROR"]
    assert node.assignments() == []
    assert ben.results() == []


def test_a_listener_of_the_same_language_gets_no_translation() -> None:
    h, node = yard()
    ann = talker(h)
    talker(h, "s-2", hears="en-GB")
    ann.say("hello", to=["s-2"])
    job = node.assignment()
    assert (job.services, job.tgt_lang) == (["tts"], "en")


def test_in_a_room_each_hears_the_other_in_their_own_language() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2", src_lang="es", tgt_lang="")
    ann.enter("tea", "en", "Ann")
    ben.enter("tea", "es", "Ben")
    assert ann.members() == [("en", True), ("es", True)] == ben.members()
    ann.say("hello")
    job = node.assignment()
    assert (job.src_lang, job.tgt_lang) == ("en", "es")
    node.end(job, b"hola")
    assert [r.speaker for r in ben.results()] == ["s-1"]
    assert {e.speaker for e in ben.events()} == {"s-1"}
    ben.say("buenas", "b-1")
    job = node.assignment()
    assert (job.src_lang, job.tgt_lang) == ("es", "en")
    node.end(job, b"evening")
    assert [(r.speaker, r.request_id) for r in ann.results()] == [("", "u-1"), ("s-2", "b-1")]


def test_a_full_room_and_a_nameless_one_are_refused_in_words() -> None:
    h, _ = yard()
    people = [talker(h, f"s-{n}") for n in range(3)]
    for person in people:
        person.enter("tea", "en")
    refused = people[2].client.one(Error)
    assert refused.error.code == "QUEUE_FULL"
    assert "full" in refused.error.message
    assert refused.request_id == "tea"
    people[2].enter("", "en")
    people[2].enter("hall", "")
    assert people[2].errors() == ["INVALID_MESSAGE"], "it speaks its source language"
    assert people[2].members() == [("en", True)]


def test_a_room_sees_who_is_lost_who_comes_back_and_who_leaves() -> None:
    h, _ = yard()
    ann, ben = talker(h), talker(h, "s-2")
    ann.enter("tea", "en")
    ben.enter("tea", "es")
    ben.client.hang_up()
    assert ann.members() == [("en", True), ("es", False)]
    back = Talker(h.open_session("s-2", resume_token=ben.client.ack.resume_token))
    assert ann.members() == [("en", True), ("es", True)] == back.members()
    h.receive(back.client.connection, RoomLeave())
    assert back.client.all(RoomState)[-1] == RoomState(room="tea")
    assert ann.members() == [("en", True)]
    ann.say("anybody?")
    assert ann.errors() == ["NOT_FOUND"]
    h.receive(ann.client.connection, SessionClose())
    assert h.core._talk.rooms.rooms == {}


def test_who_stays_away_has_left_the_room() -> None:
    h, _ = yard()
    ann, ben = talker(h), talker(h, "s-2")
    ann.enter("tea", "en")
    ben.enter("tea", "es")
    ben.client.hang_up()
    h.advance(31)
    assert ann.members() == [("en", True)]


def test_playing_is_shown_to_the_speaker_and_nothing_else_may_be_told() -> None:
    h, _ = yard()
    ann, ben = talker(h), talker(h, "s-2")
    ann.enter("tea", "en")
    ben.enter("tea", "es")
    for name in ("TTS_PLAY_STARTED", "TTS_PLAY_ENDED", "NMT_DONE"):
        event = UiEvent(event=name, utterance_id="u-1", speaker="s-1")
        h.receive(ben.client.connection, event)
    assert [(e.event, e.listener) for e in ann.events()] == [
        ("TTS_PLAY_STARTED", "s-2"),
        ("TTS_PLAY_ENDED", "s-2"),
    ]
    assert ben.errors() == ["INVALID_MESSAGE"]


def test_a_room_belongs_to_one_worker_and_others_say_which() -> None:
    host = Host(Config(), worker_count=2)
    workers = [WorkerHarness(host, worker_index=index) for index in range(2)]
    owner = shard_of("tea", 2)
    right, wrong = workers[owner], workers[1 - owner]
    stranger = Talker(wrong.open_session(src_lang="en"))
    wrong.receive(stranger.client.connection, RoomJoin(room="tea", lang="en"))
    moved = stranger.client.one(Moved)
    assert (moved.room, moved.shard, shard_of(moved.session_id, 2)) == ("tea", owner, owner)
    connection = wrong.dial(Role.SESSION)
    wrong.receive(connection, SessionInit(room="tea"))
    moved = wrong.one(connection, Moved)
    assert shard_of(moved.session_id, 2) == owner
    connection = right.dial(Role.SESSION)
    right.receive(connection, SessionInit(room="tea"))
    assert shard_of(right.one(connection, SessionInitAck).session_id, 2) == owner


def test_in_a_session_of_two_languages_what_is_recognised_decides_the_direction() -> None:
    h, node = yard()
    ann = talker(h, mode="two_way", lang_a="en", lang_b="es", tgt_lang="es")
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    first = node.assignment()
    assert (first.request_id, first.services, first.src_lang) == ("u-1:asr", ["asr"], "auto")
    assert first.auto_langs == ["en", "es"]
    node.end(first, "buenos días".encode(), meta={"src_lang": "es-MX", "heard": "buenos días"})
    second = node.assignment()
    assert (second.request_id, second.services) == ("u-1", ["nmt", "tts"])
    assert (second.src_lang, second.tgt_lang) == ("es", "en")
    node.end(second, b"good day")
    assert [r.request_id for r in ann.results()] == ["u-1:asr", "u-1"]


def test_without_word_from_the_node_two_ways_go_as_asked_and_silence_ends_there() -> None:
    h, node = yard()
    ann = talker(h, mode="two_way", lang_a="en", lang_b="es", tgt_lang="en")
    ann.speak(0, SECOND_OF_SOUND, is_final=True)
    node.end(node.assignment(), b"hola")
    job = node.assignment()
    assert (job.src_lang, job.tgt_lang) == ("es", "en")
    node.end(job)
    ann.speak(0, SECOND_OF_SOUND, "u-2", is_final=True)
    node.end(node.assignment(), b"", status="completed_no_text")
    assert node.assignments() == []
    assert h.core.shard.talks == {}


def test_a_failure_is_shown_to_all_with_code_and_hint_and_no_listener_gets_a_result() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2", hears="es")
    ann.say("hello", to=["s-2"])
    failed = {"status": "failed", "code": "INVALID_MESSAGE", "message": "no"}
    node.end(node.assignment(), b"", **failed)
    for person in (ann, ben):
        error = person.events()[-1].error
        assert error is not None
        assert (error.code, error.retryable) == ("INVALID_MESSAGE", False)
        assert error.hint
    assert [r.status for r in ann.results()] == ["failed"]
    assert ben.results() == []


def test_no_node_for_a_pair_is_an_error_with_the_reason() -> None:
    h, _ = yard()
    ann = talker(h)
    ann.say("hello", tgt_lang="ja")
    h.advance(15)
    error = ann.events()[-1].error
    assert error is not None
    assert error.code == "NO_AVAILABLE_NODE"
    assert error.breakdown is not None
    assert h.core.shard.talks == {}


def test_a_speaker_who_leaves_at_once_is_heard_all_the_same() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2", hears="es")
    ann.say("goodbye", to=["s-2"])
    h.receive(ann.client.connection, SessionClose(flush=False))
    node.end(node.assignment(), b"adios")
    assert [r.speaker for r in ben.results()] == ["s-1"]
    assert h.core.shard.talks == {}


def test_an_utterance_that_is_repeated_is_the_same_job_and_is_heard_once() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2", hears="es")
    ann.say("hello", to=["s-2"])
    ann.say("hello", to=["s-2"])
    node.end(node.assignment())
    ann.say("hello", to=["s-2"])
    assert [a.jobs[0].duplicate for a in ann.client.all(JobAccepted)] == [False, True, True]
    assert len(ben.results()) == 1
    assert node.assignments() == []
    assert h.core.shard.talks == {}


def test_a_conflict_does_not_forget_the_job_that_runs() -> None:
    h, node = yard()
    ann, ben = talker(h), talker(h, "s-2", hears="es")
    ann.say("hello", to=["s-2"])
    ann.say("another", to=["s-2"])
    assert ann.errors() == ["CONFLICT"]
    node.end(node.assignment())
    assert len(ben.results()) == 1


def test_utterances_are_heard_in_the_order_in_which_they_were_said() -> None:
    h, node = yard()
    ann, ben = talker(h, order="utterance"), talker(h, "s-2", hears="es")
    ann.say("one", "u-1", to=["s-2"])
    ann.say("two", "u-2", to=["s-2"])
    first, second = node.assignments()
    node.end(second)
    assert ben.results() == []
    node.end(first)
    assert [r.request_id for r in ben.results()] == ["u-1", "u-2"]


def test_an_utterance_that_keeps_others_waiting_is_missed_with_a_reason() -> None:
    h, node = yard()
    ann = talker(h, order="utterance")
    ann.say("one", "u-1")
    ann.say("two", "u-2")
    _, second = node.assignments()
    node.acknowledge(second.number)
    node.end(second)
    h.advance(11)
    assert [(m.utterance_index, m.reason) for m in ann.client.all(MissingResult)] == [
        (0, "running")
    ]
    assert [r.request_id for r in ann.client.all(Result)] == ["u-2"]


def test_more_utterances_than_may_be_open_are_refused() -> None:
    h, node = yard(talk=TalkConfig(utterances_open_max=2))
    ann = talker(h)
    for number in range(3):
        ann.say("hello", f"u-{number}")
    assert ann.errors() == ["RATE_LIMITED"]
    for job in node.assignments():
        node.end(job)
    ann.say("hello", "u-9")
    assert ann.errors() == []


def test_an_empty_utterance_and_one_without_language_are_refused() -> None:
    h, node = yard()
    ann = talker(h, tgt_lang="")
    ann.say("  ")
    ann.say("hello", "u-2")
    assert ann.errors() == ["INVALID_MESSAGE", "INVALID_MESSAGE"]
    assert node.assignments() == []


def test_a_job_that_runs_again_elsewhere_is_shown_again() -> None:
    h, node = yard()
    other = another_node(h)
    ann = talker(h)
    ann.say("hello")
    jobs = {n: n.assignments() for n in (node, other)}
    [(holder, [job])] = [(n, found) for n, found in jobs.items() if found]
    holder.end(job, b"", status="failed", code="MODEL_NOT_AVAILABLE")
    shown = [(e.event, e.node_id) for e in ann.events()]
    second = "node-4" if holder is node else "node-3"
    assert shown[0][0] == "DISPATCHED"
    assert shown[-1] == ("DISPATCHED", second)

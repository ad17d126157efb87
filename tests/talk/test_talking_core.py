"""What the client's core does for people who talk: said once, answered once, whatever breaks."""

from typing import Any

from client_harness import ClientHarness, of, sent
from talkers import becomes, ends, opened, say, speak

from pointsman.session_core.events import CancelWished
from pointsman.session_core.talk_events import (
    PieceSpoken,
    RoomWished,
    TalkHeard,
    UtteranceEnded,
    UtterancePartial,
    UtteranceRefused,
    UtteranceResult,
    UtteranceStep,
    UtteranceWished,
)
from pointsman_wire.errors import Code
from pointsman_wire.link import Dial, Send
from pointsman_wire.messages import Error, error_info
from pointsman_wire.session_messages import (
    Cancel,
    GoingAway,
    Moved,
    Partial,
    Result,
    ResultAck,
    SessionClose,
    SessionInit,
    Submit,
)
from pointsman_wire.talk.talk_messages import (
    AudioChunk,
    RoomJoin,
    RoomLeave,
    RoomMember,
    RoomState,
    UiEvent,
    Utterance,
)


def test_an_utterance_is_over_when_every_job_that_it_became_is_answered() -> None:
    harness = opened()
    assert [m.text for m in sent(say(harness), Utterance)] == ["hello"]
    becomes(harness, "u:es", "u:fr")
    step = harness.say(UiEvent(session_number=1, utterance_id="u", event="DISPATCHED"))
    assert [told.step.event for told in of(step, UtteranceStep)] == ["DISPATCHED"]  # type: ignore[union-attr]
    first = harness.result("u:es")
    assert [came.result.request_id for came in of(first, UtteranceResult)] == ["u:es"]
    assert ends(first) == []
    no = error_info(Code.NO_AVAILABLE_NODE, "nobody")
    second = harness.say(Error(no, session_number=1, request_id="u:fr"))
    assert [refused.request_id for refused in of(second, UtteranceRefused)] == ["u:fr"]
    assert ends(second) == [None]
    assert harness.core.open_requests == 0


def test_an_utterance_that_is_refused_as_a_whole_ends_with_the_error() -> None:
    harness = opened()
    say(harness)
    no = error_info(Code.RATE_LIMITED, "too many")
    assert ends(harness.say(Error(no, session_number=1, request_id="u"))) == ["RATE_LIMITED"]
    assert ends(say(harness, ticket=8)) == []
    assert ends(say(harness, ticket=9)) == ["CONFLICT"], "it is open already"


def test_sound_goes_out_as_it_is_spoken_and_again_after_a_lost_connection() -> None:
    harness = opened()
    commands = speak(harness, b"ab", b"cd", is_over=False)
    assert [(m.seq, m.is_final) for m in sent(commands, AudioChunk)] == [
        (n, False) for n in range(3)
    ]
    again = harness.resume(unfinished={"u": "unknown"})
    assert [m.seq for m in sent(again, AudioChunk)] == [0, 1, 2]
    assert [send.payload for send in of(again, Send) if type(send.message) is AudioChunk] == [
        b"",
        b"ab",
        b"cd",
    ]
    last = harness.feed(PieceSpoken(ticket=7, payload=b"", is_final=True))
    assert [(m.seq, m.is_final) for m in sent(last, AudioChunk)] == [(3, True)]
    assert harness.feed(PieceSpoken(ticket=7, payload=b"late", is_final=False)) == []


def test_a_large_piece_goes_out_in_pieces_that_fit_a_frame() -> None:
    harness = opened()
    sound = bytes(range(256)) * 10_000
    commands = speak(harness, sound)
    chunks = [send for send in of(commands, Send) if type(send.message) is AudioChunk]
    assert b"".join(send.payload for send in chunks) == sound
    assert max(len(send.payload) for send in chunks) <= 1024 * 1024
    told = sent(commands, AudioChunk)
    assert [chunk.seq for chunk in told] == [*range(len(chunks))]
    assert [chunk.is_final for chunk in told] == [False] * (len(chunks) - 1) + [True]


def test_a_sound_that_fits_no_frame_is_refused_in_words() -> None:
    """It could not be sent, and the connection would end over it again and again."""
    harness = opened()
    message = Utterance(utterance_id="u")
    wish = UtteranceWished(handle=1, ticket=7, message=message, payload=bytes(1024 * 1024 + 1))
    commands = harness.feed(wish)
    assert of(commands, Send) == []
    (ended,) = of(commands, UtteranceEnded)
    assert ended.error is not None
    assert ended.error.code == "INVALID_MESSAGE"
    assert "1048577 bytes, at most 1048576" in ended.error.message


def test_what_the_server_runs_already_is_not_said_again_after_a_lost_connection() -> None:
    harness = opened()
    speak(harness, b"ab")
    becomes(harness, "u:es", "u:fr")
    harness.result("u:es")
    harness.dial(harness.lose() + harness.advance(1))
    commands = harness.accept(resumed=True, unfinished={"u:fr": "running"})
    assert sent(commands, AudioChunk) == []
    assert ends(harness.result("u:fr")) == [None]


def test_a_resumed_session_names_the_jobs_of_its_utterances() -> None:
    harness = opened()
    say(harness)
    becomes(harness, "u:es", "u:fr")
    harness.result("u:es")
    [init] = sent(harness.dial(harness.lose() + harness.advance(1)), SessionInit)
    assert (init.unfinished, init.last_result) == (["u:fr"], 1)


def test_results_that_the_server_kept_meanwhile_are_told_once() -> None:
    harness = opened()
    say(harness)
    becomes(harness, "u:es", "u:fr")
    harness.result("u:es")
    harness.resume(unfinished={"u:fr": "ended"})
    assert of(harness.result("u:es", number=1), UtteranceResult) == []
    assert ends(harness.result("u:fr", number=2)) == [None]
    assert sent(harness.feed(), ResultAck) == []


def test_a_result_that_the_server_said_to_have_and_does_not_send_is_asked_for() -> None:
    harness = opened()
    say(harness)
    becomes(harness, "u")
    harness.resume(unfinished={"u": "ended"})
    assert [m.utterance_id for m in sent(harness.advance(3), Utterance)] == ["u"]


def test_a_forgotten_session_says_its_utterances_again() -> None:
    harness = opened()
    say(harness)
    becomes(harness, "u")
    lost = error_info(Code.INVALID_SESSION, "who?")
    harness.say(Error(lost, session_number=1))
    harness.advance(1)
    assert [m.text for m in sent(harness.accept(session_number=1), Utterance)] == ["hello"]


def test_what_is_said_again_may_become_other_jobs_and_waits_for_no_earlier_ones() -> None:
    """After a worker's death nobody else is in the room yet, so no other language is wanted."""
    harness = opened()
    say(harness)
    becomes(harness, "u:es", "u:fr", "u:de")
    harness.result("u:es")
    assert sent(harness.resume(resumed=False, unfinished={"u:de": "ended"}), Utterance)
    assert ends(harness.result("u:de", number=1)) == [], "the others may yet be done again"
    assert ends(becomes(harness, "u")) == []
    assert ends(harness.result("u")) == [None]


def test_what_is_recognised_is_followed_by_its_translation_even_if_nobody_said_so() -> None:
    """The announcement of the second job was lost with the connection."""
    harness = opened()
    speak(harness, b"ab")
    becomes(harness, "u:asr")
    harness.resume(unfinished={"u:asr": "ended"})
    recognised = harness.result("u:asr")
    assert ends(recognised) == []
    assert ends(harness.result("u")) == [None]


def test_silence_that_is_recognised_is_followed_by_nothing() -> None:
    harness = opened()
    speak(harness, b"ab")
    becomes(harness, "u:asr")
    blank = Result(session_number=1, request_id="u:asr", number=1)
    assert ends(harness.say(blank, payload=b" ")) == [None]


def test_cancelling_ends_what_is_spoken_and_stops_every_job_of_it() -> None:
    harness = opened()
    speak(harness, b"ab", is_over=False)
    commands = harness.feed(CancelWished(7))
    assert [m.is_final for m in sent(commands, AudioChunk)] == [True]
    told = becomes(harness, "u:es", "u:fr")
    assert [m.request_id for m in sent(told, Cancel)] == ["u:es", "u:fr"]
    cancelled = Result(session_number=1, request_id="u:es", number=1, status="cancelled")
    harness.say(cancelled)
    assert ends(harness.resume(unfinished={"u:fr": "unknown"})) == ["CANCELLED"]


def test_a_cancel_that_meets_the_jobs_of_its_utterance_cancels_those() -> None:
    """The server has told them meanwhile, and knows nothing under the utterance's own id."""
    harness = opened()
    say(harness)
    harness.feed(CancelWished(7))
    commands = becomes(harness, "u:es", "u:fr")
    assert [m.request_id for m in sent(commands, Cancel)] == ["u:es", "u:fr"]
    unknown = error_info(Code.NOT_FOUND, "no request 'u' in this session")
    assert ends(harness.say(Error(unknown, session_number=1, request_id="u"))) == []
    for name in ("u:es", "u:fr"):
        commands = harness.say(
            Result(session_number=1, request_id=name, number=1, status="cancelled")
        )
    assert ends(commands) == [None]


def test_what_the_server_never_made_a_job_of_is_cancelled() -> None:
    harness = opened()
    say(harness)
    assert [m.request_id for m in sent(harness.feed(CancelWished(7)), Cancel)] == ["u"]
    unknown = error_info(Code.NOT_FOUND, "no request 'u' in this session")
    assert ends(harness.say(Error(unknown, session_number=1, request_id="u"))) == ["CANCELLED"]


def test_pieces_of_results_are_told_in_order_and_once() -> None:
    harness = opened()
    say(harness)
    becomes(harness, "u")
    pieces = [Partial(session_number=1, request_id="u", attempt=1, seq=n) for n in (0, 1, 1, 0, 2)]
    assert [told.partial.seq for told in of(harness.say(*pieces), UtterancePartial)] == [0, 1, 2]
    anew = Partial(session_number=1, request_id="u", job_id="j-2", attempt=1, seq=0)
    assert of(harness.say(anew), UtterancePartial), "of a job in place of one that was lost"


def test_what_others_say_is_heard_and_acknowledged_once() -> None:
    harness = opened()
    said = Result(session_number=1, request_id="u", number=1, speaker="s-9")
    commands = harness.say(said, payload=b"hola")
    assert [told.payload for told in of(commands, TalkHeard)] == [b"hola"]
    assert [ack.results for ack in sent(commands, ResultAck)] == [[(1, 1)]]
    assert of(harness.say(said, payload=b"hola"), TalkHeard) == []
    step = UiEvent(session_number=1, utterance_id="u", event="DISPATCHED", speaker="s-9")
    assert [told.message for told in of(harness.say(step), TalkHeard)] == [step]
    assert sent(harness.say(step), Error) == [], "the server is told of no mistake"


def test_a_stopping_worker_leaves_utterances_to_its_successor() -> None:
    harness = opened()
    harness.say(GoingAway(reconnect_after_ms=100))
    assert sent(say(harness), Utterance) == []
    harness.dial(harness.advance(2))
    assert [m.text for m in sent(harness.accept(resumed=True), Utterance)] == ["hello"]
    stopping = error_info(Code.SHUTTING_DOWN, "later", retry_after_ms=50)
    assert ends(harness.say(Error(stopping, session_number=1, request_id="u"))) == []


def test_closing_ends_what_is_being_spoken_and_waits_for_its_answer() -> None:
    harness = opened()
    speak(harness, b"ab", is_over=False)
    commands = harness.close()
    assert [m.is_final for m in sent(commands, AudioChunk)] == [True]
    assert sent(commands, SessionClose) == []
    becomes(harness, "u")
    assert len(sent(harness.result("u"), SessionClose)) == 1
    harness = opened()
    speak(harness, b"ab", is_over=False)
    assert ends(harness.close(flush=False)) == ["CANCELLED"]


# ---- rooms


def enter(harness: ClientHarness, room: str = "kitchen") -> list[Any]:
    return harness.feed(RoomWished(handle=1, message=RoomJoin(room=room, lang="en")))


def test_a_room_is_entered_again_after_a_lost_connection_until_it_is_left() -> None:
    harness = opened()
    assert [m.room for m in sent(enter(harness), RoomJoin)] == ["kitchen"]
    state = RoomState(session_number=1, room="kitchen", members=[RoomMember(session="s-1")])
    assert [told.message for told in of(harness.say(state), TalkHeard)] == [state]
    assert [m.room for m in sent(harness.resume(), RoomJoin)] == ["kitchen"]
    assert len(sent(harness.feed(RoomWished(handle=1, message=RoomLeave())), RoomLeave)) == 1
    assert sent(harness.resume(), RoomJoin) == []


def test_a_room_that_is_full_is_told_and_not_entered_again() -> None:
    harness = opened()
    enter(harness)
    full = Error(error_info(Code.QUEUE_FULL, "full"), session_number=1, request_id="kitchen")
    [told] = of(harness.say(full), TalkHeard)
    assert type(told.message) is Error
    assert sent(harness.resume(), RoomJoin) == []


def test_a_session_follows_its_room_to_another_worker_when_all_it_sent_is_answered() -> None:
    """A job that runs is not submitted again under another session id."""
    harness = opened()
    harness.submit("r-1")
    say(harness)
    becomes(harness, "u")
    enter(harness)
    moved = Moved(session_number=1, session_id="s-new", shard=1, worker_count=2, room="kitchen")
    harness.say(moved)
    assert sent(harness.submit("r-2"), Submit) == [], "this one is for the new session"
    assert of(harness.result("r-1"), Dial) == []
    went = harness.result("u")
    assert len(sent(went, SessionClose)) == 1
    [init] = sent(harness.dial(went), SessionInit)
    assert (init.session_id, init.resume_token, init.unfinished) == ("s-new", "", [])
    commands = harness.accept(session_id="s-new")
    assert [m.request_id for m in sent(commands, Submit)] == ["r-2"]
    assert [m.room for m in sent(commands, RoomJoin)] == ["kitchen"]


def test_a_session_that_is_closed_or_leaves_while_it_waits_to_move_stays() -> None:
    for last_wish in ("close", "leave"):
        harness = opened()
        harness.submit("r-1")
        enter(harness)
        harness.say(
            Moved(session_number=1, session_id="s-2", shard=1, worker_count=2, room="kitchen")
        )
        harness.submit("r-2")
        if last_wish == "close":
            commands = harness.close()
        else:
            commands = harness.feed(RoomWished(handle=1, message=RoomLeave()))
        assert [m.request_id for m in sent(commands, Submit)] == ["r-2"]
        assert of(harness.result("r-1"), Dial) == []

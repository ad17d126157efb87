"""The Python client talks: the same stories over the binary protocol and over WebSocket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import wraps
from typing import Any

import pytest
from live.nodes import talking_node
from live.service import PATIENCE_S, LiveService
from live.sessions import session_ids

from pointsman import (
    Heard,
    Job,
    JobFailed,
    JobPartial,
    JobRefused,
    Reply,
    RoomState,
    Session,
    SessionError,
    Trunk,
    UiEvent,
    blocking,
    connect,
)
from pointsman.engines import audio
from pointsman.talking.hearing import Happening

ROOM = "kitchen"
ENDLESS = "3 s"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(params=["", "ws://"], ids=["binary", "web"])
def door(request: pytest.FixtureRequest, service: LiveService) -> str:
    return f"{request.param}{service.address}"


async def work(job: Job) -> Reply:
    """Hear how long a sound is, translate by naming the language, speak a beep; of one sound, hear
    no end."""
    text, meta = "" if "asr" in job.services else job.text, dict[str, str]()
    if text == "fail":
        raise ValueError("it was asked to")
    if "asr" in job.services:
        meta["heard"] = text = f"{audio.read_wav(job.payload).duration_s:g} s"
        if text == ENDLESS:
            await asyncio.Event().wait()  # until it is cancelled
        await job.partial("half", meta={"stage": "asr_partial"})
        await job.partial(text, meta={"stage": "asr"})
    if "nmt" in job.services:
        text = meta["translation"] = f"{text} in {job.tgt_lang}"
        await job.progress(50, "translated")
    if "tts" in job.services:
        return Reply(audio.tone(duration_s=0.1), meta={**meta, "trace": job.trace_id})
    return Reply(text.encode(), meta=meta, content_type="text/plain")


def speaker(service: LiveService, name: str, *languages: str) -> AbstractAsyncContextManager[None]:
    """A node for this test: between English and these."""
    return talking_node(service.address, name, ["en", *languages], work)


def patient(story: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Have a story fail that does not go on."""

    @wraps(story)
    async def bounded(**given: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await story(**given)

    return bounded


def cut(session: Session) -> None:
    """Break its connection, as a network does."""
    for connection in session._shell._driver.alive:
        connection.abort("cut")


async def heard_until(happenings: AsyncIterator[Any], kind: type[Any], text: str = "") -> Any:
    """The next happening of this kind, with this event or text in it."""
    async for happening in happenings:
        said = getattr(happening, "event", "") or getattr(happening, "text", "")
        if type(happening) is kind and text in said:
            return happening
    raise AssertionError(f"the session ended before {kind}")


@patient
async def test_text_goes_into_several_languages_and_its_steps_are_seen(
    service: LiveService, door: str
) -> None:
    async with speaker(service, "t-1", "xa", "xb"), connect(door, src="en") as session:
        saying = session.say("good morning", tgt=["xa", "xb"], services=["nmt"])
        results = await saying.results()
        steps = [step async for step in saying]
        assert sorted(result.text for result in results) == [
            "good morning in xa",
            "good morning in xb",
        ]
        events = [step.event for step in steps if isinstance(step, UiEvent)]
        assert events.count("DISPATCHED") == events.count("NMT_DONE") == 2
        assert (await session.say("good morning", tgt="xa", services=["nmt"]).result()).text


@patient
async def test_sound_is_heard_while_it_is_spoken_and_as_a_whole(
    service: LiveService, door: str
) -> None:
    second = b"\x01\x02" * audio.RECOGNITION_RATE

    async def spoken() -> AsyncIterator[bytes]:
        for n in range(4):
            yield second[n * 8_000 : (n + 1) * 8_000]

    async with (
        speaker(service, "t-2", "xc"),
        connect(door, src="en", tgt="xc", trace_id=TRACE) as session,
    ):
        saying = session.audio(spoken())
        result = await saying.result()
        steps = [step async for step in saying]
        events = [step.event for step in steps if isinstance(step, UiEvent)]
        assert [name for name in events if name != "NODE_ACCEPTED"] == [
            *("INPUT_STARTED", "INPUT_ENDED", "DISPATCHED", "ASR_PARTIAL", "ASR_FINAL", "NMT_DONE")
        ]
        assert [step.text for step in steps if isinstance(step, JobPartial)] == ["half", "1 s"]
        assert any(type(step).__name__ == "Progress" for step in steps)
        assert result.meta["translation"] == "1 s in xc"
        assert result.meta["trace"] == result.trace_id == TRACE, "the session's"
        async with session.speak(services=["asr"]) as half:
            half.push(second[:16_000])
        assert (await half.result()).text == "0.5 s"
        async with session.speak(services=["asr"], partials=True) as live:
            live.push(second)
            early = await heard_until(aiter(live), UiEvent, "ASR_PARTIAL")
        assert early.text in ("half", "1 s"), "told before its end"
        assert (await live.result()).text == "1 s"
        whole = session.say(audio.tone(duration_s=2.0), services=["asr"])
        assert (await whole.result()).text == "2 s"


@patient
async def test_what_goes_wrong_is_told_with_its_code_and_what_helps(
    service: LiveService, door: str
) -> None:
    async with speaker(service, "t-3", "xd"), connect(door, src="en", tgt="xd") as session:
        with pytest.raises(JobFailed) as failed:
            await session.say("fail", services=["nmt"]).result()
        assert (failed.value.code, failed.value.retryable) == ("INTERNAL_ERROR", True)
        with pytest.raises(JobRefused) as refused:
            await session.say("hello", to=["nobody"]).result()
        assert refused.value.code == "NOT_FOUND"
        assert refused.value.hint
        with pytest.raises(ZeroDivisionError):
            await session.audio(b"xx"[1 // n :] for n in (1, 0)).result()
        with pytest.raises(ValueError, match="16384"):
            session.say("x" * 20_000)


@patient
async def test_two_in_a_room_hear_each_other_and_see_that_it_is_played(
    service: LiveService, door: str
) -> None:
    async with (
        speaker(service, "t-4", "xe"),
        connect(door, src="en", room=ROOM) as ann,
        connect(door, src="xe", room=ROOM) as luis,
    ):
        await ann.join(ROOM, name="Ann")
        state = await luis.join(ROOM, name="Luis")
        assert [member.name for member in state.members] == ["Ann", "Luis"]
        seen, heard = ann.happenings(), luis.happenings()
        await ann.say("hello").result()
        said: Heard = await heard_until(heard, Heard)
        assert (said.text, said.speaker) == ("hello in xe", ann.session_id)
        assert audio.read_wav(said.payload).duration_s == pytest.approx(0.1)
        luis.tell_played(said)
        played: UiEvent = await heard_until(seen, UiEvent, "TTS_PLAY_STARTED")
        assert played.listener == luis.session_id
        async with connect(door, src="xf", room=ROOM) as late:
            with pytest.raises(SessionError, match="full"):
                await late.join(ROOM)
        luis.leave()
        while len((await heard_until(seen, RoomState)).members) == 2:
            pass
        assert [member.name for member in ann.room.members] == ["Ann"]


@patient
async def test_a_session_of_another_worker_follows_its_room_and_loses_nothing(
    service: LiveService, door: str
) -> None:
    """Whichever worker has the room: a session of each enters it while a job of it runs."""
    ids = [session_ids(shard, 1, prefix=f"move-{door[:2]}")[0] for shard in (0, 1)]
    async with speaker(service, "t-5", "xg"):
        moved = 0
        for session_id in ids:
            async with connect(door, src="en", tgt="xg", session_id=session_id) as session:
                saying = session.say("before", services=["nmt"])
                await session.join("hall")
                assert (await saying.result()).text == "before in xg"
                moved += session.session_id != session_id
                after = session.say("after", tgt="xg", services=["nmt"])
                assert (await after.result()).text == "after in xg"
                session.leave()
        assert moved == 1


@patient
async def test_results_that_came_while_the_connection_was_lost_are_told_afterwards(
    service: LiveService, door: str
) -> None:
    async with speaker(service, "t-6", "xh"), connect(door, src="en", tgt="xh") as session:
        for n in range(3):
            saying = session.say(f"word {n}", services=["nmt"])
            await asyncio.sleep(0)
            cut(session)
            assert (await saying.result()).text == f"word {n} in xh"


def talk_without_an_event_loop(address: str) -> None:
    """The whole of talking in a thread that blocks, with another that listens."""
    seconds = [b"\x01\x02" * audio.RECOGNITION_RATE] * 2
    with (
        ThreadPoolExecutor(1) as ears,  # ends when the sessions have
        blocking.connect(address, src="en", room=ROOM) as ann,
        blocking.connect(address, src="xj", room=ROOM) as luis,
    ):
        saying = ann.say("hello", tgt="xj", services=["nmt"])
        events = [step.event for step in saying if isinstance(step, UiEvent)]
        assert saying.result().text == "hello in xj"
        assert "NMT_DONE" in events
        assert not saying.failures
        assert not saying.missed_count
        ann.join(ROOM, name="Ann")
        assert len(luis.join(ROOM, name="Luis").members) == 2

        def listen() -> list[Happening]:
            told = []
            for happening in luis.happenings():
                told.append(happening)
                if isinstance(happening, Heard):
                    luis.tell_played(happening)
            return told

        heard = ears.submit(listen)
        assert ann.audio(seconds, services=["asr", "nmt"]).result().meta["heard"] == "2 s"
        played = (step for step in ann.happenings() if isinstance(step, UiEvent) and step.listener)
        assert next(played).listener == luis.session_id
        with pytest.raises(ZeroDivisionError):
            ann.audio(b"xx"[1 // n :] for n in (1, 0))
        with pytest.raises(ValueError, match="16384"):
            ann.say("x" * 20_000)
        stopped = ann.speak(services=["asr"])
        stopped.push(seconds[0] * 3)
        stopped.cancel()
        with pytest.raises(JobFailed) as failed:
            stopped.results()
        assert failed.value.code == "CANCELLED"
        ann.leave()
        luis.close()
        assert luis.is_over
        assert not ann.is_over
        assert [one.text for one in heard.result(PATIENCE_S) if isinstance(one, Heard)] == [
            "2 s in xj"
        ]


@patient
async def test_the_blocking_client_talks_as_the_other_one_does(
    service: LiveService, door: str
) -> None:
    async with speaker(service, "t-8", "xj"):
        await asyncio.to_thread(talk_without_an_event_loop, door)


@patient
async def test_sessions_of_one_trunk_talk_beside_each_other(service: LiveService) -> None:
    async with speaker(service, "t-7", "xi"), Trunk(service.address) as trunk:
        sessions = [await trunk.open(src="en", tgt="xi") for _ in range(6)]
        sayings = [session.say(str(n), services=["nmt"]) for n, session in enumerate(sessions)]
        results = [(await saying.result()).text for saying in sayings]
        assert results == [f"{n} in xi" for n in range(6)]

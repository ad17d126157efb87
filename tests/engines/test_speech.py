"""The speech handler: the real chain where it is installed, and refusals in words everywhere."""

import array
import asyncio
from typing import Any

import pytest

from pointsman.engines import audio, recognition, speech, synthesis
from pointsman.engines.abilities import available_abilities
from pointsman.engines.programs import is_installed
from pointsman.jobs import Job, JobError, Reply

HERE = available_abilities()
needs_asr = pytest.mark.skipif("asr" in HERE.missing, reason=HERE.missing.get("asr", ""))
needs_nmt = pytest.mark.skipif(
    ("en", "es") not in HERE.nmt, reason="needs Debian's apertium and apertium-eng-spa"
)
needs_tts = pytest.mark.skipif("tts" in HERE.missing, reason=HERE.missing.get("tts", ""))
needs_flite = pytest.mark.skipif(not is_installed("flite"), reason="needs Debian's flite")

SENTENCES = {
    "hello good morning": "hola buenos días",
    "thank you very much": "muchas gracias",
}


async def run(payload: bytes, *services: str, **fields: Any) -> Reply:
    fields = {"src_lang": "en", "tgt_lang": "es", **fields}
    return await speech.handle(Job(payload=payload, services=list(services), **fields))


def meta_of(reply: Reply) -> dict[str, Any]:
    assert reply.meta is not None
    return reply.meta


@needs_asr
@needs_nmt
@needs_tts
@needs_flite
@pytest.mark.parametrize("sentence", SENTENCES)
async def test_a_spoken_sentence_comes_out_as_its_spoken_translation(sentence: str) -> None:
    spoken = await synthesis.speak_english(sentence)
    told: list[Any] = []
    reply = await run(spoken, "tts", "asr", "nmt", stream=True, tell=told.append, run=3)
    meta = meta_of(reply)
    assert (meta["heard"], meta["translation"]) == (sentence, SENTENCES[sentence])
    assert list(meta["stage_ms"]) == ["asr", "nmt", "tts"]
    assert meta["content_type"] == reply.content_type == "audio/wav"
    assert isinstance(reply.payload, bytes)
    assert 0.5 < audio.read_wav(reply.payload).duration_s < 5
    said = [(p.payload.decode(), (p.meta or {})["stage"]) for p in told]
    so_far = [words for words, stage in said if stage == "asr_partial"]
    assert said[len(so_far) :] == [(sentence, "asr"), (SENTENCES[sentence], "nmt")]
    assert len(so_far) == len({*so_far}) >= 2, "words are told when they have changed"
    assert any(sentence.startswith(words) and words for words in so_far)


@needs_asr
@needs_flite
async def test_a_recognition_that_is_cancelled_stops_after_its_slice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoken = audio.pcm_for_recognition(await synthesis.speak_english("where is the train station"))
    loop = asyncio.get_running_loop()
    told, ended = asyncio.Queue[str](maxsize=100), asyncio.Queue[str](maxsize=1)
    recognise = recognition.recognise

    def recognise_and_say_so(*given: Any) -> str:
        words = recognise(*given)
        loop.call_soon_threadsafe(ended.put_nowait, words)
        return words

    monkeypatch.setattr(recognition, "recognise", recognise_and_say_so)
    hearing = asyncio.create_task(recognition.recognise_in_thread(spoken * 20, told.put_nowait))
    await asyncio.wait_for(told.get(), 60)
    hearing.cancel()
    words = await asyncio.wait_for(ended.get(), 60)
    assert len(words.split()) < 20, "twenty times the sentence has a hundred words"


@needs_asr
@needs_flite
async def test_recognition_alone_gives_text_whatever_the_source_was_called() -> None:
    spoken = await synthesis.speak_english("where is the train station")
    replies = await asyncio.gather(
        *(run(spoken, "asr", src_lang=name) for name in ("en", "auto", "en-GB", "EN"))
    )
    assert {reply.payload for reply in replies} == {b"where is the train station"}
    assert {meta_of(reply)["src_lang"] for reply in replies} == {"en"}


@needs_asr
async def test_silence_is_no_failure_but_no_text() -> None:
    silence = audio.write_wav(audio.Sound(array.array("h", bytes(16_000)), 16_000))
    reply = await run(silence, "asr", "nmt")
    assert (reply.payload, reply.status, meta_of(reply)["heard"]) == (b"", "completed_no_text", "")


@needs_nmt
async def test_a_text_is_translated_to_text_with_its_signs_intact() -> None:
    reply = await run(b"thank you [very] ^much$ <b>/ 5 \xe2\x82\xac", "nmt")
    assert isinstance(reply.payload, bytes)
    text = reply.payload.decode()
    assert all(sign in text for sign in ("[", "]", "^", "$", "<b>", "/", "5 €"))
    assert "heard" not in meta_of(reply)
    assert meta_of(await run(b"hola", "nmt", src_lang="auto", tgt_lang="en"))["src_lang"] == "es"


@needs_tts
async def test_a_text_is_spoken_in_the_language_it_goes_to() -> None:
    spoken = [(await run(b"uno dos tres", "tts", tgt_lang=t)).payload for t in ("es-MX", "en", "")]
    assert all(isinstance(p, bytes) and len(p) > 10_000 for p in spoken)
    assert spoken[0] != spoken[1] == spoken[2]


@needs_tts
async def test_a_text_too_long_to_speak_is_refused_and_a_long_one_is_made_smaller() -> None:
    long = (await run(b"one two three " * 30, "tts", tgt_lang="en")).payload
    assert isinstance(long, bytes)
    assert len(long) < 1024 * 1024
    with pytest.raises(JobError, match="a result holds 32 s"):
        await run(b"one two three " * 100, "tts", tgt_lang="en")


@pytest.mark.parametrize(
    ("payload", "services", "fields", "code"),
    [
        (b"hello", ["tone"], {}, "UNSUPPORTED_FEATURE"),
        (b"hello", [], {}, "INVALID_MESSAGE"),
        (b"\xff\xfe", ["nmt"], {}, "INVALID_MESSAGE"),
        pytest.param(b"not a sound", ["asr"], {}, "INVALID_MESSAGE", marks=needs_asr),
        (b"hello", ["asr"], {"content_type": "text/plain"}, "INVALID_MESSAGE"),
        (b"", ["asr"], {"src_lang": "fi"}, "UNSUPPORTED_FEATURE"),
        pytest.param(b"hei", ["nmt"], {"src_lang": "fi"}, "UNSUPPORTED_FEATURE", marks=needs_nmt),
        pytest.param(b"hei", ["tts"], {"tgt_lang": "xx"}, "UNSUPPORTED_FEATURE", marks=needs_tts),
        (b"hei", ["nmt"], {"src_lang": "auto", "tgt_lang": "xx"}, "UNSUPPORTED_FEATURE"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_code(
    payload: bytes, services: list[str], fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(JobError) as refused:
        await run(payload, *services, **fields)
    assert refused.value.code == code
    assert not refused.value.retryable


@pytest.mark.parametrize("services", [["asr"], ["nmt"], ["tts"]])
async def test_a_machine_without_the_programs_says_what_is_missing(
    services: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognition, "is_installed", lambda: False)
    monkeypatch.setattr("pointsman.engines.translation.installed_directions", dict)
    monkeypatch.setattr(synthesis, "installed_languages", tuple)
    monkeypatch.setenv("PATH", "")
    abilities = available_abilities()
    assert abilities.services == []
    assert set(abilities.missing) == {"asr", "nmt", "tts"}
    payload = audio.tone(duration_s=0.1) if services == ["asr"] else b"hello"
    with pytest.raises(JobError, match="not installed") as refused:
        await run(payload, *services)
    assert refused.value.code == "MODEL_NOT_AVAILABLE"
    assert refused.value.retryable


async def test_loading_ahead_is_harmless_with_and_without_the_programs() -> None:
    await speech.load()
    assert HERE.services == [s for s in ("asr", "nmt", "tts") if s not in HERE.missing]

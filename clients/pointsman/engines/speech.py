"""The speech engine: a node's handler that hears, translates and speaks.

A job names what it wants: any of asr, nmt and tts, always run in this order.  With asr the payload
is a WAV file (16-bit PCM is best; raw 16 kHz mono as audio/l16), else UTF-8 text; with tts the
reply is a WAV file, else text.  The reply's meta says what happened on the way:

    heard         what was recognised (asr)
    translation   what it became in tgt_lang (nmt)
    src_lang      the language it started in: what `auto` turned out to be
    content_type  of the payload
    stage_ms      service -> how long it took

A client that streams gets what is heard so far, what was heard and the translation as partial
results, whose meta names the stage: asr_partial, asr, nmt.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pointsman.engines import audio, recognition, synthesis, translation
from pointsman.engines.programs import ProgramFailed, ProgramMissing
from pointsman.jobs import Job, JobError, Reply, ReplyStatus
from pointsman_wire.errors import Code
from pointsman_wire.limits import PAYLOAD_BYTES_MAX

SERVICES = ("asr", "nmt", "tts")
TEXT_TYPE = "text/plain; charset=utf-8"
WAV_TYPE = "audio/wav"


async def handle(job: Job) -> Reply:
    """Run a job's services one after the other; raises JobError when one of them cannot."""
    if unknown := [service for service in job.services if service not in SERVICES]:
        raise JobError(Code.UNSUPPORTED_FEATURE, f"{unknown[0]} is not one of asr, nmt, tts")
    if not job.services:
        raise JobError(Code.INVALID_MESSAGE, "the job names no service; asr, nmt, tts are here")
    try:
        return await _run(job)
    except audio.BadAudio as error:
        raise JobError(Code.INVALID_MESSAGE, str(error)) from error
    except ProgramMissing as error:
        raise JobError(Code.MODEL_NOT_AVAILABLE, str(error)) from error
    except ProgramFailed as error:
        raise JobError(Code.INTERNAL_ERROR, str(error)) from error


async def load() -> None:
    """Load what is slow to load, so that the first job need not wait for it."""
    if recognition.is_installed():
        await recognition.load()
    await asyncio.to_thread(translation.installed_directions)
    await asyncio.to_thread(synthesis.installed_languages)


async def _run(job: Job) -> Reply:
    stage_ms: dict[str, float] = {}
    meta: dict[str, Any] = {"stage_ms": stage_ms}
    language = await _source(job)
    if "asr" in job.services:
        with _timed(stage_ms, "asr"):
            text = meta["heard"] = await _hear(job, language)
        await _tell(job, "asr", text, language)
    else:
        text = job.text
    meta["src_lang"] = language
    if "nmt" in job.services:
        with _timed(stage_ms, "nmt"):
            target = _base(job.tgt_lang)
            text = meta["translation"] = await _translate(text, src=language, tgt=target)
        language = target
        await _tell(job, "nmt", text, language)
    payload, content_type = text.encode(), TEXT_TYPE
    if "tts" in job.services:
        with _timed(stage_ms, "tts"):
            payload, content_type = await _speak(text, _base(job.tgt_lang) or language), WAV_TYPE
    meta["content_type"] = content_type
    status: ReplyStatus = "completed" if text.strip() else "completed_no_text"
    return Reply(payload=payload, meta=meta, content_type=content_type, status=status)


async def _hear(job: Job, language: str) -> str:
    if job.content_type.startswith("text/"):
        raise JobError(Code.INVALID_MESSAGE, f"recognition takes a sound, not {job.content_type}")
    if not recognition.is_installed():
        raise ProgramMissing("pocketsphinx is not installed")
    pcm = await asyncio.to_thread(audio.pcm_for_recognition, job.payload, job.content_type)

    def tell(words: str) -> None:
        meta = {"stage": "asr_partial", "src_lang": language}
        job.partial_nowait(words, meta=meta, content_type=TEXT_TYPE)

    return await recognition.recognise_in_thread(pcm, tell if job.stream else None)


async def _translate(text: str, *, src: str, tgt: str) -> str:
    pairs = await asyncio.to_thread(translation.installed_directions)
    if pairs and (src, tgt) not in pairs:
        raise _unsupported("translates", f"{src or '?'} to {tgt or '?'}", map(" to ".join, pairs))
    return await translation.translate(text, src=src, tgt=tgt)


async def _speak(text: str, language: str) -> bytes:
    languages = await asyncio.to_thread(synthesis.installed_languages)
    if languages and language not in languages:
        raise _unsupported("speaks", language or "?", languages)
    spoken = await synthesis.synthesise(text, language=language)
    if len(spoken) > PAYLOAD_BYTES_MAX:
        spoken = await asyncio.to_thread(_smaller, spoken)
    return spoken


def _smaller(spoken: bytes) -> bytes:
    """Return a long WAV at the rate of recognition, or refuse it when that is too long still."""
    sound = audio.resample(audio.read_wav(spoken), audio.RECOGNITION_RATE)
    smaller = audio.write_wav(sound)
    if len(smaller) > PAYLOAD_BYTES_MAX:
        fits_s = PAYLOAD_BYTES_MAX // (2 * audio.RECOGNITION_RATE)
        raise JobError(
            Code.INVALID_MESSAGE,
            f"spoken, the text lasts {sound.duration_s:.0f} s; a result holds {fits_s} s",
        )
    return smaller


async def _source(job: Job) -> str:
    """Return the language that a job starts in; `auto` becomes the one that it can only be."""
    named = _base(job.src_lang)
    if "asr" in job.services:
        known = set(recognition.LANGUAGES)
        wanted = known if named in ("auto", "") else {named}
    elif named == "auto":
        pairs = await asyncio.to_thread(translation.installed_directions)
        known = wanted = {src for src, tgt in pairs if tgt == _base(job.tgt_lang)}
    else:
        return named
    if named == "auto" and job.auto_langs:
        wanted = {_base(language) for language in job.auto_langs}
    if len(known & wanted) != 1:
        raise _unsupported("starts from", named or "auto", known)
    return (known & wanted).pop()


def _base(language: str) -> str:
    """Return a language without its region: es for es-MX."""
    return language.lower().replace("_", "-").partition("-")[0]


def _unsupported(verb: str, what: str, here: Iterable[str]) -> JobError:
    known = ", ".join(sorted(here)) or "nothing"
    return JobError(Code.UNSUPPORTED_FEATURE, f"no engine here {verb} {what}; it does: {known}")


async def _tell(job: Job, stage: str, text: str, language: str) -> None:
    if job.stream:
        meta = {"stage": stage, "src_lang" if stage == "asr" else "tgt_lang": language}
        await job.partial(text, meta=meta, content_type=TEXT_TYPE)


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    began_at_ns = time.monotonic_ns()
    yield
    stage_ms[stage] = round((time.monotonic_ns() - began_at_ns) / 1e6, 1)

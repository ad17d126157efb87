"""`pointsman talk` without a service: what is given, how it is cut, told and kept."""

import array
import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from live.commands import invoke

from pointsman.cli.endings import Trouble
from pointsman.cli.submitting import Ended
from pointsman.cli.talk.cutting import CHUNK_BYTES, VoiceCutter
from pointsman.cli.talk.given import (
    LINE_BYTES_MAX,
    Given,
    Order,
    Spoken,
    Words,
    lines,
    order_or_words,
    spoken,
)
from pointsman.cli.talk.keeping import Keeper
from pointsman.cli.talk.told import Came, Opened, Overheard, Said, Watched, line_of, object_of
from pointsman.cli.talk.wishes import Languages, manner_of, session_languages
from pointsman.engines import audio
from pointsman.errors import JobRefused
from pointsman.results import JobPartial, job_result
from pointsman.talking.hearing import ConnectionChange, Heard
from pointsman_wire.errors import Code
from pointsman_wire.messages import error_info
from pointsman_wire.session_messages import MissingResult, Progress, Result
from pointsman_wire.talk.talk_messages import RoomMember, RoomState, UiEvent

SILENCE = bytes(CHUNK_BYTES)
VOICE = array.array("h", [3_000, -3_000] * (CHUNK_BYTES // 4)).tobytes()


def one_way(src: str = "", tgt: str = "", between: str = "", room: str = "") -> dict[str, Any]:
    return {**session_languages(Languages(src, tgt, between), room=room)}


# ---- which languages


def test_a_session_is_one_way_two_way_or_auto_as_the_options_say() -> None:
    assert one_way("en", "es") == {"src": "en", "tgt": "es", "mode": "one_way"}
    assert one_way("en", "es,fr")["tgt"] == "", "each sentence names them"
    assert one_way("auto", "es")["mode"] == "auto"
    narrowed = one_way("en,fr", "es")
    assert (narrowed["src"], narrowed["auto_langs"]) == ("auto", ["en", "fr"])
    both = one_way(between="en:es")
    assert (both["mode"], both["lang_a"], both["lang_b"], both["tgt"]) == (
        *("two_way", "en", "es"),
        "es",
    )
    assert one_way(between="en:es", tgt="en")["tgt"] == "en"
    assert one_way("en", room="tea")["src"] == "en"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "into which language"),
        (["--room", "tea"], "needs to know your language"),
        (["--room", "tea", "--src", "auto"], "needs to know your language"),
        (["--between", "en"], "no pair"),
        (["--between", "en:es", "--src", "en"], "one pair"),
        (["--between", "en:es", "--tgt", "fr"], "en or es"),
        (["--tgt", "es", "--raw", "a.wav"], "sound files, or --raw"),
        (["--tgt", "es", "/no/such.wav"], "cannot read"),
        (["--tgt", "es", __file__], "no WAV file"),
        (["--tgt", "es", "--server", "http://a:1"], "HOST:PORT"),
        (["--tgt", "es", "--out", __file__], "--out"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_said(options: list[str], words: str) -> None:
    ended = invoke("talk", *options)
    assert ended.exit_code == 2, ended.output
    assert words in " ".join(ended.stderr.split())
    assert not ended.stdout


def test_nothing_is_spoken_where_nobody_hears_it() -> None:
    quiet = manner_of("es", [], [], is_sound_wanted=False)
    assert (quiet.lines["services"], quiet.sounds["services"]) == (["nmt"], ("asr", "nmt"))
    loud = manner_of("es,fr", [], ["s-2"], is_sound_wanted=True)
    assert loud.lines == {"explain": True, "tgt": ["es", "fr"], "to": ["s-2"]}
    chosen = manner_of("es", ["asr", "nmt", "tts"], [], is_sound_wanted=False)
    assert (chosen.lines["services"], chosen.sounds["services"]) == (
        *(["nmt", "tts"],),
        ["asr", "nmt", "tts"],
    )


# ---- what is given


async def given_by(
    content: bytes, *, is_terminal: bool = False, is_raw: bool = False
) -> list[Given]:
    reader, writer = os.pipe()
    sending = asyncio.create_task(asyncio.to_thread(_send, writer, content))
    source = spoken(reader) if is_raw else lines(reader, is_terminal=is_terminal)
    try:
        async with asyncio.timeout(20):
            return [given async for given in source]
    finally:
        await sending
        os.close(reader)


def _send(writer: int, content: bytes) -> None:
    with open(writer, "wb") as pipe:
        pipe.write(content)


async def test_lines_are_said_and_a_line_without_end_is_cut() -> None:
    assert await given_by(b"one\n\n  two \nthree") == [Words("one"), Words("two"), Words("three")]
    endless = await given_by(b"x" * (3 * LINE_BYTES_MAX))
    assert all(
        isinstance(given, Words) and len(given.text) <= 2 * LINE_BYTES_MAX for given in endless
    )
    assert len(endless) > 1


async def test_only_who_sits_at_the_terminal_gives_orders() -> None:
    """Text that is passed on must not read files of who passes it on."""
    typed = b"/wav /etc/passwd\n//x\n"
    assert await given_by(typed) == [Words("/wav /etc/passwd"), Words("//x")]
    assert await given_by(typed, is_terminal=True) == [Order("wav", "/etc/passwd"), Words("/x")]
    assert order_or_words("/join  tea ") == Order("join", "tea")


async def test_raw_sound_is_cut_at_pauses_and_begins_a_little_before_the_voice() -> None:
    sound = SILENCE * 20 + VOICE * 10 + SILENCE * 8 + VOICE * 5
    pieces = [
        given.piece for given in await given_by(sound, is_raw=True) if isinstance(given, Spoken)
    ]
    ends = [at for at, piece in enumerate(pieces) if piece is None]
    assert len(ends) == 2
    first = b"".join(piece for piece in pieces[: ends[0]] if piece)
    assert first == SILENCE * 2 + VOICE * 10 + SILENCE * 7
    assert pieces[-1] is None, "the input ended while somebody spoke"


def test_a_hum_is_no_voice_and_who_never_pauses_is_cut() -> None:
    hum = array.array("h", [400, -400] * (CHUNK_BYTES // 4)).tobytes()
    cutter = VoiceCutter()
    for _ in range(100):
        cutter.feed(hum)
    assert not cutter.is_speaking or cutter.feed(hum * 200).count(None) >= 1
    cutter = VoiceCutter()
    told = [piece for _ in range(400) for piece in cutter.feed(VOICE)]
    assert told.count(None) == 2
    longest = max(len(part) for part in _parts(told))
    assert longest < 20 * 2 * audio.RECOGNITION_RATE


def _parts(told: list[bytes | None]) -> list[bytes]:
    parts = [b""]
    for piece in told:
        if piece is None:
            parts.append(b"")
        else:
            parts[-1] += piece
    return parts


# ---- what is told


def ended(text: str = "hola", **fields: Any) -> Ended:
    result = Result(status="completed", request_id="u", node_id="desk", **fields)
    return Ended(result=job_result(result, text.encode(), None), total_ms=12.4)


HEARD = Heard(
    payload=b"hola", content_type="text/plain", meta={}, speaker="s-2", request_id="u", node_id="n"
)
NEWS: list[tuple[Any, str, str]] = [
    (Opened("s-1", 0, "a"), "session s-1 at worker 0 of a", "session"),
    (Said("hello", "u"), "you: hello", "said"),
    (
        UiEvent(event="DISPATCHED", node_id="desk", pool="en-es"),
        "given to desk, pool en-es",
        "step",
    ),
    (UiEvent(event="ASR_PARTIAL", text="where is"), "heard so far: where is", "step"),
    (UiEvent(event="NMT_DONE", text="hola", lang="es"), "es: hola", "step"),
    (UiEvent(event="ERROR"), "", "step"),
    (Watched("Luis", UiEvent(event="TTS_PLAY_STARTED")), "Luis plays what you said", "step"),
    (Watched("Luis", UiEvent(event="DISPATCHED")), "", "step"),
    (Progress(percent=50, note="translated"), "50 % translated", "progress"),
    (Came(ended(), Path("o/1.wav"), True), "hola, done by desk in 12 ms, o/1.wav", "result"),
    (Came(ended(), None, False), "done by desk in 12 ms", "result"),
    (Overheard("Luis", HEARD, None), "Luis: hola", "heard"),
    (RoomState(), "in no room", "room"),
    (
        RoomState(
            room="tea", members=[RoomMember(session="s", name="Ann", lang="en", connected=False)]
        ),
        "in the room tea: Ann (en, away)",
        "room",
    ),
    (
        MissingResult(utterance_index=3, count=2, reason="running"),
        "no result yet of utterances 3 to 4: running",
        "missing",
    ),
    (
        ConnectionChange(is_up=False, reason="cut"),
        "the connection is lost (cut); trying again",
        "connection",
    ),
    (
        ConnectionChange(is_up=True, is_resumed=True),
        "connected again: the session goes on where it was",
        "connection",
    ),
]


@pytest.mark.parametrize(("news", "line", "kind"), NEWS)
def test_each_piece_of_news_is_a_line_for_people_and_an_object_for_programs(
    news: Any, line: str, kind: str
) -> None:
    assert line_of(news) == line
    told = json.loads(json.dumps(object_of(news)))
    assert told["kind"] == kind


def test_a_piece_of_a_result_is_told_unless_a_step_tells_it() -> None:
    for meta, line in (({}, "hal"), ({"stage": "asr"}, "")):
        piece = JobPartial(payload=b"hal", meta=meta, content_type="", attempt=1, seq=0)
        assert line_of(piece) == line
        assert object_of(piece)["text"] == "hal"


def test_a_refusal_is_an_object_with_its_code_and_hint() -> None:
    refused = JobRefused(error_info(Code.QUEUE_FULL, "full"), request_id="u")
    told = json.loads(json.dumps(object_of(refused)))
    assert (told["kind"], told["request_id"], told["error"]["code"]) == (
        "failed",
        "u",
        "QUEUE_FULL",
    )


# ---- what is kept


def test_sounds_are_new_files_of_the_folder_whatever_others_call_themselves(tmp_path: Path) -> None:
    sound, folder = audio.tone(duration_s=0.01), tmp_path / "out"
    kept = [Keeper(folder).keep(sound, "", "heard", "../../Luis") for _ in range(2)]
    assert kept == [folder / "0001-heard-Luis.wav", folder / "0002-heard-Luis.wav"]
    keeper = Keeper(folder)
    assert keeper.keep(b"\x01\x02", "audio/pcm", "said") == folder / "0001-said.pcm"
    assert keeper.keep(b"hola", "text/plain", "said") is None
    assert Keeper(None).keep(sound, "", "said") is None
    folder.rename(tmp_path / "gone")
    with pytest.raises(Trouble, match="cannot write"):
        keeper.keep(sound, "", "said")

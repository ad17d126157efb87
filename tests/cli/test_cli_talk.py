"""`pointsman talk` against a real service: what is said comes out, whatever way it came in."""

import asyncio
import json
import os
import pty
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from live.commands import pointsman
from live.nodes import talking_node

from pointsman import Job, Reply, Session, connect
from pointsman.cli.endings import NOT_TAKEN, STOPPED
from pointsman.cli.talk.conversation import Conversation
from pointsman.cli.talk.given import Given, Order, SoundFile, Words
from pointsman.cli.talk.keeping import Keeper
from pointsman.cli.talk.told import Came, Overheard
from pointsman.cli.talk.wishes import manner_of
from pointsman.engines import audio
from pointsman.talking.hearing import ConnectionChange
from pointsman.testing import RunningService
from pointsman_wire.talk.talk_messages import RoomState

PATIENCE_S = 40.0
KNOWN = ["en", "es", "fr"]


async def work(job: Job) -> Reply:
    """Hear how long a sound is, translate by naming the language, speak a beep."""
    text, meta = "" if "asr" in job.services else job.text, {"src_lang": "es"}
    if "asr" in job.services:
        text = meta["heard"] = f"{audio.read_wav(job.payload).duration_s:g} s"
    if "nmt" in job.services:
        text = meta["translation"] = f"{text} in {job.tgt_lang}"
    if "tts" in job.services:
        return Reply(audio.tone(duration_s=0.1), meta=meta, content_type="audio/wav")
    return Reply(text.encode(), meta=meta, content_type="text/plain")


def fleet(service: RunningService, name: str) -> AbstractAsyncContextManager[None]:
    """One node that hears, translates and speaks."""
    return talking_node(service.address, name, KNOWN, work)


async def started(service: RunningService, *options: str, **pipes: Any) -> Process:
    command = pointsman("talk", "--server", service.address, *options)
    return await asyncio.create_subprocess_exec(
        *command, **{"stdout": PIPE, "stderr": PIPE} | pipes
    )


async def objects(process: Process, given: bytes = b"") -> list[dict[str, Any]]:
    """What it prints with --json, to its end."""
    said, _ = await process.communicate(given)
    return [json.loads(line) for line in said.splitlines()]


async def test_lines_go_into_several_languages_and_their_sounds_into_a_folder(
    service: RunningService, tmp_path: Path
) -> None:
    words = ["--src", "en", "--tgt", "es,fr", "--json", "--out", str(tmp_path / "out")]
    async with fleet(service, "lines"):
        process = await started(service, *words, stdin=PIPE)
        told = await objects(process, b"good morning\nbye")
        assert process.returncode == 0
    results = [line for line in told if line["kind"] == "result"]
    assert sorted((line["said"], line["meta"]["translation"]) for line in results) == [
        *((1, "good morning in es"), (1, "good morning in fr"), (2, "bye in es"), (2, "bye in fr")),
    ]
    assert {"session", "said", "step"} < {line["kind"] for line in told}
    sounds = sorted(Path(line["out"]) for line in results)
    assert [audio.read_wav(path.read_bytes()).duration_s for path in sounds] == [0.1] * 4


async def test_a_file_goes_two_ways_over_websocket_and_what_nobody_can_do_ends_with_3(
    service: RunningService, tmp_path: Path
) -> None:
    path = tmp_path / "two.wav"
    path.write_bytes(audio.tone(duration_s=2.0))
    async with fleet(service, "files"):
        where = ["--server", f"ws://{service.address}"]
        process = await started(service, *where, "--between", "en:es", str(path))
        said, _ = await process.communicate()
        assert process.returncode == 0, said
        assert "heard: 2 s" in said.decode()
        assert "en: 2 s in en" in said.decode(), "it was heard as Spanish"
        process = await started(service, "--src", "en", "--tgt", "ja", stdin=PIPE)
        _, trouble = await process.communicate(b"hello\n")
        assert process.returncode == NOT_TAKEN
        assert "en->ja" in trouble.decode()
        assert "docs/errors.md#no_available_node" in trouble.decode()


async def test_sound_from_standard_input_is_said_sentence_by_sentence(
    service: RunningService,
) -> None:
    voice = audio.samples_of(audio.tone(duration_s=1.0)[44:]).tobytes()
    async with fleet(service, "raw"):
        words = ["--src", "en", "--tgt", "es", "--raw", "--json"]
        process = await started(service, *words, stdin=PIPE)
        told = await objects(process, voice + bytes(32_000) + voice)
        assert process.returncode == 0
    heard = [line["meta"]["heard"] for line in told if line["kind"] == "result"]
    assert len(heard) == 2
    events = [line["event"] for line in told if line["kind"] == "step"]
    assert events.count("INPUT_STARTED") == events.count("INPUT_ENDED") == 2


async def test_who_sits_at_a_terminal_gives_orders_and_ends_it_with_ctrl_c(
    service: RunningService, tmp_path: Path
) -> None:
    path = tmp_path / "half.wav"
    path.write_bytes(audio.tone(duration_s=0.5))
    keyboard, terminal = pty.openpty()
    async with fleet(service, "typed"):
        words = ["--src", "en", "--tgt", "es"]
        process = await started(service, *words, stdin=terminal, stderr=subprocess.STDOUT)
        os.close(terminal)
        assert process.stdout is not None
        for typed, answer in (
            (f"/wav {path}\n", "es: 0.5 s in es"),
            ("/fly\n", "/fly: there is no such order"),
            ("//x\n", "/x in es"),
            ("/join tea\n", "in the room tea: "),
            ("/leave\n", "in no room"),
        ):
            os.write(keyboard, typed.encode())
            while answer not in (line := (await process.stdout.readline()).decode()):
                assert line, answer
        process.send_signal(2)
        assert await process.wait() == STOPPED
    os.close(keyboard)


def cut(session: Session) -> None:
    """Break its connection, as a network does."""
    for connection in session._shell._driver.alive:
        connection.abort("cut")


async def test_two_in_a_room_hear_each_other_and_a_lost_connection_loses_nothing(
    service: RunningService, tmp_path: Path
) -> None:
    ann_sees: list[Any] = []
    luis_sees: list[Any] = []
    ann_has_left = asyncio.Event()
    manner = manner_of("", [], [], is_sound_wanted=True)
    keeper = Keeper(tmp_path)
    async with (
        fleet(service, "room"),
        connect(service.address, src="en", room="tea") as ann,
        connect(service.address, src="es", room="tea") as luis,
    ):
        await ann.join("tea", name="Ann")
        await luis.join("tea", name="Luis")

        async def said_by_ann() -> AsyncIterator[Given]:
            yield Words("hello")
            cut(ann)
            yield SoundFile("one.wav", audio.tone(duration_s=1.0))
            yield Words("x" * 20_000)
            yield Order("join", "")

        async def nothing_of_luis() -> AsyncIterator[Given]:
            await ann_has_left.wait()
            return
            yield Words("")

        def luis_is_told(number: int, news: Any) -> None:
            luis_sees.append(news)
            if isinstance(news, RoomState) and len(news.members) == 1:
                ann_has_left.set()

        hearing = Conversation(luis, luis_is_told, keeper, manner)
        listening = asyncio.create_task(hearing.run(nothing_of_luis(), stays=False))
        talking = Conversation(ann, lambda _, news: ann_sees.append(news), Keeper(None), manner)
        await talking.run(said_by_ann(), stays=False)
        ann.leave()
        await listening
    assert sorted(news.ended.translation for news in ann_sees if isinstance(news, Came)) == [
        *("1 s in es", "hello in es")
    ]
    changes = [news.is_up for news in ann_sees if isinstance(news, ConnectionChange)]
    assert changes == [False, True]
    others = [news for news in luis_sees if isinstance(news, Overheard)]
    assert sorted((news.name, news.heard.text) for news in others) == [
        *(("Ann", "1 s in es"), ("Ann", "hello in es"))
    ]
    assert all(news.written and news.written.stat().st_size for news in others)
    assert talking.exit_code == 1, "a line was too long, and an order was none"

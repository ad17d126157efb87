"""The demo's cheap parts; the demo itself is a stage of what every change must pass."""

import os
import signal
import sys
from pathlib import Path

import pytest

from pointsman.cli.demo import command
from pointsman.cli.demo.pictures import Pictures
from pointsman.cli.demo.processes import Stage
from pointsman.cli.demo.tour import Record, cast_of, services_of, title_of
from pointsman.cli.demo.utterances import from_file, gather, slug
from pointsman.cli.endings import Trouble
from pointsman.engines import audio
from pointsman.engines.abilities import Abilities
from pointsman.engines.programs import ProgramMissing
from pointsman_wire.limits import PAYLOAD_BYTES_MAX

ALL = Abilities(asr=("en",), nmt=(("en", "es"), ("es", "en")), tts=("en", "es"))


def test_with_everything_installed_three_nodes_play() -> None:
    cast = {plan.name: plan.services for plan in cast_of(ALL)}
    assert cast == {
        "studio": ["asr", "nmt", "tts"],
        "desk": ["nmt", "tts"],
        "ears": ["asr"],
    }


def test_a_node_that_can_do_nothing_stays_at_home() -> None:
    cast = {plan.name: plan.services for plan in cast_of(Abilities(asr=("en",)))}
    assert cast == {"studio": ["asr"], "ears": ["asr"]}
    assert cast_of(Abilities(nmt=(("fr", "de"),))) == []


def test_nodes_offer_the_languages_of_the_demo_only() -> None:
    options = cast_of(ALL)[0].options()
    assert options[-6:] == ["--asr", "en", "--nmt", "en:es,es:en", "--tts", "es,en"]
    one_way = Abilities(asr=("en",), nmt=(("en", "es"),), tts=("es",))
    options = cast_of(one_way)[0].options()
    assert options[-6:] == ["--asr", "en", "--nmt", "en:es", "--tts", "es"]
    assert services_of(ALL) == ["asr", "nmt", "tts"]


def test_jobs_are_called_what_they_do() -> None:
    assert title_of(["asr", "nmt", "tts"]) == "speech to speech"
    assert title_of(["asr", "nmt"]) == "speech to text"
    assert title_of(["nmt"]) == "text to text"
    assert title_of(["asr"]) == "recognition"


async def test_where_nothing_can_speak_a_tone_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cannot(text: str) -> bytes:
        raise ProgramMissing("nothing here can speak")

    monkeypatch.setattr("pointsman.engines.synthesis.speak_english", cannot)
    sounds = await gather([])
    assert [utterance.name for utterance in sounds.utterances] == ["tone"]
    assert audio.read_wav(sounds.utterances[0].wav).duration_s == pytest.approx(1.0)


async def test_files_that_were_named_are_played(tmp_path: Path) -> None:
    path = tmp_path / "My Voice.wav"
    path.write_bytes(audio.tone())
    sounds = await gather([path])
    assert sounds.utterances == [from_file(path)]
    assert sounds.utterances[0].name == "my-voice"


def test_a_file_that_is_too_large_is_made_smaller(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    sound = audio.resample(audio.read_wav(audio.tone(duration_s=20.0)), 48_000)
    path.write_bytes(audio.write_wav(sound))
    assert path.stat().st_size > PAYLOAD_BYTES_MAX
    small = from_file(path).wav
    assert len(small) <= PAYLOAD_BYTES_MAX
    assert audio.read_wav(small).duration_s == pytest.approx(20.0)


def test_a_file_that_is_no_sound_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("hello")
    for wrong in (path, tmp_path / "missing.wav"):
        with pytest.raises(Trouble, match=wrong.name):
            from_file(wrong)


def test_names_become_file_names() -> None:
    assert slug("Where is the train station?") == "where-is-the-train-station"
    assert slug("¿?") == "sound"


class Terminal:
    """The demo's ends without its tour: what it would have come to is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *problems: str, is_terminal: bool) -> None:
        self.problems = problems
        self.visits = 0

        async def prepare(*_: object) -> None:
            return None

        monkeypatch.setattr(command, "_prepare", prepare)
        monkeypatch.setattr(command, "_perform", self._perform)
        monkeypatch.setattr(Pictures, "busy", self._busy)
        for stream in (sys.stdin, sys.stdout):
            monkeypatch.setattr(stream, "isatty", lambda: is_terminal, raising=False)

    async def _perform(self, stage: Stage, _: Pictures, record: Record, __: object) -> Path:
        stage.address = "127.0.0.1:1"
        record.problems += self.problems
        return Path("1.en.wav")

    def _busy(self, what: str) -> None:
        if what.startswith("serving until"):
            self.visits += 1
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("problems", "code"), [((), 0), (("one was lost",), 1)])
async def test_in_a_terminal_it_serves_its_page_until_ctrl_c(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    problems: tuple[str, ...],
    code: int,
) -> None:
    terminal = Terminal(monkeypatch, *problems, is_terminal=True)
    assert await command._until_stopped([], tmp_path) == code
    assert terminal.visits == 1
    shown = capsys.readouterr().out
    assert "http://127.0.0.1:1/" in shown
    assert all(problem in shown for problem in problems)


async def test_without_a_terminal_it_ends_by_itself_and_says_whether_all_came_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    terminal = Terminal(monkeypatch, is_terminal=False)
    assert await command._until_stopped([], tmp_path) == 0
    Terminal(monkeypatch, "one was lost", is_terminal=False)
    assert await command._until_stopped([], tmp_path) == 1
    assert terminal.visits == 0

"""Options that cannot be: each is refused with exit code 2 and with what would be right."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from live.commands import invoke

from pointsman import __version__
from pointsman.cli.endings import Trouble
from pointsman.cli.node import short_list, usual_state_dir
from pointsman.cli.offers import Wish, load_function, speech_offer
from pointsman.cli.options import DurabilityName
from pointsman.cli.placement_words import time_words
from pointsman.cli.running.service_programs import command_line, refuse_where_impossible
from pointsman.cli.submit import HELD_IN, what_came
from pointsman.cli.submitting import Ended, read_input, session_id_of, type_of, usual_services
from pointsman.cli.units.surroundings import write
from pointsman.engines.abilities import Abilities
from pointsman.results import job_result
from pointsman_wire.limits import PAYLOAD_BYTES_MAX
from pointsman_wire.session_messages import Durability, Result

WRONG = {
    "no such command": (["fly"], "No such command"),
    "no such option": (["nodes", "--loud"], "No such option"),
    "a port that is none": (["serve", "--port", "70000"], "'--port': Input should be less than"),
    "no workers": (["serve", "--workers", "0"], "workers"),
    "too many workers": (["serve", "--workers", "65"], "workers"),
    "workers in words": (["serve", "--workers", "two"], "'--workers': Input should be a valid"),
    "an option that is misspelt": (["serve", "--wrokers", "2"], "--wrokers"),
    "nothing to submit": (["submit"], "--file and --text"),
    "two things to submit": (["submit", "--text", "a", "--file", "b"], "--file and --text"),
    "a file that is not there": (["submit", "--file", "/no/such.wav"], "cannot read /no/such.wav"),
    "an address without port": (["submit", "--text", "a", "--server", "here"], "HOST:PORT"),
    "a level that is none": (["submit", "--text", "a", "--durability", "paper"], "journal"),
    "a priority that is none": (["submit", "--text", "a", "--priority", "mine"], "interactive"),
    "a language too long": (["submit", "--text", "a", "--src", "en" + "-aa" * 5], "no code of a"),
    "a language by its name": (["submit", "--text", "a", "--src", "english"], "as en or yue"),
    "a language in a way of its own": (
        ["where", "--services", "asr", "--src", "en_US"],
        "as pt-br",
    ),
    "a pair of names": (["node", "--exec", "cat", "--nmt", "english:es"], "'english' is no code"),
    "names in a list": (["node", "--exec", "cat", "--tts", "es,Greek"], "'Greek' is no code"),
    "a target by its name": (["talk", "--tgt", "es,french"], "'french' is no code"),
    "nobody who does the jobs": (["node"], "--engines, --handler and --exec"),
    "two who do the jobs": (["node", "--engines", "speech", "--exec", "cat"], "name one of"),
    "engines that are none": (["node", "--engines", "flight"], "there is: speech"),
    "a service that engines lack": (
        ["node", "--engines", "speech", "--services", "tone"],
        "asr, nmt, tts",
    ),
    "a pair that is none": (["node", "--exec", "cat", "--nmt", "en"], "--nmt en:es"),
    "a label without value": (["node", "--exec", "cat", "--label", "a"], "--label room=kitchen"),
    "a label without name": (["node", "--exec", "cat", "--label", "=b"], "'=b' has no name"),
    "a label with two values": (
        ["node", "--exec", "cat", "--services", "x", "--label", "a=1", "--label", "a = 2"],
        "'a = 2' is the second for 'a'",
    ),
    "a program without services": (["node", "--exec", "cat"], "--services"),
    "a program that is not there": (
        ["node", "--exec", "no-such-program", "--services", "nmt"],
        "no-such-program is not installed",
    ),
    "a handler that names nothing": (["node", "--handler", "os", "--services", "x"], "module:fun"),
    "a module that is not there": (
        ["node", "--handler", "no_such_module:f", "--services", "x"],
        "no_such_module",
    ),
    "a function that is not there": (
        ["node", "--handler", "json:no_such", "--services", "x"],
        "no function 'no_such'",
    ),
    "a node id that cannot be": (
        ["node", "--exec", "cat", "--services", "x", "--node-id", "a b"],
        "letters, digits and . _ : -",
    ),
    "a node to enrol whose id cannot be": (["enrol", "--name", "a b"], "'a b' cannot be the id"),
    "languages of a service that is not offered": (
        ["node", "--exec", "cat", "--services", "asr", "--nmt", "en:es"],
        "--services asr,nmt",
    ),
    "two ways that are none": (["talk", "--between", "enes"], "write --between en:es"),
    "a place for the output that is none": (
        ["submit", "--text", "a", "--out", "/no/such/out.wav"],
        "there is no directory /no/such",
    ),
    "a directory for the output": (["submit", "--text", "a", "--out", "/"], "it is a directory"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(name: str) -> None:
    arguments, words = WRONG[name]
    ended = invoke(*arguments)
    assert ended.exit_code == 2, ended.output
    assert words in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.output


def test_a_file_that_no_job_can_hold_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(64 * PAYLOAD_BYTES_MAX)
    ended = invoke("submit", "--file", str(path))
    assert ended.exit_code == 2
    assert "has more than the 1,048,576 bytes that a job holds" in ended.stderr
    assert len(read_input(path)) == PAYLOAD_BYTES_MAX + 1


def test_the_version_is_told() -> None:
    assert invoke("--version").stdout.strip() == f"pointsman {__version__}"


def test_the_help_lists_the_exit_codes() -> None:
    assert "3 no node took the job" in " ".join(invoke("--help").stdout.split())


# ---- serve


def test_a_program_of_the_service_gets_what_was_given_and_nothing_else() -> None:
    given = {"workers": 3, "port": 0, "host": None, "config": Path("/etc/p.toml")}
    line = "-P -m module --workers 3 --port 0 --config /etc/p.toml"
    assert command_line("module", given=given)[1:] == line.split()
    assert command_line("module", "a", given={"b": False})[4:] == ["a"]
    assert command_line("module", given={"b": True})[4:] == ["--b"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [("tokens list --state-dir state", 0, "no tokens\n"), ("chaos --faults no-such-fault", 2, "")],
)
def test_what_lies_in_the_current_directory_is_not_run(
    tmp_path: Path, words: str, code: int, said: str
) -> None:
    """TH4: root stands in a directory where another user has put modules."""
    (tmp_path / "argparse.py").write_text("raise SystemExit(77)\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pointsman", *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, said), done.stderr


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_serve_says_where_it_can_run(platform: str) -> None:
    with pytest.raises(Trouble, match="Linux only"):
        refuse_where_impossible(platform)


def test_serve_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Trouble, match="uvloop, posix-ipc, psutil") as trouble:
        refuse_where_impossible("linux")
    assert "pointsman[server]" in trouble.value.todo


# ---- submit


def test_a_request_id_always_means_the_same_session() -> None:
    assert session_id_of("r-1") == session_id_of("r-1") != session_id_of("r-2")
    assert len(session_id_of("x" * 10_000)) < 128
    assert session_id_of("") == ""


def test_what_is_done_follows_from_the_input_and_the_output() -> None:
    text, sound = type_of(b"hello"), type_of(b"RIFF....WAVEfmt ")
    assert usual_services(text, None) == ("nmt",)
    assert usual_services(text, Path("a.wav")) == ("nmt", "tts")
    assert usual_services(sound, Path("a.wav")) == ()
    assert type_of(b"\xff\xfe") == ""


# ---- node


THERE = Abilities(
    asr=("en",), nmt=(("en", "es"), ("es", "en")), tts=(), missing={"tts": "install espeak-ng"}
)


def test_engines_offer_what_is_there_and_say_what_is_missing() -> None:
    offer = speech_offer(THERE, Wish())
    assert offer.services == ["asr", "nmt"]
    assert offer.missing == {"tts": "install espeak-ng"}


def test_engines_offer_only_what_was_asked_for() -> None:
    offer = speech_offer(THERE, Wish(services=["nmt"], nmt=[("en", "es"), ("en", "fr")]))
    assert offer.services == ["nmt"]
    assert offer.nmt == [("en", "es")]
    assert offer.asr == []
    assert offer.missing == {"nmt": "no engine here does en>fr"}


def test_a_handler_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cli_test_handlers.py").write_text("class Box:\n    def work(job): return b'x'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/"])
    assert load_function("cli_test_handlers:Box.work")(None) == b"x"


def test_a_named_node_keeps_a_key_for_each_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    here, there = usual_state_dir("pc-17", "a:7400"), usual_state_dir("pc-17", "b:7400")
    assert here == Path("/state/pointsman/nodes/pc-17@a-7400")
    assert there != here
    assert usual_state_dir("", "a:7400") is None


def test_long_lists_are_cut_short() -> None:
    assert short_list([str(n) for n in range(20)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 12 more"
    assert short_list([]) == "any"


def ended(text: str, placement_us: float) -> Ended:
    """A job with this text as its output."""
    result = job_result(Result(status="completed", placement_us=placement_us), text.encode(), None)
    return Ended(result=result, total_ms=5.0)


def test_a_long_text_that_is_kept_in_a_file_is_not_shown_as_well() -> None:
    text, out = "word " * 10_000, Path("out.txt")
    for kept, shown in ((out, ""), (None, text.strip())):
        assert dict(what_came(ended(text, 3.0), kept))["result"] == shown
    assert dict(what_came(ended("short", 3.0), out))["result"] == "short"


def test_what_a_job_cost_to_place_is_unknown_rather_than_nothing() -> None:
    """A restarted worker has the job from its journal, and what is not in there nobody knows."""
    assert time_words(ended("x", 12.0)).startswith("12 µs to place, ")
    assert time_words(ended("x", 0.0)).startswith("time to place unknown, ")


def test_u6_a_file_with_secrets_is_at_no_instant_readable_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    chmod = Path.chmod

    def look(path: Path, mode: int) -> None:
        seen.append(path.stat().st_mode & 0o777)
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", look)
    (tmp_path / ".node.conf.new").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "node.conf", "POINTSMAN_TOKEN='x'\n", mode=0o600)
    assert seen == [0o600]
    assert not (tmp_path / "elsewhere").exists()


def test_every_durability_of_the_protocol_can_be_asked_for_and_is_told_in_words() -> None:
    levels = set(get_args(Durability))
    assert {*DurabilityName} == levels
    assert HELD_IN.keys() == levels

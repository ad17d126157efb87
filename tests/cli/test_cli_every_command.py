"""Every command: it has help, those that show things speak JSON, and codes are those documented.

A command that is added must be put into one of the tables here: a test says which one lacks it.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from live.commands import invoke, pointsman, run, started_node

from pointsman.cli.endings import CODES_HELP, FAILED, NOT_TAKEN, USAGE
from pointsman.cli.main import app
from pointsman.cli.screen import error_page
from pointsman.testing import RunningService
from pointsman_wire.errors import Code

ERRORS_PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
NODE = ["--node-id", "upper", "--exec", "tr a-z A-Z", "--services", "nmt", "--nmt", "en:es"]

# Those that show something: the words that stand behind the command, and the exit code.
SHOWING: dict[str, tuple[list[str], int]] = {
    "nodes": ([], 0),
    "instances": ([], 0),
    "snapshot": ([], 0),
    "status": ([], 0),
    "sessions": ([], 0),
    "poison": ([], 0),
    "pools": ([], 0),
    "jobs": ([], 0),
    "top": (["--refresh", "0.2"], 0),
    "coverage": ([], 0),
    "audit": ([], 0),
    "inbox list": ([], 0),  # empty where there is no Redis
    "why-not": (["upper"], 0),
    "where": (["--services", "nmt", "--src", "en", "--tgt", "es"], 0),
    "config diff": (["FILE"], 0),
    "reload": ([], 0),
}
# They become another program, or start one, so they run as a process; they find no sockets.
SHOWING_BY_PROGRAMS: dict[str, list[str]] = {
    "config check": ["FILE"],
    "tokens list": ["--state-dir", "FOLDER"],
    "doctor": ["--state-dir", "FOLDER"],
}
# They change something, and say so in JSON: tests of their own show it.
CHANGING = {
    *(
        "submit",
        "talk",
        "explain",
        "pair",
        "enrol",
        "revoke",
        "log-level",
        "inbox show",
        "inbox redrive",
    ),
    *("inbox drop", "drain", "undrain", "pause", "resume", "quarantine", "release", "cancel"),
    *("rolling-restart", "tokens add", "tokens revoke", "chaos", "backup", "restore"),
    *("systemd install", "systemd uninstall", "node install", "node uninstall"),
}
# They go on until they are stopped; what they say is for people.
FOR_PEOPLE = {"serve", "node", "demo"}


def commands() -> dict[str, Any]:
    """Return every command by its words."""
    return dict(_below("", typer.main.get_command(app)))


def _below(words: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        whole = f"{words} {name}".strip()
        if hasattr(command, "commands"):
            yield from _below(whole, command)
        else:
            yield whole, command


COMMANDS = commands()


@pytest.fixture(scope="module")
def at(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Options that name a service with one node."""
    with started_node(service, tmp_path_factory.mktemp("node"), *NODE):
        yield ["--runtime-dir", str(service.runtime_dir), "--instance", service.instance]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "some.toml"
    path.write_text("[nodes]\nresource_threshold_percent = 0\n")
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_help_with_a_word_on_each_option(words: str) -> None:
    ended = invoke(*words.split(), "--help")
    assert ended.exit_code == 0, ended.output
    assert (COMMANDS[words].help or "").strip(), f"{words} does not say what it does"
    unsaid = [
        p.name for p in COMMANDS[words].params if p.param_type_name == "option" and not p.help
    ]
    assert not unsaid


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_ends_with_2_when_an_option_is_unknown(words: str) -> None:
    assert invoke(*words.split(), "--no-such-option").exit_code == USAGE


def test_every_command_is_in_one_of_the_tables_and_speaks_json_unless_it_is_for_people() -> None:
    tables = [set(SHOWING), set(SHOWING_BY_PROGRAMS), CHANGING, FOR_PEOPLE]
    assert sorted(word for table in tables for word in table) == sorted(COMMANDS)
    mute = {
        words
        for words, command in COMMANDS.items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert mute == FOR_PEOPLE


@pytest.mark.parametrize("words", SHOWING)
def test_what_shows_things_gives_json_that_parses(words: str, at: list[str], file: str) -> None:
    more, code = SHOWING[words]
    ended = invoke(
        *words.split(), *(file if word == "FILE" else word for word in more), "--json", *at
    )
    assert ended.exit_code == code, ended.output
    if code:
        assert "Traceback" not in ended.output
    else:
        assert isinstance(json.loads(ended.stdout), dict)


@pytest.mark.parametrize("words", SHOWING)
def test_what_asks_a_service_ends_with_1_where_none_runs(
    words: str, tmp_path: Path, file: str
) -> None:
    more = [file if word == "FILE" else word for word in SHOWING[words][0]]
    ended = invoke(*words.split(), *more, "--json", "--runtime-dir", str(tmp_path / "none"))
    assert ended.exit_code == FAILED, ended.output
    assert not ended.stdout


@pytest.mark.parametrize("words", SHOWING_BY_PROGRAMS)
def test_what_other_programs_show_is_json_too(words: str, file: str, tmp_path: Path) -> None:
    places = {"FILE": file, "FOLDER": str(tmp_path)}
    more = [places.get(word, word) for word in SHOWING_BY_PROGRAMS[words]]
    ended = run(*words.split(), *more, "--json")
    assert ended.returncode in (0, FAILED if words == "doctor" else 0), ended.stderr
    assert json.loads(ended.stdout)


@pytest.mark.parametrize("words", SHOWING_BY_PROGRAMS)
def test_who_reads_no_further_is_told_no_more_and_of_no_trouble(
    words: str, file: str, tmp_path: Path
) -> None:
    """As `pointsman doctor | head -1` does."""
    more = [{"FILE": file, "FOLDER": str(tmp_path)}.get(w, w) for w in SHOWING_BY_PROGRAMS[words]]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as unread:
        ended = subprocess.run(
            pointsman(*words.split(), *more),
            stdout=unread,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert ended.returncode in (0, FAILED if words == "doctor" else 0)
    assert not ended.stderr


def test_what_writes_units_says_in_json_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pointsman.cli.units.surroundings.check_for_system", lambda _: False)
    root = ["--root", str(tmp_path), "--json"]
    node = ["--name", "a", "--connect", "h:1", "--exec", "cat", "--services", "x"]
    service = told("systemd", "install", "--workers", "3", *root)
    assert (service["workers"], service["started"]) == (3, False)
    assert {*service["units"]} == {p.name for p in Path(service["folder"]).iterdir()}
    assert all(Path(file).is_file() for file in told("node", "install", *node, *root)["files"])
    assert told("node", "uninstall", "--name", "a", *root)["name"] == "a"
    gone = told("systemd", "uninstall", *root)["removed"]
    assert len(gone) == len(service["units"]) + 2  # of users and of directories
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def told(*words: str) -> dict[str, Any]:
    """What a command says in JSON."""
    ended = invoke(*words)
    assert ended.exit_code == 0, ended.output
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def test_a_faulty_file_is_told_in_json_and_by_the_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[pools]\nmode = 'three'\n")
    path.chmod(0o600)
    ended = run("config", "check", str(path), "--json")
    assert ended.returncode == USAGE
    said = json.loads(ended.stdout)
    assert said["valid"] is False
    assert "two_level" in said["fault"]


def test_a_refusal_names_the_page_of_its_code_and_can_be_explained(
    service: RunningService, at: list[str]
) -> None:
    asked = ["--server", service.address, "--src", "en", "--tgt", "ja", "--text", "a"]
    asked += ["--wait", "0", "--request-id", "every-1"]
    ended = invoke("submit", *asked)
    assert ended.exit_code == NOT_TAKEN, ended.output
    assert "docs/errors.md#no_available_node" in ended.stderr
    explained = invoke("explain", "every-1", "--json", *at)
    assert explained.exit_code == 0, explained.output
    assert isinstance(json.loads(explained.stdout), dict)


@pytest.mark.parametrize("code", Code)
def test_every_code_has_the_heading_to_which_its_page_points(code: Code) -> None:
    heading = error_page(code).removeprefix("docs/errors.md#")
    assert f"\n## {heading.upper()}\n" in ERRORS_PAGE.read_text("utf-8")
    assert error_page("SOMETHING_NEWER") == ""


@pytest.mark.parametrize("code", ["0", "1", "2", "3", "75", "130", "143"])
def test_every_exit_code_is_in_the_help(code: str) -> None:
    shown = " ".join(invoke("--help").stdout.split())
    assert f" {code} " in CODES_HELP
    assert f" {code} " in shown

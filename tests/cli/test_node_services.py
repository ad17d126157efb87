"""Nodes as services: what `node install` writes, and the examples for macOS and Windows."""

import os
import plistlib
import shlex
from pathlib import Path, PureWindowsPath
from xml.etree import ElementTree

import pytest
from live.commands import invoke

from pointsman.cli.endings import Trouble
from pointsman.cli.units.node_unit import check_offer, offer_text, without_secrets
from pointsman.cli.units.writing import Installation, node_unit

EXAMPLES = Path(__file__).parents[2] / "examples" / "service_files"
OFFER = ["--server", "h:7400", "--exec", "tr a-z A-Z", "--services", "nmt", "--nmt", "en:es"]


def test_what_a_node_offers_stands_in_one_line_that_systemd_splits_again() -> None:
    *_, line, end = offer_text(OFFER, {}).split("\n")
    assert end == ""
    (assignment,) = shlex.split(line)
    name, _, arguments = assignment.partition("=")
    assert name == "ARGUMENTS"
    assert shlex.split(arguments) == OFFER


def test_secrets_stand_in_no_argument() -> None:
    words, secrets = without_secrets(["--token", "s3cret", "--asr=en", "--enrol=t0ken"])
    assert words == ["--asr=en"]
    text = offer_text(words, secrets)
    assert "ARGUMENTS='--asr=en'" in text
    assert "POINTSMAN_TOKEN='s3cret'" in text
    assert "POINTSMAN_ENROL='t0ken'" in text


def test_an_introduction_can_be_asked_for_and_stands_in_the_nodes_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pointsman.cli.units.surroundings.check_for_system", lambda _: False)
    at = ["--name", "attic", "--connect", "tls://h:7443", "--root", str(tmp_path)]
    done = invoke("node", "install", *at, "--enrol", "-", "--exec", "cat", given="enrol-5b0e\n")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "etc/pointsman/node-attic.conf").read_text()
    assert "POINTSMAN_ENROL='enrol-5b0e'" in text
    assert "--enrol" not in text


@pytest.mark.parametrize("word", ["it's", 'a "b"', "a\\b", "a\nb"])
def test_a_word_that_systemd_would_read_otherwise_is_refused(word: str) -> None:
    with pytest.raises(Trouble, match="file of systemd"):
        offer_text(["--exec", word], {})


WRONG = {
    "nobody who does the jobs": (["--services", "nmt"], "--engines, --handler and --exec"),
    "no such option": (["--exec", "cat", "--loud"], "No such option"),
    "a name of its own": (["--exec", "cat", "--node-id", "b"], "follow from --name"),
    "a number out of bounds": (["--exec", "cat", "--max-concurrency", "0"], "--max-concurrency"),
}


@pytest.mark.parametrize(("options", "words"), WRONG.values(), ids=WRONG)
def test_wrong_options_of_a_node_are_found_before_anything_is_written(
    options: list[str], words: str, tmp_path: Path
) -> None:
    at = ["--name", "a", "--connect", "h:1", "--root", str(tmp_path)]
    done = invoke("node", "install", *at, *options)
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.output.split())
    assert not [*tmp_path.iterdir()]


def test_a_name_that_is_no_units_is_refused() -> None:
    done = invoke("node", "install", "--name", "a b", "--connect", "h:1", "--exec", "cat")
    assert done.exit_code == 2
    assert "take letters" in done.output


def test_what_is_not_installed_cannot_be_removed(tmp_path: Path) -> None:
    done = invoke("node", "uninstall", "--name", "a", "--root", str(tmp_path))
    assert done.exit_code == 2
    assert "no node 'a' is installed" in done.output


def test_a_users_node_keeps_its_files_in_the_users_places() -> None:
    made = Installation(python=Path("/p/python"), is_users=True, state_dir="/home/me/nodes")
    text = node_unit(made, "/home/me/.config/pointsman")
    assert "EnvironmentFile=/home/me/.config/pointsman/node-%i.conf" in text
    assert "--state-dir /home/me/nodes/%i" in text
    assert "WantedBy=default.target" in text
    for not_for_users in ("User=", "network-online", "/var/lib", "StateDirectory"):
        assert not_for_users not in text


def test_the_example_for_macos_is_a_service_that_starts_a_node() -> None:
    with (EXAMPLES / "org.pointsman.node.plist").open("rb") as file:
        service = plistlib.load(file)
    assert service["Label"] == "org.pointsman.node"
    assert service["RunAtLoad"] is True
    assert service["KeepAlive"] == {"SuccessfulExit": False}
    program, command, *options = service["ProgramArguments"]
    assert (os.path.basename(program), command) == ("pointsman", "node")
    check_offer(without_places(options))


def test_the_example_for_windows_is_a_service_that_starts_a_node() -> None:
    service = ElementTree.parse(EXAMPLES / "pointsman-node.xml").getroot()  # noqa: S314 - ours
    assert service.tag == "service"
    assert PureWindowsPath(service.findtext("executable", "")).name == "pointsman.exe"
    command, *options = [argument.text or "" for argument in service.findall("argument")]
    assert command == "node"
    check_offer(without_places(options))
    assert {found.get("action") for found in service.findall("onfailure")} == {"restart"}


def without_places(options: list[str]) -> list[str]:
    """The options of an example but for the name and place that `node install` gives itself."""
    for option in ("--node-id", "--state-dir"):
        at = options.index(option)
        options = options[:at] + options[at + 2 :]
    return options
